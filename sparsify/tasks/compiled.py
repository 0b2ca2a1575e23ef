"""Pruning flags take a recipe's place in the arguments of a command."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sparsify.errors import InputError
from sparsify.tasks.pruning_arguments import ALIASES, FLAGS, PruningArguments
from sparsify.tasks.pruning_flags import Length, compile_recipe

if TYPE_CHECKING:
    from sparsify.tasks.arguments import Arguments

logger = logging.getLogger(__name__)
_NOT_IDLE = ("do_prune", "teacher_model_name_or_path", "distill_loss_weight")


def compile_flags(args: Arguments[Any]) -> None:
    """Make a recipe of the pruning flags, if any ask for it, and say what it is.

    Raises:
        InputError: There is a recipe too, or flags contradict each other.
    """
    flags, recipe = args.pruning, args.recipe
    if flags is None:
        return
    _name_teacher(args, flags)
    if not flags.asked:
        idle = sorted(name for name in args.explicit if ALIASES.get(name, name) in FLAGS and name not in _NOT_IDLE)
        if idle and "do_prune" not in args.explicit:
            logger.warning("without --do_prune nothing is pruned: --%s has no effect", ", --".join(idle))
        return
    if recipe.recipe is not None:
        given = next(f"--{name}" for name in FLAGS if getattr(flags, name) not in (None, False, 0.0))
        raise InputError(f"{given} makes a recipe, and --recipe {recipe.recipe} is one: give one of them")
    counted = "max_steps" in args.explicit and args.training.max_steps > 0
    recipe.recipe = compile_recipe(flags, Length(None if counted else float(args.training.num_train_epochs)))
    args.compiled = True
    if flags.distill_loss_weight > 0 and recipe.distill_teacher is None:
        recipe.distill_teacher = "self"
    logger.info("the recipe that the flags stand for:\n%s", recipe.recipe)


def _name_teacher(args: Arguments[Any], flags: PruningArguments) -> None:
    named, teacher = args.recipe, flags.teacher_model_name_or_path
    if teacher is None:
        return
    if named.distill_teacher not in (None, teacher):
        raise InputError(
            f"--teacher_model_name_or_path {teacher} and --distill_teacher {named.distill_teacher}: give one of them"
        )
    named.distill_teacher = teacher
