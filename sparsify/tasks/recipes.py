"""Flags and recipe side by side: who sets what, and a teacher where one is needed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sparsify.distillation.teacher import Teacher
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from sparsify.tasks import models
from sparsify.tasks.arguments import Arguments, RecipeArguments

if TYPE_CHECKING:
    from torch import nn

    from sparsify.manager import ModifierManager
    from sparsify.tasks.base import Job

logger = logging.getLogger(__name__)
DISABLE = "disable"


def load_manager(args: RecipeArguments) -> ModifierManager | None:
    """The recipe's manager, or None without a recipe.

    Raises:
        RecipeError: The recipe has mistakes, or a modifier that is not available yet.
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
    manager.check_available()
    if manager.needs_teacher and teacher is None and not args.one_shot:
        raise InputError(
            "the recipe distils, and no teacher was named: give --distill_teacher a model (folder, zoo: stub or Hub"
            " id), self (the model as it is at the start), or disable to leave distillation out"
        )
    if teacher not in (None, DISABLE) and not manager.needs_teacher:
        logger.warning("--distill_teacher %s is not used: the recipe has no DistillationModifier", teacher)
    return manager


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
