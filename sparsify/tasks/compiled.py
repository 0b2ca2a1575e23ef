"""Flags that stand for a recipe take a recipe's place in the arguments of a command."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparsify.errors import InputError
from sparsify.recipe.convert.draft import Draft, Entry, write
from sparsify.tasks.distillation_flags import distillation_draft
from sparsify.tasks.length import Length
from sparsify.tasks.pruning_flags import pruning_draft
from sparsify.tasks.quantization_flags import check_tolerance, quantization_draft
from sparsify.tasks.recipes import DISABLE

if TYPE_CHECKING:
    from sparsify.tasks.arguments import Arguments
    from sparsify.tasks.distillation_arguments import DistillationArguments
    from sparsify.tasks.pruning_arguments import PruningArguments
    from sparsify.tasks.quantization_arguments import QuantizationArguments

logger = logging.getLogger(__name__)


def compile_flags(args: Arguments[Any], outputs: Sequence[str] = ("logits",)) -> None:
    """Make a recipe of the flags that stand for one, if any do, and say what it is.

    Args:
        args: All flags; gets the recipe.
        outputs: Names of the outputs that the task's models have.

    Raises:
        InputError: There is a recipe too, or flags contradict each other.
    """
    groups = _groups(args)
    if args.quantization is not None:
        check_tolerance(args.quantization)
    for text in filter(None, (group.idle(args.explicit) for group in groups)):
        logger.warning("%s", text)
    if args.distillation is not None:
        _name_teacher(args, args.distillation)
    if not any(group.asked for group in groups):
        return
    recipe = args.recipe
    if recipe.recipe is not None:
        raise InputError(f"{_first(args)} makes a recipe, and --recipe {recipe.recipe} is one: give one of them")
    recipe.recipe = write(_draft(args, outputs), "Compiled from command line flags by sparsify-train.")
    args.compiled = True
    logger.info("the recipe that the flags stand for:\n%s", recipe.recipe)


def _groups(args: Arguments[Any]) -> list[PruningArguments | DistillationArguments | QuantizationArguments]:
    return [group for group in (args.pruning, args.distillation, args.quantization) if group is not None]


def _draft(args: Arguments[Any], outputs: Sequence[str]) -> Draft:
    """All entries: when and what, by the order of the groups."""
    if args.quantization is not None and args.quantization.asked and args.quantization.one_shot(args.training.do_train):
        return _one_shot(args, args.quantization)
    counted = "max_steps" in args.explicit and args.training.max_steps > 0
    length = Length(None if counted else float(args.training.num_train_epochs))
    draft = Draft()
    if length.whole:
        fields = {"start_epoch": 0, "end_epoch": length.epochs}
        draft.entries.append(Entry("EpochRangeModifier", fields, group="training"))
    if args.pruning is not None and args.pruning.asked:
        draft.add(pruning_draft(args.pruning, length))
    if args.distillation is not None and args.distillation.asked:
        draft.add(distillation_draft(args.distillation, outputs))
    if args.quantization is not None and args.quantization.asked:
        draft.add(quantization_draft(args.quantization, args.training.do_train, args.recipe.num_calibration_samples))
    return draft


def _one_shot(args: Arguments[Any], flags: QuantizationArguments) -> Draft:
    if others := [group for group in _groups(args) if group.asked and group is not flags]:
        given = next(f.name for f in dataclasses.fields(others[0]) if getattr(others[0], f.name) != f.default)
        raise InputError(
            f"--{given} acts while training, and --apply_quantization without --do_train quantizes the model as it is:"
            " give --do_train, or leave one of them out"
        )
    args.recipe.one_shot = True
    return quantization_draft(flags, False, args.recipe.num_calibration_samples)


def _first(args: Arguments[Any]) -> str:
    """The first flag given that makes a recipe."""
    fields = [(group, field) for group in _groups(args) if group.asked for field in dataclasses.fields(group)]
    return next(f"--{field.name}" for group, field in fields if getattr(group, field.name) != field.default)


def _name_teacher(args: Arguments[Any], flags: DistillationArguments) -> None:
    named, teacher = args.recipe, flags.teacher_model_name_or_path
    if teacher is not None and named.distill_teacher not in (None, teacher):
        raise InputError(
            f"--teacher_model_name_or_path {teacher} and --distill_teacher {named.distill_teacher}: give one of them"
        )
    if flags.asked and named.distill_teacher == DISABLE:
        flag = "apply_distillation" if flags.apply_distillation else "distill_loss_weight"
        raise InputError(f"--{flag} learns from a teacher, and --distill_teacher {DISABLE}: give one of them")
    usual = "self" if flags.distill_loss_weight > 0 and not flags.apply_distillation else None
    named.distill_teacher = named.distill_teacher or teacher or usual
