"""Text classification as a task: texts in, classes or numbers out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsify.errors import InputError
from sparsify.tasks import base, models
from sparsify.tasks.base import Encoded, Loss, Measure
from sparsify.tasks.labels import label_list
from sparsify.tasks.readers import Table
from sparsify.tasks.text_classification.arguments import TextArguments
from sparsify.tasks.text_classification.columns import Texts, texts
from sparsify.tasks.text_classification.encode import collator, encode
from sparsify.tasks.text_classification.glue import GLUE, GlueTask
from sparsify.tasks.text_classification.loss import text_loss
from sparsify.tasks.text_classification.metrics import predicted, text_metrics
from sparsify.tasks.text_classification.problem import CLASSES, MULTI, REGRESSION, SCORE, SINGLE, problem_of, settle

if TYPE_CHECKING:
    from transformers import EvalPrediction

logger = logging.getLogger(__name__)
TextReading = base.Reading[TextArguments, Texts, Encoded]


class TextClassification(base.Task[TextArguments, Texts, Encoded]):
    """Classes or numbers for texts and pairs of texts."""

    name = "text_classification"
    trains_unasked = True

    def known(self, config: Any) -> dict[str, Any]:
        """What the labels are, and the task of GLUE."""
        name = getattr(config, "finetuning_task", None)
        return {"problem_type": config.problem_type, "task_name": name if name in GLUE else None}

    def check(self, data: TextArguments) -> None:
        """Refuse more than two columns of text, two names for them, and a share of data that is none."""
        if None not in (data.input_column_names, data.text_column_name):
            raise InputError("--input_column_names and --text_column_name name the same thing: give one")
        if data.text_columns is not None and len(data.text_columns) not in (1, 2):
            flag = "text_column_name" if data.input_column_names is None else "input_column_names"
            raise InputError(f"--{flag} {getattr(data, flag)}: one column of text, or two")
        if data.validation_ratio is not None and not 0 < data.validation_ratio < 1:
            raise InputError(f"--validation_ratio must be above 0 and below 1, got {data.validation_ratio:g}")

    def arrange(self, tables: dict[str, Table], data: TextArguments) -> dict[str, Table]:
        """Validation data out of test or training data, where flags ask for it."""
        ratio = data.validation_ratio
        if data.eval_on_test:
            if "test" not in tables:
                raise InputError("--eval_on_test evaluates on test data, and there is none: give --test_file")
            return tables | {"validation": tables["test"]}
        if ratio is None or "validation" in tables or "train" not in tables:
            return tables
        train, validation = tables["train"].hold_out(ratio, "--validation_ratio")
        return tables | {"train": train, "validation": validation}

    def examples(self, table: Table, data: TextArguments, *, labelled: bool) -> Texts:
        """Texts and labels."""
        glue = _glue(data)
        return texts(
            table,
            columns=data.text_columns,
            usual=glue.columns if glue else (),
            label=data.label_column_name,
            labelled=labelled,
        )

    def configure(self, splits: dict[str, Texts], data: TextArguments, config: Any) -> list[str]:
        """Whether labels are classes or numbers, and all classes."""
        glue = _glue(data)
        usual = REGRESSION if glue is not None and not glue.labels else None
        asked = data.problem_type or usual
        problem = problem_of(splits, asked) or getattr(config, "problem_type", None) or SINGLE
        config.problem_type = problem
        config.finetuning_task = data.task_name
        settle(splits, problem)
        if problem == REGRESSION:
            return [SCORE]
        if glue is not None and data.class_names is None:
            _name_ids(splits, glue.labels, data.task_name)
        return label_list(splits, CLASSES, model_labels=models.config_labels(config), given=data.class_names)

    def encode(self, examples: Texts, reading: TextReading) -> Encoded:
        """Sub-tokens and labels."""
        return encode(
            examples,
            reading.tokenizer,
            reading.labels,
            _problem(reading),
            max_length=reading.max_length,
            workers=reading.data.preprocessing_num_workers,
        )

    def collator(self, tokenizer: Any, *, max_length: int | None = None, multiple: int | None = None) -> Any:
        """Pads inputs."""
        return collator(tokenizer, max_length=max_length, multiple=multiple)

    def loss(self, reading: TextReading, label_smoothing: float) -> Loss:
        """Cross-entropy or squared error."""
        if label_smoothing and _problem(reading) != SINGLE:
            raise InputError(
                f"--label_smoothing_factor is for one class per text; these labels are {_problem(reading)}"
            )
        return text_loss(_problem(reading), label_smoothing)

    def measure(self, reading: TextReading, split: str) -> Measure:
        """GLUE's metrics for its tasks, else all that fit."""
        glue = _glue(reading.data)
        positive = reading.labels.index(glue.labels[1]) if glue and set(glue.labels[1:2]) & set(reading.labels) else 1

        def measure(given: EvalPrediction) -> dict[str, float]:
            outputs, true = np.asarray(given.predictions), np.asarray(given.label_ids)
            return text_metrics(
                outputs, true, problem=_problem(reading), classes=len(reading.labels), glue=glue, positive=positive
            )

        return measure

    def write_predictions(self, reading: TextReading, split: str, outputs: Any, folder: Path) -> list[Path]:
        """A line each: ``predictions.txt`` (index and label), ``predictions.jsonl`` (with the texts)."""
        said = [_said(row, reading) for row in predicted(np.asarray(outputs), _problem(reading))]
        rows = [{"texts": list(t), "predicted": p} for t, p in zip(reading.splits[split].texts, said, strict=True)]
        plain = "".join(f"{i}\t{','.join(p) if isinstance(p, list) else p}\n" for i, p in enumerate(said))
        return base.write_prediction_files(folder, split, f"index\tprediction\n{plain}", rows)


def _glue(data: TextArguments) -> GlueTask | None:
    return GLUE[data.task_name] if data.task_name else None


def _name_ids(splits: dict[str, Texts], labels: Sequence[str], task: str | None) -> None:
    """Ids that have no names get those of the task of GLUE, which a line says: a file may count otherwise."""
    nameless = [split for split in splits.values() if split.has_ids and split.names is None]
    for split in nameless:
        split.names = list(labels)
    if nameless:
        said = ", ".join(f"{i} is {name}" for i, name in enumerate(labels))
        logger.info("classes as in GLUE's %s: %s; --class_names says otherwise", task, said)


def _problem(reading: TextReading) -> str:
    return str(reading.config.problem_type)


def _said(row: Any, reading: TextReading) -> str | float | list[str]:
    if _problem(reading) == REGRESSION:
        return float(row)
    if _problem(reading) == MULTI:
        return [name for name, on in zip(reading.labels, row, strict=True) if on]
    return reading.labels[int(row)]


TASK = TextClassification()
