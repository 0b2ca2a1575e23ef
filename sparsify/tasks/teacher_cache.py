"""``--generate_teacher_logits``: the teacher is asked about the training data once, for all steps and runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sparsify.distillation.answers import Wanted, keep_answers
from sparsify.distillation.cache import EXAMPLE_INDEX
from sparsify.distillation.teacher import Teacher, self_teacher
from sparsify.modifiers.teaching import TaughtModifier
from sparsify.zoo.names import expanded
from sparsify.zoo.settings import cache_folder

if TYPE_CHECKING:
    from transformers import Trainer

    from sparsify.manager import ModifierManager
    from sparsify.tasks.base import Job

logger = logging.getLogger(__name__)


def keep_teacher(
    job: Job, trainer: Trainer, manager: ModifierManager | None, teacher: nn.Module | str | None
) -> nn.Module | str | None:
    """``teacher``, answering from disk where the flags ask for it; missing answers are asked for now.

    The trainer's batches then say of which examples they are made.

    Raises:
        InputError: What it says of an example cannot be kept, or not there.
    """
    flags = job.args.distillation
    if flags is None or not flags.generate_teacher_logits or not job.args.training.do_train:
        return teacher
    if manager is None or teacher is None:
        logger.warning("--generate_teacher_logits has no effect: nothing is distilled")
        return teacher
    if hasattr(trainer.train_dataset, "set_epoch"):
        logger.warning("the teacher's outputs are kept: every epoch sees the training data as the first one does")
    rows: list[Any] = list(trainer.train_dataset or ())
    asked = teacher if isinstance(teacher, Teacher) else self_teacher(job.model)
    taught = [m for m in manager.modifiers if isinstance(m, TaughtModifier)]
    for modifier in taught:
        asked.attach(job.model, modifier.inputs_of_teacher)
    asked.model.to(job.args.training.device)
    folder = expanded(flags.teacher_cache_dir) if flags.teacher_cache_dir else cache_folder().parent / "teachers"
    cache, fresh = keep_answers(
        asked,
        rows,
        job.task.collator(job.reading.tokenizer),
        folder,
        wanted=_wanted(taught, job.model, asked, getattr(torch, flags.teacher_logits_dtype)),
        batch_size=job.args.training.per_device_eval_batch_size,
    )
    how = f"{fresh} of {cache.count} examples asked about now" if fresh else f"found for all {cache.count} examples"
    logger.info("the teacher's outputs: %s, %.1f MB in %s", how, cache.size / 1e6, cache.folder)
    _number(trainer, rows)
    return asked.answer_from(cache)


def _wanted(taught: Sequence[TaughtModifier], student: nn.Module, teacher: Teacher, dtype: torch.dtype) -> Wanted:
    """What the modifiers compare, all together."""
    named = [m.outputs_of_teacher for m in taught]
    outputs = None if None in named else tuple(sorted({name for names in named for name in names or ()}))
    layers: dict[str, nn.Module] = {}
    for modifier in taught:
        layers |= modifier.layers_of_teacher(student, teacher.model)
    return Wanted(outputs, layers, dtype)


def _number(trainer: Trainer, rows: Sequence[Mapping[str, Any]]) -> None:
    trainer.train_dataset = [{**row, EXAMPLE_INDEX: index} for index, row in enumerate(rows)]
    trainer.data_collator = Numbering(trainer.data_collator)
    trainer.args.remove_unused_columns = False  # the Trainer would take the index for a column that nobody reads


@dataclass(frozen=True)
class Numbering:
    """A collator that passes the examples' indices on, past one that knows nothing of them.

    As a list: on a GPU a tensor would have to be waited for.
    """

    collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """A batch of ``rows``, with ``example_index`` where all have one."""
        batch = self.collate([{k: v for k, v in row.items() if k != EXAMPLE_INDEX} for row in rows])
        numbered = all(EXAMPLE_INDEX in row for row in rows)
        return {**batch, EXAMPLE_INDEX: [row[EXAMPLE_INDEX] for row in rows]} if numbered else batch
