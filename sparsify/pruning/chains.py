"""Hidden neurons and filters of any traceable model: a layer, what keeps channels apart, and the layers that read it.

The model is traced with ``torch.fx``, or, where its forward branches on data, each of its parts that can be traced. A
layer's output is followed through activations, dropout, batch norm, pooling, flatten and permute; if all of it ends in
Linear or convolution layers, its units can be removed. Residual sums and the model's output end the search: such units
stay.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from sparsify.pruning.families import keeps_zero
from sparsify.pruning.slots import Kind, Slot, Structure, weight_of

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAYERS = (nn.Linear, *_CONVOLUTIONS)
_SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh),
    *(nn.Tanh, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.Softsign),
)
_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d),
)
_POOL_FUNCTIONS = (functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d)
_FUNCTIONS: dict[object, bool] = {  # whether zero stays zero
    **dict.fromkeys((torch.relu, functional.relu, functional.gelu, functional.silu, torch.tanh, functional.tanh), True),
    **dict.fromkeys((functional.dropout, functional.dropout2d, functional.leaky_relu, functional.elu), True),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, functional.softplus), False),
}
_METHODS: dict[object, bool] = {"relu": True, "tanh": True, "contiguous": True, "float": True, "sigmoid": False}
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_TRACE_ERRORS = (
    *(RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, NameError, AssertionError),
    *(ImportError, fx.proxy.TraceError),
)


class _Tracer(fx.Tracer):
    """Keeps layers whole, also subclasses of torch's own (fake quantized ones)."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See the base class."""
        return isinstance(m, (*_LAYERS, nn.Embedding)) or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True)
class _At:
    """Where the units of a value are: along ``axis`` of ``rank`` dimensions (rank None: unknown, then axis is -1)."""

    axis: int
    rank: int | None
    flattened: bool = False  # whether what followed the axis was flattened into it


