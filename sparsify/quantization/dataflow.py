"""Where the outputs of convolutions go: the batch norm behind each, and whether only quantized inputs read it.

ONNX Runtime runs a convolution on integers only where its input, its weight and its output are integers. A batch norm
is folded away, a ReLU and a max-pooling are run on integers too, and reshapes let integers through; anything else (a
residual sum, an average, the model's output) needs a quantizer between the convolution and itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional

from sparsify.quantization.layers import QBatchNorm2d, QReLU

_WHOLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.BatchNorm2d, nn.ReLU)
# No subclasses: what else they compute (an activation, in some norms) would be lost in a fold or stay unquantized.
_NORMS, _RELUS = (nn.BatchNorm2d, QBatchNorm2d), (nn.ReLU, QReLU)
_CLEAR = (nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Unflatten)
_CLEAR_FUNCTIONS: tuple[object, ...] = (
    *(torch.relu, functional.relu, functional.max_pool2d, functional.dropout, functional.dropout2d),
    *(torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze),
)
_CLEAR_METHODS = ("relu", "flatten", "reshape", "view", "permute", "transpose", "contiguous", "squeeze", "unsqueeze")
_TRACE_ERRORS = (
    *(RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, NameError, AssertionError),
    *(ImportError, fx.proxy.TraceError),
)


@dataclass(frozen=True, slots=True)
class Flow:
    """What becomes of one convolution's output.

    Attributes:
        source: Stands for the tensor that it reads: the same for layers that read the same one.
        norm: Name of the batch norm that alone reads its output, where nothing else reads its weight; or None.
        tail: Name of the last module of convolution, norm and ReLU that nothing else reads in between.
        readers: Names of the layers that read the tail's output, through nothing but what integers pass.
        closed: Whether nothing but ``readers`` reads it.
    """

    source: str
    norm: str | None
    tail: str
    readers: tuple[str, ...]
    closed: bool


class _Tracer(fx.Tracer):
    """Keeps layers, norms and activations whole, also subclasses of torch's own (fake quantized ones)."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See the base class."""
        return isinstance(m, _WHOLE) or super().is_leaf_module(m, module_qualified_name)


def convolution_flows(model: nn.Module, prefix: str = "") -> dict[str, Flow]:
    """Flows of the Conv2d modules whose surroundings ``torch.fx`` can trace, by name.

    Where the model as a whole cannot be traced, each of its parts is tried by itself; names begin with ``prefix``.
    """
    if not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        return {}
    # What runs the modules of a list or a dict is not its own forward, but the module that holds it.
    if not isinstance(model, nn.ModuleList | nn.ModuleDict):
        try:
            graph = _Tracer().trace(model)
        except _TRACE_ERRORS:
            pass
        else:
            return dict(_flows(model, graph, prefix))
    parts = [(name, child) for name, child in model.named_children() if any(True for _ in child.children())]
    return {name: flow for part, child in parts for name, flow in convolution_flows(child, f"{prefix}{part}.").items()}


def _flows(model: nn.Module, graph: fx.Graph, prefix: str) -> Iterator[tuple[str, Flow]]:
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")

    read = {str(node.target) for node in graph.nodes if node.op == "get_attr"}

    def once(node: fx.Node | None) -> nn.Module | None:
        if node is None or node.op != "call_module" or calls[str(node.target)] != 1:
            return None
        return model.get_submodule(str(node.target))

    for node in graph.nodes:
        if not isinstance(once(node), nn.Conv2d):
            continue
        behind = _only_user(node)
        norm = behind if type(once(behind)) in _NORMS and f"{node.target}.weight" not in read else None
        tail = norm or node
        behind = _only_user(tail)
        tail = behind if behind is not None and type(once(behind)) in _RELUS else tail
        readers, closed = _readers(model, tail)
        yield (
            f"{prefix}{node.target}",
            Flow(
                source=f"{prefix}{node.args[0] if node.args else node.name}",
                norm=f"{prefix}{norm.target}" if norm else None,
                tail=f"{prefix}{tail.target}",
                readers=tuple(f"{prefix}{name}" for name in readers),
                closed=closed,
            ),
        )


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].all_input_nodes == [node] else None


def _readers(model: nn.Module, node: fx.Node) -> tuple[list[str], bool]:
    """Layers that read ``node`` through what integers pass, and whether nothing else does."""
    found: list[str] = []
    closed = bool(node.users)
    for user in node.users:
        module = model.get_submodule(str(user.target)) if user.op == "call_module" else None
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append(str(user.target))
        elif _clear(user, module):
            more, all_read = _readers(model, user)
            found, closed = found + more, closed and all_read
        else:
            closed = False
    return found, closed


def _clear(node: fx.Node, module: nn.Module | None) -> bool:
    if module is not None:
        return isinstance(module, _CLEAR)
    return node.target in (_CLEAR_METHODS if node.op == "call_method" else _CLEAR_FUNCTIONS)
