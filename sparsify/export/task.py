"""Which task a model does: its spellings, the graph's inputs and outputs, and how long its inputs may be."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsify.errors import InputError
from sparsify.export.positions import longest_input
from sparsify.export.session import INPUTS


@dataclass(frozen=True, slots=True)
class Task:
    """A task that can be exported.

    Attributes:
        name: As everything here calls it.
        suffix: What its model classes end with.
        outputs: Names of its graph's outputs.
        spellings: Other names.
        classes: Whether its outputs are classes with names.
        pairs: Whether it reads two texts at once.
    """

    name: str
    suffix: str
    outputs: tuple[str, ...]
    spellings: tuple[str, ...]
    classes: bool = True
    pairs: bool = False


TASKS: tuple[Task, ...] = (
    Task("token_classification", "ForTokenClassification", ("logits",), ("ner",)),
    Task(
        "text_classification",
        "ForSequenceClassification",
        ("logits",),
        ("glue", "sequence_classification", "sentiment_analysis"),
    ),
    Task(
        "question_answering",
        "ForQuestionAnswering",
        ("start_logits", "end_logits"),
        ("qa",),
        classes=False,
        pairs=True,
    ),
    Task("masked_language_modeling", "ForMaskedLM", ("logits",), ("mlm", "masked_lm", "fill_mask"), classes=False),
)


def task_by_name(name: str) -> Task:
    """Find a task by any of its spellings; dashes and spaces count as underscores.

    Raises:
        InputError: No task is called so; names the nearest.
    """
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    known = {spelling: task for task in TASKS for spelling in (task.name, *task.spellings)}
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(f"--task {name!r} is not a task that can be exported.{hint} Known: {', '.join(known)}.")


def task_of(architecture: str) -> Task | None:
    """The task whose model classes end like ``architecture`` (``BertForTokenClassification``), or None."""
    return next((task for task in TASKS if architecture.endswith(task.suffix)), None)


def resolve_task(
    architectures: list[str] | None, asked: str | None, *, strict: bool = False
) -> tuple[Task, str | None]:
    """Decide the task of a checkpoint, whose own architecture always wins.

    Returns:
        The task, and a one-line warning where ``asked`` contradicts it.

    Raises:
        InputError: ``asked`` is unknown, or contradicts under ``strict``, or the checkpoint has no exportable head.
    """
    wanted = task_by_name(asked) if asked else None
    names = list(architectures or [])
    found = next((task for task in map(task_of, names) if task), None)
    if found is None:
        what = f"is {names[0]}" if names else "is not stated in its config.json"
        raise InputError(
            f"the checkpoint's architecture {what}; one with a head is needed"
            f" ({', '.join('*' + t.suffix for t in TASKS)}). Train it first, e.g. with"
            " sparsify-train token_classification."
        )
    if wanted is None or wanted is found:
        return found, None
    message = f"--task {asked} contradicts the checkpoint, which is {names[0]}"
    if strict:
        raise InputError(f"{message}. Pass --task {found.name}, or leave --task out.")
    return found, f"{message}: exporting it as {found.name}."


def input_names(model: nn.Module, tokenizer: Any = None) -> list[str]:
    """Names of the graph's inputs: what the tokenizer gives of what the model uses, ``input_ids`` first."""
    accepted = set(inspect.signature(model.forward).parameters)
    given = set(tokenizer.model_input_names) if tokenizer is not None else {"input_ids", "attention_mask"}
    if getattr(model.config, "type_vocab_size", 1) == 0:
        given.discard("token_type_ids")
    return [name for name in INPUTS if name in accepted & given]


def max_length(config: Any, tokenizer: Any = None) -> int:
    """Longest input in tokens (special ones included) that the model takes, 512 where nothing bounds it."""
    positions = getattr(config, "max_position_embeddings", None)
    padding, stated = getattr(config, "pad_token_id", None), getattr(tokenizer, "model_max_length", None)
    return longest_input(config.model_type, positions, padding, stated)