@dataclass
class _Walk:
    """The ways on from one layer's output."""

    model: nn.Module
    calls: Counter[str]
    units: int
    riders: list[str] = field(default_factory=list)
    readers: list[Slot] = field(default_factory=list)
    keeps_zero: bool = True

    def follow(self, node: fx.Node, at: _At) -> bool:
        """Whether every way on ends in a layer that reads the units."""
        return bool(node.users) and all(self._step(user, node, at) for user in node.users)

    def _step(self, user: fx.Node, node: fx.Node, at: _At) -> bool:
        if not user.args or user.args[0] is not node or user.all_input_nodes != [node]:
            return False
        if user.op == "call_module":
            return self._module(user, self.model.get_submodule(str(user.target)), at)
        moved = _moved(user, at)
        if moved is not None:
            return self.follow(user, moved)
        table = _METHODS if user.op == "call_method" else _FUNCTIONS
        if user.target in table:
            self.keeps_zero &= table[user.target]
            return self.follow(user, at)
        scaled = user.target in (operator.mul, operator.truediv) and isinstance(user.args[1], int | float)
        pooled = user.target in _POOL_FUNCTIONS and at.axis == 1
        return (scaled or pooled) and self.follow(user, at)

    def _module(self, user: fx.Node, module: nn.Module, at: _At) -> bool:
        if isinstance(module, _LAYERS):
            return self._read(str(user.target), module, at)
        if isinstance(module, _BatchNorm):
            self.riders.append(str(user.target))
            self.keeps_zero = False
            fits = module.num_features == self.units and at.axis in (-1, 1) and not at.flattened
            return fits and module.affine and self.calls[str(user.target)] == 1 and self.follow(user, at)
        if isinstance(module, nn.Flatten):
            moved = _flatten(at, module.start_dim, module.end_dim)
            return moved is not None and self.follow(user, moved)
        if isinstance(module, _ACTIVATIONS):
            self.keeps_zero &= keeps_zero(module)
            return self.follow(user, at)
        apart = isinstance(module, _SAME) or (isinstance(module, _POOLS) and at.axis == 1)
        return apart and self.follow(user, at)

    def _read(self, name: str, layer: nn.Module, at: _At) -> bool:
        if self.calls[name] != 1 or not _plain(layer):
            return False
        _, columns, *kernel = weight_of(layer).shape
        last = at.axis in (-1, (at.rank or 0) - 1)
        placed = last if isinstance(layer, nn.Linear) else at.axis == 1 and at.rank == len(kernel) + 2
        if not placed or columns % self.units or (columns != self.units and not at.flattened):
            return False
        self.readers.append(Slot(name, 1, columns // self.units))
        return True


def chain_structures(model: nn.Module, prefix: str = "") -> list[Structure]:
    """Structures of every part of ``model`` that can be traced, their names beginning with ``prefix``."""
    # What runs a container's layers is often not its own forward, but the module that holds it.
    if not prefix or not isinstance(model, _CONTAINERS):
        try:
            graph = _Tracer().trace(model)
        except _TRACE_ERRORS:
            pass
        else:
            return [_named(structure, prefix) for structure in _in_graph(model, graph)]
    parts = [(name, child) for name, child in model.named_children() if any(True for _ in child.children())]
    return [structure for name, child in parts for structure in chain_structures(child, f"{prefix}{name}.")]


def _in_graph(model: nn.Module, graph: fx.Graph) -> Iterator[Structure]:
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    # A weight that is read without its layer being called may be used in any way.
    calls.update(str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr")
    for node in graph.nodes:
        name = str(node.target)
        layer = model.get_submodule(name) if node.op == "call_module" else None
        if not isinstance(layer, _LAYERS) or calls[name] != 1 or not _plain(layer):
            continue
        weight = weight_of(layer)
        if not weight.numel():
            continue
        walk = _Walk(model, calls, weight.shape[0])
        if walk.follow(node, _At(-1, None) if isinstance(layer, nn.Linear) else _At(1, weight.ndim)):
            own = Slot(name, 0)
            writers = (own, *(Slot(rider, 0) for rider in walk.riders))
            source = own if walk.keeps_zero else None
            kind: Kind = "neurons" if isinstance(layer, nn.Linear) else "filters"
            yield Structure(name, kind, walk.units, writers, tuple(walk.readers), source)


def _plain(layer: nn.Module) -> bool:
    return isinstance(layer.weight, nn.Parameter) and getattr(layer, "groups", 1) == 1


def _moved(user: fx.Node, at: _At) -> _At | None:
    """Where the units are after a flatten, permute or transpose; None if it is none of these or mixes them up."""
    args = list(user.args[1:])
    if len(args) == 1 and isinstance(args[0], list | tuple):
        args = list(args[0])
    numbers = [arg for arg in args if isinstance(arg, int)]
    if user.target in ("flatten", torch.flatten):
        start = numbers[0] if numbers else user.kwargs.get("start_dim", 0)
        return _flatten(at, start, numbers[1] if len(numbers) > 1 else user.kwargs.get("end_dim", -1))
    if at.rank is None:
        return None
    order = [number % at.rank for number in numbers]
    if user.target in ("permute", torch.permute) and len(order) == at.rank:
        return replace(at, axis=order.index(at.axis))
    if user.target in ("transpose", torch.transpose) and len(order) == 2:
        return replace(at, axis={order[0]: order[1], order[1]: order[0]}.get(at.axis, at.axis))
    return None


def _flatten(at: _At, start: object, end: object) -> _At | None:
    if at.rank is None or not isinstance(start, int) or not isinstance(end, int):
        return None
    first, last = start % at.rank, end % at.rank
    rank = at.rank - (last - first)
    if at.axis < first:
        return replace(at, rank=rank)
    if at.axis > last:
        return replace(at, axis=at.axis - (last - first), rank=rank)
    # Only as the outermost of what is merged does a unit stay in one piece.
    return _At(first, rank, True) if at.axis == first else None


def _named(structure: Structure, prefix: str) -> Structure:
    def slots(found: tuple[Slot, ...]) -> tuple[Slot, ...]:
        return tuple(replace(slot, module=prefix + slot.module) for slot in found)

    source = None if structure.source is None else replace(structure.source, module=prefix + structure.source.module)
    name, writers, readers = prefix + structure.name, slots(structure.writers), slots(structure.readers)
    return replace(structure, name=name, writers=writers, readers=readers, source=source)
