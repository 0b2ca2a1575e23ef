"""Token classification as a task: words and tags in, entity metrics out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsify.errors import InputError
from sparsify.tasks import base, models
from sparsify.tasks.base import Loss, Measure
from sparsify.tasks.labels import label_list
from sparsify.tasks.readers import Table, read_table
from sparsify.tasks.token_classification.arguments import TokenArguments
from sparsify.tasks.token_classification.columns import Sentences, sentences
from sparsify.tasks.token_classification.encode import EncodedTokens, collator, encode
from sparsify.tasks.token_classification.loss import token_loss
from sparsify.tasks.token_classification.metrics import decode, entity_metrics
from sparsify.tasks.token_classification.tags import TAGS

if TYPE_CHECKING:
    from transformers import EvalPrediction

TokenReading = base.Reading[TokenArguments, Sentences, EncodedTokens]


class TokenClassification(base.Task[TokenArguments, Sentences, EncodedTokens]):
    """Tags for words: named entities, parts of speech."""

    name = "token_classification"
    words = True

    def check(self, data: TokenArguments) -> None:
        """Refuse two names for the column of words, or several columns."""
        one, other = data.text_column_name, data.input_column_names
        if None not in (one, other) and one != other:
            raise InputError(f"--text_column_name {one} and --input_column_names {other} name the same thing: give one")
        if data.text_column and "," in data.text_column:
            raise InputError(f"--input_column_names {data.text_column}: token classification reads one column")

    def read_file(self, path: str | Path, data: TokenArguments) -> Table:
        """Rows of a file; CoNLL columns get the names asked for."""
        label = data.label_column_name or f"{data.task_name}_tags"
        return read_table(path, text_column=data.text_column or "tokens", label_column=label)

    def examples(self, table: Table, data: TokenArguments, *, labelled: bool) -> Sentences:
        """Words and tags."""
        return sentences(
            table, text=data.text_column, label=data.label_column_name, task=data.task_name, labelled=labelled
        )

    def configure(self, splits: dict[str, Sentences], data: TokenArguments, config: Any) -> list[str]:
        """All tags."""
        return label_list(splits, TAGS, model_labels=models.config_labels(config), given=data.class_names)

    def encode(self, examples: Sentences, reading: TokenReading) -> EncodedTokens:
        """Sub-tokens, with labels on the first of each word."""
        return encode(
            examples,
            reading.tokenizer,
            reading.labels,
            max_length=reading.max_length,
            all_tokens=reading.data.label_all_tokens,
            workers=reading.data.preprocessing_num_workers,
        )

    def collator(self, tokenizer: Any, *, max_length: int | None = None, multiple: int | None = None) -> Any:
        """Pads labels too."""
        return collator(tokenizer, max_length=max_length, multiple=multiple)

    def loss(self, reading: TokenReading, label_smoothing: float) -> Loss:
        """Cross-entropy over labelled tokens."""
        return token_loss(label_smoothing)

    def for_metrics(self, logits: Any, labels: Any) -> Any:
        """Class ids: logits of a whole split would be large."""
        return super().for_metrics(logits, labels).argmax(-1)

    def measure(self, reading: TokenReading, split: str) -> Measure:
        """Metrics over whole entities."""

        def measure(given: EvalPrediction) -> dict[str, float]:
            predicted, true = decode(np.asarray(given.predictions), np.asarray(given.label_ids), reading.labels)
            return entity_metrics(predicted, true, per_entity=reading.data.return_entity_level_metrics)

        return measure

    def write_predictions(self, reading: TokenReading, split: str, outputs: Any, folder: Path) -> list[Path]:
        """Tags: ``predictions.txt`` (a line of them per sentence), ``predictions.jsonl`` (with words)."""
        rows = []
        for words, first, row in zip(
            reading.splits[split].words, reading.encoded[split].first_tokens, outputs, strict=True
        ):
            tags = [reading.labels[row[position]] if position >= 0 else "O" for position in first]
            rows.append({"tokens": words, "predicted": tags})
        text = "".join(" ".join(row["predicted"]) + "\n" for row in rows)
        return base.write_prediction_files(folder, split, text, rows)


TASK = TokenClassification()
