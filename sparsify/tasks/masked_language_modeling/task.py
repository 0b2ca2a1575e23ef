"""Masked language modeling as a task: texts in, guesses at hidden tokens out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsify.distillation.losses import IGNORED
from sparsify.errors import InputError
from sparsify.tasks import base
from sparsify.tasks.base import Loss, Measure
from sparsify.tasks.masked_language_modeling.arguments import MaskedArguments
from sparsify.tasks.masked_language_modeling.columns import Texts, texts
from sparsify.tasks.masked_language_modeling.encode import EncodedBlocks, encode
from sparsify.tasks.masked_language_modeling.masking import MaskedExamples, Masking
from sparsify.tasks.masked_language_modeling.metrics import guesses, mlm_metrics
from sparsify.tasks.readers import Table, is_plain_text, read_lines, read_table
from sparsify.tasks.token_classification.encode import collator
from sparsify.tasks.token_classification.loss import token_loss

if TYPE_CHECKING:
    from transformers import EvalPrediction

MaskedReading = base.Reading[MaskedArguments, Texts, EncodedBlocks]


class MaskedLanguageModeling(base.Task[MaskedArguments, Texts, EncodedBlocks]):
    """Hidden tokens of plain text."""

    name = "masked_language_modeling"

    def check(self, data: MaskedArguments) -> None:
        """Refuse shares that are none."""
        if not 0 < data.mlm_probability <= 1:
            raise InputError(f"--mlm_probability must be above 0 and at most 1, got {data.mlm_probability:g}")
        percent = data.validation_split_percentage
        if percent is not None and not 0 < percent < 100:
            raise InputError(f"--validation_split_percentage must be above 0 and below 100, got {percent:g}")

    def read_file(self, path: str | Path, data: MaskedArguments) -> Table:
        """Rows of a file; a line each of plain text."""
        return read_lines(path) if is_plain_text(path) else read_table(path)

    def examples(self, table: Table, data: MaskedArguments, *, labelled: bool) -> Texts:
        """Texts."""
        return texts(table, data.text_column_name)

    def arrange(self, tables: dict[str, Table], data: MaskedArguments) -> dict[str, Table]:
        """Validation data out of training data, where a flag asks for it."""
        percent = data.validation_split_percentage
        if percent is None or "validation" in tables or "train" not in tables:
            return tables
        train, validation = tables["train"].hold_out(percent / 100, "--validation_split_percentage")
        return tables | {"train": train, "validation": validation}

    def encode(self, examples: Texts, reading: MaskedReading) -> EncodedBlocks:
        """Blocks of sub-tokens, some hidden."""
        return encode(
            examples,
            reading.tokenizer,
            Masking.of(reading.tokenizer, reading.data.mlm_probability),
            max_length=reading.max_length,
            line_by_line=reading.data.line_by_line,
            workers=reading.data.preprocessing_num_workers,
        )

    def training_set(self, reading: MaskedReading, seed: int) -> MaskedExamples:
        """Blocks in which each epoch hides other tokens."""
        encoded = reading.encoded["train"]
        masking = Masking.of(reading.tokenizer, reading.data.mlm_probability)
        return MaskedExamples(encoded.features, encoded.ids, masking, seed)

    def collator(self, tokenizer: Any, *, max_length: int | None = None, multiple: int | None = None) -> Any:
        """Pads labels too."""
        return collator(tokenizer, max_length=max_length, multiple=multiple)

    def loss(self, reading: MaskedReading, label_smoothing: float) -> Loss:
        """Cross-entropy over hidden tokens."""
        return token_loss(label_smoothing)

    def for_metrics(self, logits: Any, labels: Any) -> Any:
        """Guesses, and how wrong they are: logits over a vocabulary would be large."""
        return guesses(super().for_metrics(logits, labels), labels)

    def measure(self, reading: MaskedReading, split: str) -> Measure:
        """Perplexity and accuracy."""

        def measure(given: EvalPrediction) -> dict[str, float]:
            found, surprise = (np.asarray(one) for one in given.predictions)
            return mlm_metrics(found, surprise, np.asarray(given.label_ids))

        return measure

    def write_predictions(self, reading: MaskedReading, split: str, outputs: Any, folder: Path) -> list[Path]:
        """Guesses: ``predictions.txt`` (a line of them per block), ``predictions.jsonl`` (with text and true tokens)."""
        name, rows = reading.tokenizer.convert_ids_to_tokens, []
        for feature, guessed in zip(reading.encoded[split].features, np.asarray(outputs[0]), strict=True):
            hidden = [i for i, label in enumerate(feature["labels"]) if label != IGNORED]
            rows.append(
                {
                    "text": reading.tokenizer.decode(feature["input_ids"]),
                    "predicted": name([int(guessed[i]) for i in hidden]),
                    "true": name([feature["labels"][i] for i in hidden]),
                }
            )
        text = "".join(" ".join(row["predicted"]) + "\n" for row in rows)
        return base.write_prediction_files(folder, split, text, rows)


TASK = MaskedLanguageModeling()
