"""Flags that a user gave against a recipe that sets the same: never decided in silence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sparsify.errors import InputError
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.modifiers.training import SetWeightDecayModifier
from sparsify.rates import OVERRULED

if TYPE_CHECKING:
    from sparsify.manager import ModifierManager
    from sparsify.tasks.arguments import Arguments

logger = logging.getLogger(__name__)


def settle(args: Arguments[Any], manager: ModifierManager | None) -> None:
    """Give the recipe's values to the training arguments, and refuse flags that say otherwise.

    Raises:
        InputError: Flags were given that contradict the recipe: of each both values, and how to choose.
    """
    if manager is None or args.recipe.one_shot or not args.training.do_train:
        return
    found = [*_epochs(args, manager), *_rates(args, manager), *_weight_decay(args, manager)]
    if found:
        raise InputError("\n".join(found))


def _epochs(args: Arguments[Any], manager: ModifierManager) -> list[str]:
    training, needed = args.training, manager.max_epochs
    if args.compiled or not needed or ("max_steps" in args.explicit and training.max_steps > 0):
        return []  # a run counted in steps is checked by the manager, which knows the steps of an epoch
    if "num_train_epochs" not in args.explicit:
        training.num_train_epochs = float(needed)
        logger.info("the recipe sets the epochs: %g", needed)
    elif training.num_train_epochs != needed:
        asked = f"{training.num_train_epochs:g}"
        change = _change(manager, float(needed), asked) or "change the recipe's epochs"
        return [
            f"--num_train_epochs {asked}, but the recipe runs for {needed:g} epochs: drop the flag to train {needed:g},"
            f" or {change}"
        ]
    return []


def _rates(args: Arguments[Any], manager: ModifierManager) -> list[str]:
    rates = sorted((m for m in manager.modifiers if isinstance(m, LearningRateBase)), key=lambda m: m.start)
    if not rates:
        return []
    course = ", then ".join(dict.fromkeys(m.in_words() for m in rates))
    found = []
    for flag in OVERRULED:
        value = getattr(args.training, flag)
        if flag in args.explicit and value not in (0, None):
            found.append(
                f"--{flag} {getattr(value, 'value', value)}, but the recipe sets the learning rate at each step:"
                f" {course}: drop the flag, or take {_names(rates)} out of the recipe"
            )
    first, asked = rates[0].learning_rate(rates[0].start, 1), args.training.learning_rate
    if "learning_rate" in args.explicit and asked != first:
        change = _change(manager, first, f"{asked:g}") or _set(rates[0], first, f"{asked:g}")
        found.append(
            f"--learning_rate {asked:g}, but the recipe's starts at {first:g} ({course}): drop the flag, or {change}"
        )
    elif not found:
        logger.info("the recipe sets the learning rate: %s", course)
    return found


def _weight_decay(args: Arguments[Any], manager: ModifierManager) -> list[str]:
    setters = [m for m in manager.modifiers if isinstance(m, SetWeightDecayModifier)]
    if not setters:
        return []
    told = ", then ".join(f"{m.weight_decay:g} from epoch {m.start:g}" for m in sorted(setters, key=lambda m: m.start))
    asked = args.training.weight_decay
    if "weight_decay" not in args.explicit or all(m.weight_decay == asked for m in setters):
        logger.info("the recipe sets the weight decay: %s", told)
        return []
    change = f"take {_names(setters)} out of the recipe"
    if len(setters) == 1:
        value = setters[0].weight_decay
        change = _change(manager, value, f"{asked:g}") or _set(setters[0], value, f"{asked:g}")
    return [f"--weight_decay {asked:g}, but the recipe sets {told}: drop the flag, or {change}"]


def _change(manager: ModifierManager, value: float, asked: str) -> str | None:
    """How to give the recipe another value, where one variable of it has the value that holds now."""
    variables = {**manager.recipe.variables}
    found = [k for k, v in variables.items() if isinstance(v, int | float) and not isinstance(v, bool) and v == value]
    return f"change the recipe with --recipe_args {found[0]}={asked}" if len(found) == 1 else None


def _set(modifier: Modifier, value: float, asked: str) -> str:
    """How to give the field that holds a value now another one."""
    for name in ("learning_rate", "init_lr", "weight_decay"):
        if modifier.model_dump(by_alias=True).get(name) == value:
            return f"change the recipe with --set {modifier.path}.{name}={asked}"
    return f"take {_names([modifier])} out of the recipe"


def _names(modifiers: list[Any]) -> str:
    """Class and line of each."""
    return " and ".join(dict.fromkeys(_named(m) for m in modifiers))


def _named(modifier: Modifier) -> str:
    line = modifier.problem("").line
    return type(modifier).__name__ + (f" (line {line})" if line else "")
