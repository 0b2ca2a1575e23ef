"""From what a recipe writes (names, ``re:`` patterns, tokens, class names) to parameters and modules of a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any, TypeVar

from torch import Tensor, nn

from sparsify.errors import Problem, RecipeError

ALL = "__ALL__"
ALL_PRUNABLE = "__ALL_PRUNABLE__"
TOKENS = (ALL, ALL_PRUNABLE)

_RANGE = "clip_value"  # of a quantizer: learned, but no weight of the model's
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.")
_LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TURNED = ("transformers.pytorch_utils", "Conv1D")  # GPT-2's Linear; named, as transformers is not imported here

T = TypeVar("T")


def clean_name(name: str) -> str:
    """The name without what DDP (``module.``, in front), compile and FSDP wrappers add to it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def named_tensors(weights: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of a model, or tensors that somebody keeps under their names, by the names that recipes use.

    Tied parameters come under each of their names.
    """
    if isinstance(weights, nn.Module):
        return dict(_parameters(weights))
    return {clean_name(name): tensor for name, tensor in weights.items()}


def is_learned_range(name: str) -> bool:
    """Whether a parameter of this name is a quantizer's range, and no weight of the model's own."""
    return name.rpartition(".")[2] == _RANGE


def select_parameters(
    model: nn.Module, selectors: Sequence[str] | str, *, patterns_may_miss: bool = False
) -> dict[str, nn.Parameter]:
    """Parameters that any of the selectors names.

    Args:
        model: Wrapped or not; names are taken without wrappers' prefixes.
        selectors: Exact names; ``re:PATTERN``, matched from the start of the name; ``__ALL__``; or
            ``__ALL_PRUNABLE__``: weights of Linear, Conv (with transformers' Conv1D) and Embedding modules, but none that a Linear shares with
            an Embedding. A name, pattern or class name that no parameter but a layer has (``fc1``, ``Linear``)
            stands for that layer's weight.
        patterns_may_miss: Whether a ``re:`` pattern that matches nothing is fine: what is left out of several models
            need not be in each of them.

    Returns:
        By name, in the order of the model. A tied parameter comes once, under its first name, and may be selected
        by any of its names.

    Raises:
        RecipeError: A selector matches nothing (one problem each, with near names).
    """
    named = list(_parameters(model))
    prunable = {id(weight) for weight in _prunable(model).values()}
    tests: dict[str, Callable[[str, Any], bool]] = {
        ALL: lambda name, parameter: True,
        ALL_PRUNABLE: lambda name, parameter: id(parameter) in prunable,
    }
    wanted: set[int] = set()
    problems: list[Problem] = []
    for selector in [selectors] if isinstance(selectors, str) else selectors:
        test = tests.get(selector.upper()) or _by_name(selector, problems)
        found = {id(parameter) for name, parameter in named if test and test(name, parameter)}
        found = found or (_weights_of_layers(model, selector, test) if test else set())
        if test and not found and not (patterns_may_miss and selector.startswith("re:")):
            problems.append(_no_match("parameter", selector, [name for name, _ in named], TOKENS))
        wanted |= found
    if problems:
        raise RecipeError(problems)
    return {name: p for name, p in _once(named) if id(p) in wanted}


def select_modules(model: nn.Module, names: Sequence[str] | str) -> dict[str, nn.Module]:
    """Modules that any of ``names`` names.

    Args:
        model: Wrapped or not.
        names: Exact names; ``re:PATTERN``, matched from the start of the name; or class names (a subclass counts).

    Returns:
        By name, in the order of the model; a shared module comes once, under its first name.

    Raises:
        RecipeError: A name matches nothing (one problem each, with near names).
    """
    named = [(clean_name(name), module) for name, module in model.named_modules(remove_duplicate=False) if name]
    wanted: set[int] = set()
    problems: list[Problem] = []
    for selector in [names] if isinstance(names, str) else names:
        test = _by_name(selector, problems)
        found = {id(module) for name, module in named if test and test(name, module)}
        found |= {id(module) for _, module in named if selector in _class_names(module)}
        if test and not found:
            classes = sorted({type(module).__name__ for _, module in named})
            problems.append(_no_match("module", selector, [name for name, _ in named], classes))
        wanted |= found
    if problems:
        raise RecipeError(problems)
    return {name: module for name, module in _once(named) if id(module) in wanted}


def _weights_of_layers(model: nn.Module, selector: str, test: Callable[[str, Any], bool]) -> set[int]:
    """Weights of the layers that ``selector`` names, as ``targets`` of dict-style recipes do."""
    named = [(clean_name(name), module) for name, module in model.named_modules() if name]
    chosen = [module for name, module in named if test(name, module) or selector in _class_names(module)]
    return {id(weight) for module in chosen if isinstance(weight := getattr(module, "weight", None), nn.Parameter)}


def prunable_parameters(model: nn.Module, layer_types: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Weights of Linear and Conv modules, each once, without those shared with an Embedding: what reports count.

    Args:
        model: Wrapped or not.
        layer_types: Only of classes with one of these in their name, or in that of a class they are derived from:
            ``Linear``, ``Conv``, ``Conv2d``.
    """
    found = _prunable(model, embeddings=False)
    if not layer_types:
        return found
    classes = {id(getattr(m, "weight", None)): _class_names(m) for m in model.modules() if _is_layer(m)}
    return {
        name: weight
        for name, weight in found.items()
        if any(part in cls for part in layer_types for cls in classes[id(weight)])
    }


def task_head(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of a Hugging Face model outside of its encoder, and of poolers; empty for other models.

    Args:
        model: Unwrapped; known by its ``base_model_prefix``, which names the attribute that holds the encoder.
    """
    body = getattr(model, getattr(model, "base_model_prefix", None) or "", None)
    inside = {id(parameter) for parameter in (body if isinstance(body, nn.Module) else model).parameters()}
    return {n: p for n, p in _once(_parameters(model)) if id(p) not in inside or "pooler" in n.split(".")}


def names_of(modifier: object) -> tuple[str, ...]:
    """Names of the parameters that an attached modifier acts on (its ``parameter_names``); none if it has no such."""
    return tuple(getattr(modifier, "parameter_names", ()))


def inputs_first(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights that are laid out ``[in, out]``: those of transformers' Conv1D, which GPT-2 has for Linear."""
    return _weights([(clean_name(name), module) for name, module in model.named_modules()], _is_turned)


def _is_turned(module: nn.Module) -> bool:
    return any((cls.__module__, cls.__name__) == _TURNED for cls in type(module).__mro__)


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, _LAYERS) or _is_turned(module)


def _prunable(model: nn.Module, embeddings: bool = True) -> dict[str, nn.Parameter]:
    modules = [(clean_name(name), module) for name, module in model.named_modules()]
    weights = _weights(modules, _is_layer)
    tables = _weights(modules, lambda module: isinstance(module, nn.Embedding))
    shared = {id(weight) for weight in weights.values()} & {id(table) for table in tables.values()}
    chosen = weights | tables if embeddings else weights
    return {name: weight for name, weight in _once(chosen.items()) if id(weight) not in shared}


def _weights(modules: Iterable[tuple[str, nn.Module]], wanted: Callable[[nn.Module], bool]) -> dict[str, nn.Parameter]:
    found = {f"{name}.weight" if name else "weight": m.weight for name, m in modules if wanted(m)}
    return {name: weight for name, weight in found.items() if isinstance(weight, nn.Parameter)}


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    owner: dict[str, int] = {}
    for raw, parameter in model.named_parameters(remove_duplicate=False):
        name = clean_name(raw)
        if is_learned_range(name):
            continue
        # A model whose own child is called `module` must not lose a parameter to a namesake.
        yield (name if owner.setdefault(name, id(parameter)) == id(parameter) else raw), parameter


def _once(named: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    seen: set[int] = set()
    for name, item in named:
        if id(item) not in seen:
            seen.add(id(item))
            yield name, item


def compiled(selector: str) -> re.Pattern[str]:
    """The pattern of a selector that begins with ``re:``.

    Raises:
        ValueError: It is none; the text says why.
    """
    try:
        return re.compile(selector.removeprefix("re:"))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _by_name(selector: str, problems: list[Problem]) -> Callable[[str, object], bool] | None:
    if not selector.startswith("re:"):
        wanted = clean_name(selector)
        return lambda name, item: name in (wanted, selector)
    try:
        pattern = compiled(selector)
    except ValueError as error:
        problems.append(Problem(f"{selector!r} is not a regular expression: {error}"))
        return None
    return lambda name, item: pattern.match(name) is not None


def _class_names(module: nn.Module) -> set[str]:
    return {cls.__name__ for cls in type(module).__mro__} - {"Module", "object"}


def _near_pattern(pattern: str, names: Sequence[str]) -> list[str]:
    """Names whose parts are most like the words of the pattern, best first."""
    words = re.findall(r"[A-Za-z_]\w*", pattern)

    def likeness(name: str) -> float:
        parts = name.split(".")
        return sum(max(SequenceMatcher(None, word, part).ratio() for part in parts) for word in words)

    ranked = sorted(((likeness(name), name) for name in dict.fromkeys(names)), key=lambda pair: -pair[0])
    return [name for score, name in ranked[:4] if score > 0.6 * len(words)]


def _no_match(kind: str, selector: str, names: Sequence[str], others: Sequence[str]) -> Problem:
    known = list(dict.fromkeys([*names, *others]))
    if selector.startswith("re:"):
        near = _near_pattern(selector[3:], names)
    else:
        near = get_close_matches(selector, known, n=4, cutoff=0.5) or [name for name in known if selector in name][:4]
    shown = f"near names: {', '.join(near)}" if near else f"it has, among others: {', '.join(known[:4])}"
    return Problem(f"no {kind} of the model matches {selector!r}", hint=shown)
