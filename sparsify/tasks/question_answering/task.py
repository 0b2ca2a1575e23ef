"""Question answering as a task: questions and contexts in, stretches of the context out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.distillation.losses import IGNORED
from sparsify.errors import InputError
from sparsify.export.answer import CONFIG_KEY
from sparsify.export.spans import SpanRules
from sparsify.export.squad import is_nested, questions_of
from sparsify.tasks import base
from sparsify.tasks.base import Loss, Measure
from sparsify.tasks.question_answering.arguments import QuestionArguments
from sparsify.tasks.question_answering.columns import Questions, questions
from sparsify.tasks.question_answering.encode import EncodedWindows, encode
from sparsify.tasks.question_answering.loss import span_loss
from sparsify.tasks.question_answering.metrics import squad_metrics
from sparsify.tasks.question_answering.predictions import answered, write
from sparsify.tasks.readers import Table, read_table

if TYPE_CHECKING:
    from transformers import EvalPrediction

QuestionReading = base.Reading[QuestionArguments, Questions, EncodedWindows]
_KEPT = ("version_2_with_negative", "null_score_diff_threshold", "max_answer_length")


class QuestionAnswering(base.Task[QuestionArguments, Questions, EncodedWindows]):
    """Answers to questions, as stretches of a text."""

    name = "question_answering"
    writes_validation = True

    def known(self, config: Any) -> dict[str, Any]:
        """Whether there may be no answer, by which threshold, and how long answers may be."""
        kept = getattr(config, CONFIG_KEY, None) or {}
        return {name: kept[name] for name in _KEPT if name in kept}

    def check(self, data: QuestionArguments) -> None:
        """Refuse other than two columns of text, and numbers that leave nothing to read or to say."""
        if None not in (data.input_column_names, data.text_column_name):
            raise InputError("--input_column_names and --text_column_name name the same thing: give one")
        if data.columns is not None and len(data.columns) != 2:
            raise InputError(f"--input_column_names {','.join(data.columns)}: two columns, question and context")
        if None not in (data.doc_stride, data.max_seq_length) and data.doc_stride >= data.max_seq_length:  # type: ignore[operator]
            raise InputError(
                f"--doc_stride {data.doc_stride} must be below --max_seq_length {data.max_seq_length}: windows share so"
                " many sub-tokens, and must move on"
            )
        _rules(data)

    def read_file(self, path: str | Path, data: QuestionArguments) -> Table:
        """Rows of a file; SQuAD's nested JSON becomes one row per question."""
        table = read_table(path)
        if not is_nested(table.rows):
            return table
        rows = list(questions_of(table.rows))
        columns = list(dict.fromkeys(key for row in rows for key in row))
        return Table(table.origin, columns, rows, list(range(1, len(rows) + 1)), {})

    def examples(self, table: Table, data: QuestionArguments, *, labelled: bool) -> Questions:
        """Questions, contexts and answers."""
        return questions(
            table,
            columns=data.columns,
            label=data.label_column_name,
            labelled=labelled,
            negatives=data.version_2_with_negative,
        )

    def configure(self, splits: dict[str, Questions], data: QuestionArguments, config: Any) -> list[str]:
        """There are no classes; how answers are read goes into the configuration.

        What it says of another task's classes is taken out: heads have as many outputs as there are, and need two.
        """
        config.num_labels = 2
        config.id2label, config.label2id = {0: "LABEL_0", 1: "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1}
        setattr(config, CONFIG_KEY, {name: getattr(data, name) for name in _KEPT})
        return []

    def encode(self, examples: Questions, reading: QuestionReading) -> EncodedWindows:
        """Windows of sub-tokens, with the answer's place."""
        return encode(
            examples,
            reading.tokenizer,
            max_length=reading.max_length,
            stride=reading.data.doc_stride,
            workers=reading.data.preprocessing_num_workers,
        )

    def training_set(self, reading: QuestionReading, seed: int) -> Any:
        """Without windows whose answer stands nowhere in its context.

        Raises:
            InputError: None is left.
        """
        found = [row for row in reading.encoded["train"].features if row["labels"][0] != IGNORED]
        if not found:
            raise InputError(
                f"{reading.splits['train'].origin}: no answer stands in its context, so there is nothing to learn: are"
                " question, context and answers the right columns?"
            )
        return found

    def collator(self, tokenizer: Any, *, max_length: int | None = None, multiple: int | None = None) -> Any:
        """Pads inputs, at their end: labels are positions."""
        from transformers import DataCollatorWithPadding

        tokenizer.padding_side = "right"
        padding = "max_length" if max_length is not None else True
        return DataCollatorWithPadding(tokenizer, padding=padding, max_length=max_length, pad_to_multiple_of=multiple)

    def loss(self, reading: QuestionReading, label_smoothing: float) -> Loss:
        """Cross-entropy of starts and ends."""
        if label_smoothing:
            raise InputError("--label_smoothing_factor is for classes; an answer's place is none")
        return span_loss()

    def for_metrics(self, logits: Any, labels: Any) -> Any:
        """Scores of starts and of ends."""
        return tuple(logits[:2])

    def measure(self, reading: QuestionReading, split: str) -> Measure:
        """SQuAD's metrics."""

        def measure(given: EvalPrediction) -> dict[str, float]:
            asked = reading.splits[split]
            found = answered(asked, reading.encoded[split], given.predictions, _rules(reading.data))
            golds = [[answer.text for answer in answers] for answers in asked.answers or ()]
            negatives = reading.data.version_2_with_negative
            return squad_metrics(
                [one.text for one in found],
                golds,
                spans=[one.span.text for one in found] if negatives else None,
                null_odds=[one.null_odds or 0.0 for one in found] if negatives else None,
            )

        return measure

    def write_predictions(self, reading: QuestionReading, split: str, outputs: Any, folder: Path) -> list[Path]:
        """``predictions.json``, ``nbest_predictions.json``, ``null_odds.json``; ``eval_...`` for validation data."""
        found = answered(reading.splits[split], reading.encoded[split], outputs, _rules(reading.data))
        return write(reading.splits[split], found, folder, "eval_" if split == "validation" else "")


def _rules(data: QuestionArguments) -> SpanRules:
    return SpanRules(
        data.n_best_size, data.max_answer_length, data.version_2_with_negative, data.null_score_diff_threshold
    )


TASK = QuestionAnswering()
