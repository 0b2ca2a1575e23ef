"""Flags and recipe side by side: who sets what, and a teacher where one is needed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sparsify.distillation.teacher import Teacher
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from sparsify.modifiers.base import LearningRateBase
from sparsify.quantization.layers import quantizers
from sparsify.tasks import models
from sparsify.tasks.arguments import Arguments, RecipeArguments

if TYPE_CHECKING:
    from torch import nn

    from sparsify.manager import ModifierManager
    from sparsify.tasks.base import Job

logger = logging.getLogger(__name__)
DISABLE = "disable"
_RATE_FLAGS = ("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps")


def load_manager(args: RecipeArguments) -> ModifierManager | None:
    """The recipe's manager, or None without a recipe.

    Raises:
        RecipeError: The recipe has mistakes.
        InputError: It distils and no teacher was named, or there are flags of recipes but no recipe.
    """
    teacher = args.distill_teacher
    if args.recipe is None:
        if args.recipe_args is not None:
            raise InputError("--recipe_args changes a recipe's variables: give --recipe too")
        if args.set:
            raise InputError("--set changes fields of a recipe's modifiers: give --recipe too")
        if teacher not in (None, DISABLE):
            raise InputError("--distill_teacher needs a recipe with a DistillationModifier: give --recipe")
        return None
    manager = load_recipe(args.recipe, args.recipe_args, set_fields=args.set, distillation=teacher != DISABLE)
    if manager.needs_teacher and teacher is None and not args.one_shot:
        raise InputError(
            "the recipe distils, and no teacher was named: give --distill_teacher a model (folder, zoo: stub or Hub"
            " id), self (the model as it is at the start), or disable to leave distillation out"
        )
    if teacher not in (None, DISABLE) and not manager.needs_teacher:
        logger.warning("--distill_teacher %s is not used: the recipe has no DistillationModifier", teacher)
    return manager


def check_start(job: Job, manager: ModifierManager | None) -> None:
    """Look at a start from a compressed model: what its own recipe built must be in the next one too.

    Raises:
        InputError: The model is quantized and the new recipe has nothing that builds quantizers.
    """
    if job.own_recipe is None or not (job.args.training.do_train or job.args.recipe.one_shot):
        return
    if manager is None:
        logger.warning(
            "the model was made by %s; without --recipe nothing holds its zeros while it trains", job.own_recipe
        )
    elif quantizers(job.model) and not any(m.kind == "quantization" for m in manager.modifiers):
        raise InputError(
            f"the model is quantized already (by {job.own_recipe}) and the recipe has no QuantizationModifier, so what"
            " it trains could not be loaded again: add the modifier, or start from the model before quantization"
        )


def settle(args: Arguments[Any], manager: ModifierManager | None) -> None:
    """Give the recipe's values to the training arguments, and refuse flags that say otherwise.

    Raises:
        InputError: A flag was given that contradicts the recipe; both values are named, and how to choose.
    """
    if manager is None or args.recipe.one_shot or not args.training.do_train:
        return
    _epochs(args, manager)
    if manager.sets_learning_rate:
        _rates(args, manager)
    _weight_decay(args, manager)


def _epochs(args: Arguments[Any], manager: ModifierManager) -> None:
    training, needed = args.training, manager.max_epochs
    if not needed or ("max_steps" in args.explicit and training.max_steps > 0):
        return  # a run counted in steps is checked by the manager, which knows the steps of an epoch
    if "num_train_epochs" not in args.explicit:
        training.num_train_epochs = float(needed)
        logger.info("the recipe sets the epochs: %g", needed)
    elif training.num_train_epochs != needed:
        raise InputError(
            f"--num_train_epochs {training.num_train_epochs:g}, but the recipe runs for {needed:g} epochs: drop the"
            f" flag to train {needed:g}, or change the recipe, such as --recipe_args"
            f" num_epochs={training.num_train_epochs:g}"
        )


def _rates(args: Arguments[Any], manager: ModifierManager) -> None:
    for flag in _RATE_FLAGS:
        value = getattr(args.training, flag)
        if flag in args.explicit and value not in (0, None):
            raise InputError(
                f"--{flag} {getattr(value, 'value', value)}, but the recipe sets the learning rate: drop the flag,"
                " or take the learning rate modifiers out of the recipe"
            )
    first = _first_rate(manager)
    asked = args.training.learning_rate
    if "learning_rate" in args.explicit and asked != first:
        raise InputError(
            f"--learning_rate {asked:g}, but the recipe's starts at {first:g}: drop the flag, or change the recipe,"
            f" such as --recipe_args init_lr={asked:g}"
        )
    logger.info("the recipe sets the learning rate: %g at its start", first)


def _first_rate(manager: ModifierManager) -> float:
    rates = [m for m in manager.modifiers if isinstance(m, LearningRateBase)]
    first = min(rates, key=lambda m: m.start)
    return first.learning_rate(first.start, 1)


def _weight_decay(args: Arguments[Any], manager: ModifierManager) -> None:
    found = [m for m in manager.modifiers if type(m).__name__ == "SetWeightDecayModifier"]
    if not found:
        return
    value: Any = getattr(found[0], "weight_decay", None)
    if "weight_decay" in args.explicit and args.training.weight_decay != value:
        raise InputError(
            f"--weight_decay {args.training.weight_decay:g}, but the recipe sets {value}: drop the flag, or take"
            " SetWeightDecayModifier out of the recipe"
        )
    logger.info("the recipe sets the weight decay: %s", value)


def teacher_of(args: Arguments[Any], manager: ModifierManager | None, job: Job) -> nn.Module | str | None:
    """The teacher for ``manager.wrap``: a model, ``self``, or None where nothing is distilled.

    Raises:
        InputError: The teacher cannot be loaded, or knows other labels (the difference is listed).
    """
    asked = args.recipe.distill_teacher
    if manager is None or not manager.needs_teacher or asked is None or args.recipe.one_shot:
        return None
    if asked == "self":
        return asked
    name = models.resolve(asked, "--distill_teacher")
    return Teacher(models.load_as_is(job.task.kind, name, args.model, "--distill_teacher"), job.model)
