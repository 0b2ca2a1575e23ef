"""Training that goes on from a compressed model: its zeros are held, and both recipes are saved."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager
from sparsify.modifiers.composition import hold, zeros_to_hold
from sparsify.modifiers.registry import get
from sparsify.recipe.recipe import Recipe

if TYPE_CHECKING:
    from sparsify.tasks.base import Job

logger = logging.getLogger(__name__)


def carried(model: nn.Module, path: Path) -> tuple[str, ...]:
    """Build in ``model``, which has another head, what of a recipe's structure does not depend on the head.

    Args:
        model: With the weights of what the recipe made, as far as they fit.
        path: The recipe.

    Returns:
        Types of the recipe's modifiers of which the model has nothing: quantizers were made for the other head's task.

    Raises:
        RecipeError: The recipe cannot be read, or the model lacks what it names.
    """
    recipe = Recipe.load(path)
    for modifier in ModifierManager(recipe).modifiers:
        if modifier.structural and modifier.kind == "pruning":
            modifier.on_structure(model)
    return tuple(sorted({spec.type for spec in recipe.modifiers if get(spec.type).kind == "quantization"}))


def following(job: Job, manager: ModifierManager | None) -> ModifierManager | None:
    """The manager of a training that goes on from a model of ours; ``manager`` itself for other models.

    Zeros that its recipe made are held, unless the new one prunes or holds these parameters itself. What is saved is the
    old recipe and the new one, as stages.

    Raises:
        RecipeError: The two recipes cannot be written as one.
    """
    if job.own_recipe is None or not (job.args.training.do_train or job.args.recipe.one_shot):
        return manager
    before = Recipe.load(job.own_recipe)
    given = manager or _holding(before, job.model)
    if given is None:
        return None
    found = given.after(before, job.model, job.left_out)
    held = zeros_to_hold(ModifierManager(before).modifiers, manager.modifiers if manager else [], job.model)
    if held:
        logger.info(
            "the model was pruned by %s: its zeros are held%s", job.own_recipe, "" if manager else " (no --recipe)"
        )
    return found


def _holding(before: Recipe, model: nn.Module) -> ModifierManager | None:
    """Without a recipe: one that holds the zeros, where there are any to be held."""
    selectors = zeros_to_hold(ModifierManager(before).modifiers, [], model)
    return ModifierManager(Recipe.from_text(hold(selectors), "no recipe")) if selectors else None


def readable(path: Path, model: nn.Module) -> tuple[Path | None, tuple[str, ...]]:
    """``carried`` for a recipe that may be anyone's: one that cannot be used is left out, with a warning.

    Returns:
        The recipe, None where it is left out, and what ``carried`` returns.
    """
    try:
        return path, carried(model, path)
    except RecipeError as error:
        logger.warning("%s is left out of what is saved: %s", path, error.problems[0])
        return None, ()
