"""The tasks of GLUE: their columns, classes and metrics (Wang et al., 2018, arXiv:1804.07461)."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from sparsify.errors import InputError


@dataclass(frozen=True, slots=True)
class GlueTask:
    """One task of GLUE.

    Attributes:
        columns: Its columns of text.
        labels: Names of its classes, by id; empty for a number.
        metrics: What it is measured by.
    """

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)


_ENTAILS = ("entailment", "not_entailment")
_PAIR = ("sentence1", "sentence2")
GLUE: dict[str, GlueTask] = {
    "cola": GlueTask(("sentence",), ("unacceptable", "acceptable"), ("matthews_correlation",)),
    "mnli": GlueTask(("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "mrpc": GlueTask(_PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1")),
    "qnli": GlueTask(("question", "sentence"), _ENTAILS),
    "qqp": GlueTask(("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1")),
    "rte": GlueTask(_PAIR, _ENTAILS),
    "sst2": GlueTask(("sentence",), ("negative", "positive")),
    "stsb": GlueTask(_PAIR, (), ("pearson", "spearmanr")),
    "wnli": GlueTask(_PAIR, ("not_entailment", "entailment")),
}
_KINDS = {"text_classification", "sequence_classification", "sentiment_analysis", "glue"}


def glue_name(text: str | None) -> str | None:
    """A task's name as ``GLUE`` has it (``SST-2`` is ``sst2``); None for none, or for the name of the whole kind.

    Raises:
        InputError: GLUE has no such task.
    """
    if text is None:
        return None
    normal = text.strip().lower().replace("-", "_").replace(" ", "_")
    if normal in _KINDS:
        return None
    name = normal.replace("_", "")
    if name in GLUE:
        return name
    near = difflib.get_close_matches(name, GLUE, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"--task_name {text}: GLUE has {', '.join(GLUE)}{hint}; leave the flag out for other data"
        " (--train_file, --dataset_name)"
    )
