"""What the next recipe of a compressed model has to take over from the one that made it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sparsify.errors import RecipeError
from sparsify.modifiers.base import Modifier
from sparsify.modifiers.masking import MaskModifier
from sparsify.recipe.resolved import entry_lines
from sparsify.select import ALL_PRUNABLE

_HOLDS = "ConstantPruningModifier"


def zeros_to_hold(before: Sequence[Modifier], now: Sequence[Modifier], model: nn.Module) -> tuple[str, ...]:
    """Selectors of the parameters whose zeros nothing in the next recipe speaks of.

    Args:
        before: Modifiers that made the model.
        now: Modifiers that it is trained with next: parameters that one of them prunes, or holds, are its business.
        model: The model.
    """
    made = [m for m in before if _masks(m)]
    speaks = [m for m in now if _masks(m)]
    if not made or not speaks:
        return (ALL_PRUNABLE,) if made else ()
    theirs = {name for m in speaks for name in _matched(m, model)}
    return tuple(dict.fromkeys(name for m in made for name in _matched(m, model) if name not in theirs))


def hold(selectors: Sequence[str]) -> str:
    """Text of a recipe that holds zeros."""
    fields = {"start_epoch": 0.0, "params": list(selectors)}
    return "\n".join(["kept_modifiers:", *entry_lines(_HOLDS, fields)]) + "\n"


def _masks(modifier: Modifier) -> bool:
    return isinstance(modifier, MaskModifier) or (modifier.kind == "pruning" and not modifier.structural)


def _matched(modifier: Modifier, model: nn.Module) -> tuple[str, ...]:
    """Parameters that it acts on; none where the model has none of them (another head, say)."""
    try:
        return modifier.matched(model)
    except RecipeError:
        return ()
