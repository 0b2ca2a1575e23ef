"""The training tasks by name. Imports a task's package when it is asked for, so that help stays quick."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sparsify.errors import InputError
from sparsify.tasks.text_classification.glue import GLUE

if TYPE_CHECKING:
    from sparsify.tasks.arguments import DataArguments
    from sparsify.tasks.base import AnyTask

SPELLINGS: dict[str, tuple[str, ...]] = {
    "token_classification": ("ner", "pos", "chunk"),
    "text_classification": ("glue", "sequence_classification", "sentiment_analysis", *GLUE),
    "question_answering": ("qa", "squad", "squad_v2"),
    "masked_language_modeling": ("mlm", "masked_lm", "fill_mask"),
}
"""Each task with the other names that a command line may give it. Packages of the same names hold them."""
_LATER = {"text_generation"}


def task_name(text: str) -> str:
    """The task that is called so; dashes count as underscores.

    Raises:
        InputError: There is none of that name.
    """
    normal = text.replace("-", "_").lower()
    for name, spellings in SPELLINGS.items():
        if normal == name or normal in spellings:
            return name
    later = " (it is planned)" if normal in _LATER else ""
    raise InputError(f"unknown task {text!r}{later}; there is: {', '.join(SPELLINGS)}")


def data_arguments(name: str) -> type[DataArguments]:
    """The dataclass of a task's flags: ``DATA`` of its ``arguments`` module."""
    module: Any = importlib.import_module(f"sparsify.tasks.{name}.arguments")
    found: type[DataArguments] = module.DATA
    return found


def get_task(name: str) -> AnyTask:
    """A task: ``TASK`` of its ``task`` module."""
    module: Any = importlib.import_module(f"sparsify.tasks.{name}.task")
    found: AnyTask = module.TASK
    return found
