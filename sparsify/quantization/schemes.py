"""What is quantized and how: schemes, and their resolution against the modules of a live model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from sparsify.errors import Problem, RecipeError
from sparsify.quantization.layers import QUANTIZABLE, QLayer
from sparsify.quantization.qparams import ACTIVATION, WEIGHT, QuantSpec
from sparsify.select import clean_name


@dataclass(frozen=True, slots=True)
class Scheme:
    """Integer formats of a layer's inputs, weights and outputs; None leaves them float."""

    inputs: QuantSpec | None = ACTIVATION
    weights: QuantSpec | None = WEIGHT
    outputs: QuantSpec | None = None

    @property
    def dynamic(self) -> bool:
        """Whether inputs have the range of each batch."""
        return self.inputs is not None and self.inputs.dynamic


DEFAULT = Scheme()
_LAYERS = tuple(QUANTIZABLE)
_ATTENTION_NAMES = re.compile(r"(QAT|Quantizable)?(Batch)?MatMul\w*|BMM\w*")


@dataclass(frozen=True)
class Selection:
    """Which modules are quantized, by which scheme.

    Names stand for the module of that full name and all below it; ``re:PATTERN`` is matched from the start of a
    name; a class name stands for every module of that class and all below it. The most specific wins: the longest
    name, then patterns, then classes.

    Attributes:
        default: Scheme of everything that no override names.
        overrides: Scheme (None: stay float) by name, pattern or class.
        ignore: Names, patterns or classes that stay float.
        submodules: Full names; layers outside stay float. None: the whole model.
        embeddings: Whether embeddings are quantized (inside ``submodules`` or not).
        matmuls: Whether the matmuls inside attention are quantized.
        conv_outputs: Whether the output of a convolution is quantized where no layer's input quantizer takes it, so
            that an integer runtime can run the convolution.
        learned: Whether the quantizers' ranges may be learned (their clip values are then parameters of the model).
        strict: Refuse ``ignore`` and ``overrides`` entries that match nothing.
    """

    default: Scheme = DEFAULT
    overrides: Mapping[str, Scheme | None] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    submodules: tuple[str, ...] | None = None
    embeddings: bool = True
    matmuls: bool = True
    conv_outputs: bool = True
    learned: bool = False
    strict: bool = True

    def scheme_of(self, model: nn.Module, name: str) -> Scheme | str:
        """The scheme of the module called ``name``, or the reason why it stays float."""
        classes = _classes_above(model, name)
        if _strongest(self.ignore, name, classes) is not None:
            return "ignored by the recipe"
        module = model.get_submodule(name)
        embedding = isinstance(module, nn.Embedding)
        if embedding and not self.embeddings:
            return "embeddings are not quantized by the recipe"
        if self.submodules is not None and not embedding and not any(_covers(s, name) for s in self.submodules):
            return "outside the recipe's submodules"
        rule = _strongest(self.overrides, name, classes)
        scheme = self.default if rule is None else self.overrides[rule]
        if rule is None and embedding and scheme is not None and scheme.weights is not None:
            # One scale serves a whole table: fewer bits than 8 are taken only where a rule says so.
            scheme = replace(scheme, weights=replace(scheme.weights, bits=8))
        if scheme is None or (scheme.weights is None and scheme.inputs is None):
            return "left float by scheme_overrides"
        return scheme

    def output_of(self, scheme: Scheme, layer: nn.Module, taken: bool) -> QuantSpec | None:
        """The format of a layer's output, None where it stays float.

        Args:
            scheme: Of the layer.
            layer: The layer.
            taken: Whether nothing but input quantizers of other layers reads its output.
        """
        if scheme.outputs is not None and not isinstance(layer, nn.Embedding):
            return scheme.outputs
        wanted = self.conv_outputs and isinstance(layer, nn.Conv2d) and not taken
        return scheme.inputs if wanted else None

    @property
    def attention(self) -> bool:
        """Whether the matmuls inside attention are quantized: not by ranges of each batch, or if matmuls are ignored."""
        inputs = self.default.inputs
        return (
            self.matmuls
            and not (inputs is None or inputs.dynamic)
            and not any(_ATTENTION_NAMES.fullmatch(name) for name in self.ignore)
        )

    def check(self, model: nn.Module) -> None:
        """Refuse names that the model does not have.

        Raises:
            RecipeError: One problem per name, with the nearest names of the model.
        """
        names = [clean_name(name) for name, _ in model.named_modules() if name]
        problems = [
            _unknown("submodules", name, names)
            for name in self.submodules or ()
            if clean_name(name) not in names and name
        ]
        if self.strict:
            classes = {name for m in model.modules() for name in _class_names(m)}
            for key, entries in (("ignore", self.ignore), ("scheme_overrides", self.overrides)):
                problems += [_unknown(key, e, names) for e in entries if not _known(e, names, classes)]
        if problems:
            raise RecipeError(problems)


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Layers that can be quantized, swapped already or not, each once, under its first name.

    Subclasses are left out: what they do with their weight is not known.
    """
    return {n: m for n, m in model.named_modules() if type(m) in _LAYERS or isinstance(m, QLayer)}


def _covers(parent: str, name: str) -> bool:
    parent, name = clean_name(parent), clean_name(name)
    return not parent or name == parent or name.startswith(f"{parent}.")


def _strongest(rules: Iterable[str], name: str, classes: set[str]) -> str | None:
    """The most specific of ``rules`` that holds for a module: longest name, then pattern, then class."""
    found: list[tuple[int, int, str]] = []
    for rule in rules:
        if rule.startswith("re:"):
            if any(re.match(rule[3:], part) for part in _upwards(clean_name(name))):
                found.append((1, 0, rule))
        elif rule and _covers(rule, name):
            found.append((2, len(rule), rule))
        elif rule in classes:
            found.append((0, 0, rule))
    return max(found, default=(0, 0, None))[2]


def _upwards(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _classes_above(model: nn.Module, name: str) -> set[str]:
    """Class names of the module and of all that hold it, the root left out."""
    return {c for part in _upwards(name) if part for c in _class_names(model.get_submodule(part))}


def _class_names(module: nn.Module) -> set[str]:
    """A swapped layer still answers to the name of its torch class."""
    return {type(module).__name__} | ({type(module).__mro__[1].__name__} if isinstance(module, QLayer) else set())


def _known(entry: str, names: list[str], classes: set[str]) -> bool:
    if entry in classes or (entry and any(_covers(entry, name) for name in names)):
        return True
    if entry.startswith("re:"):
        try:
            return any(re.match(entry[3:], name) for name in names)
        except re.error:
            return False
    # A class that this model lacks (LayerNorm, SiLU, Tensor, ...) is never quantized: nothing to refuse, unless it
    # looks like a slip of one that is.
    looks_like_class = entry[:1].isupper() and "." not in entry
    slip = difflib.get_close_matches(entry, [c.__name__ for c in _LAYERS if c.__name__ in classes], n=1, cutoff=0.75)
    return looks_like_class and (hasattr(nn, entry) or not slip)


def _unknown(key: str, name: str, names: list[str]) -> Problem:
    tail = name.rpartition(".")[2]
    near = difflib.get_close_matches(name.removeprefix("re:"), names, n=3, cutoff=0.6)
    near += [n for n in names if n.rpartition(".")[2] == tail and n not in near][:2]
    near = near or difflib.get_close_matches(name.removeprefix("re:"), names, n=3, cutoff=0.3)
    hint = f"near names: {', '.join(near)}" if near else f"the model's modules begin with {', '.join(names[:4])}"
    return Problem(f"{key}: the model has no module {name!r}", hint=hint)
