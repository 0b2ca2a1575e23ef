"""Run a model in torch and in ONNX Runtime on the same inputs, and say how far apart they are and from where on."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparsify.export.graph import last_outputs, load_graph, with_outputs
from sparsify.export.samples import Batch
from sparsify.export.session import open_session

FP32_TOLERANCE = 1e-4
"""Largest difference of a logit between torch and ONNX Runtime, for a graph without int8."""
INT8_TOLERANCE = 0.005
"""Largest share of counted predictions that may differ, for a graph with int8."""
_AS_NEAR = 1.1
_NUMBERS = 0.01
_SPANS = ("start_logits", "end_logits")
_LAYER_ERROR = {"fp32": 1e-3, "int8": 5e-2, "int4": 5e-2}

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far ONNX Runtime's logits are from torch's.

    Attributes:
        precision: ``fp32``, or ``int8`` or ``int4``; says which of the two measures decides.
        max_difference: Largest |difference| of a logit, padding left out.
        mean_difference: Mean of the same.
        agreement: Share of counted predictions that are the same: the argmax; of several classes each on its own; a
            regression's number to 1% of the largest.
        counted: Number of counted predictions.
        samples: Number of sequences compared.
        shapes: Their (batch, length), padding included; of a plain module their (batch,).
        data: Where they came from: ``samples`` or ``generated``.
        tolerance: What the measure was held to.
        default: What it would be held to without ``--tolerance``.
        torch_error: Mean |difference| of torch's fp32 logits from those of the model in double precision; None where
            that was not asked.
        file_error: The same of ONNX Runtime's logits.
    """

    precision: str
    max_difference: float
    mean_difference: float
    agreement: float
    counted: int
    samples: int
    shapes: tuple[tuple[int, ...], ...]
    data: str
    tolerance: float
    default: float
    torch_error: float | None = None
    file_error: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the deciding measure is within tolerance (never for NaN), or the file as near to the model as torch."""
        if self.precision != "fp32":
            finite = bool(np.isfinite(self.max_difference))
            return finite and (self.agreement >= 1 - self.tolerance or self.as_near_as_torch)
        return self.max_difference <= self.tolerance

    @property
    def as_near_as_torch(self) -> bool:
        """Whether ONNX Runtime is no farther from the model in double precision than torch's own fp32 is."""
        if self.torch_error is None or self.file_error is None:
            return False
        return self.file_error <= max(_AS_NEAR * self.torch_error, FP32_TOLERANCE)

    @property
    def loosened(self) -> bool:
        """Whether the tolerance was set above its default."""
        return self.tolerance > self.default

    def summary(self) -> str:
        """One line: what was measured and what it was held to."""
        note = f", loosened from {self.default:g}" if self.loosened else ""
        if self.precision != "fp32":
            held = f"at least {1 - self.tolerance:.2%}{note}"
            return f"agreement {self.agreement:.3%} of {self.counted} predictions ({held}){self._exact()}"
        return f"largest logit difference {self.max_difference:.2e} (at most {self.tolerance:g}{note})"

    def _exact(self) -> str:
        if self.torch_error is None or self.file_error is None:
            return ""
        return (
            f"; from the model in double precision logits are {self.file_error:.2e} away on average, torch's own fp32"
            f" ones {self.torch_error:.2e}"
        )


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first layer whose output differs: its largest difference, and the largest value that torch gives there."""

    layer: str
    difference: float
    scale: float


@torch.no_grad()
def torch_outputs(model: nn.Module, inputs: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    """The named outputs of a model in torch; where it gives a bare tensor or tuple, in its order."""
    result = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    if isinstance(result, Mapping):
        return [result[name].float().numpy() for name in names]
    listed = [result] if isinstance(result, torch.Tensor) else list(result)
    return [value.float().numpy() for value in listed[: len(names)]]


def measure(
    model: nn.Module,
    path: str | Path,
    batches: Sequence[Batch],
    outputs: Sequence[str],
    *,
    precision: str,
    data: str = "samples",
    tolerance: float | None = None,
) -> Parity:
    """Compare torch and ONNX Runtime on ``batches``.

    Args:
        model: In eval mode, on the CPU.
        path: The ONNX file.
        batches: Inputs; several shapes, padding inside.
        outputs: Names of the outputs to compare.
        precision: ``fp32``, ``int8`` or ``int4``.
        data: Where the batches came from, for the report.
        tolerance: Replaces the default of the precision.
    """
    session = open_session(path)
    problem = getattr(getattr(model, "config", None), "problem_type", None)
    largest, total, values, agree, counted = 0.0, 0.0, 0, 0, 0
    for batch in batches:
        given = session.run(list(outputs), batch.inputs)
        for name, ours, theirs in zip(outputs, torch_outputs(model, batch.inputs, outputs), given, strict=True):
            gap = np.abs(ours - theirs)[_real(name, ours, batch)]
            largest = float(np.maximum(largest, gap.max(initial=0.0)))  # unlike max(), keeps NaN
            total, values = total + float(gap.sum()), values + gap.size
            same = _same(name, ours, theirs, batch, problem)
            agree, counted = agree + int(same.sum()), counted + same.size
    default = FP32_TOLERANCE if precision == "fp32" else INT8_TOLERANCE
    return Parity(
        precision=precision,
        max_difference=largest,
        mean_difference=total / max(1, values),
        agreement=agree / max(1, counted),
        counted=counted,
        samples=sum(len(batch.real) for batch in batches),
        shapes=tuple(sorted({batch.real.shape for batch in batches})),
        data=data,
        tolerance=default if tolerance is None else tolerance,
        default=default,
    )


def errors_of_both(
    model: nn.Module, path: str | Path, batches: Sequence[Batch], outputs: Sequence[str]
) -> tuple[float, float]:
    """Mean |difference| from the model in double precision of torch's fp32 logits, and of ONNX Runtime's.

    Quantizing is a staircase: values that differ in the last digit may fall on different steps. Where many do, torch and
    a right file part, as torch does from itself when its sums are taken in another order; double precision tells that
    from a wrong file. Arguments as for :func:`measure`.
    """
    session, exact = open_session(path), copy.deepcopy(model).double()
    totals, values = np.zeros(2), 0
    for batch in batches:
        precise = {name: v.astype(np.float64) if v.dtype.kind == "f" else v for name, v in batch.inputs.items()}
        true, ours = torch_outputs(exact, precise, outputs), torch_outputs(model, batch.inputs, outputs)
        theirs = session.run(list(outputs), batch.inputs)
        for name, wanted, *both in zip(outputs, true, ours, theirs, strict=True):
            gaps = [np.abs(found - wanted)[_real(name, wanted, batch)] for found in both]
            totals += [gap.sum() for gap in gaps]
            values += gaps[0].size
    torch_error, file_error = (totals / max(1, values)).tolist()
    return torch_error, file_error


def _real(name: str, logits: Array, batch: Batch) -> Array:
    """Which logits count: those of real tokens ([B, S, C]), of real positions (spans, [B, S]), or all ([B, C])."""
    by_token = batch.real.ndim == 2 and (logits.ndim == 3 or name in _SPANS)
    return batch.real if by_token else np.ones(logits.shape, bool)


def _same(name: str, ours: Array, theirs: Array, batch: Batch, problem: str | None) -> Array:
    """Which predictions are the same."""
    plain = batch.real.ndim == 1
    if problem == "regression" or (plain and (ours.ndim < 2 or ours.shape[1 if ours.ndim > 3 else -1] == 1)):
        return np.abs(ours - theirs) <= _NUMBERS * np.abs(ours).max(initial=0.0)
    if problem == "multi_label_classification":
        return np.asarray((ours > 0) == (theirs > 0))
    return np.asarray(_argmax(name, ours, batch) == _argmax(name, theirs, batch))


def _argmax(name: str, logits: Array, batch: Batch) -> Array:
    if batch.real.ndim == 1:
        return np.asarray(logits.argmax(1 if logits.ndim > 3 else -1))  # images have their classes in front
    if logits.ndim == 3:
        return np.asarray(logits.argmax(-1)[batch.counted])
    return np.asarray((np.where(batch.real, logits, -np.inf) if name in _SPANS else logits).argmax(-1))


def first_divergence(model: nn.Module, path: str | Path, batch: Batch, precision: str) -> Divergence | None:
    """Name the first layer, in the order in which layers finish, whose output in ONNX Runtime is not torch's.

    Where no single layer stands out, the one that is farthest off; None where no layer can be compared.
    """
    graph = load_graph(path)
    names = [name for name, _ in model.named_modules() if name]
    leaving = last_outputs(graph, names)
    list(with_outputs(graph, list(dict.fromkeys(leaving.values()))))
    exposed = {output.name for output in graph.graph.output}
    layers = {layer: tensor for layer, tensor in leaving.items() if tensor in exposed}
    if not layers:
        return None
    values = _run_graph(graph, batch, sorted(set(layers.values())))
    with _captured(model, layers) as captured:
        torch_outputs(model, batch.inputs, ())
    found = list(_differences(captured, {layer: values[tensor] for layer, tensor in layers.items()}, batch))
    over = (d for d in found if not d.difference <= _LAYER_ERROR[precision] * max(d.scale, 1e-6))
    return next(over, None) or max(found, key=lambda d: d.difference / max(d.scale, 1e-6), default=None)


def _run_graph(graph: Any, batch: Batch, tensors: list[str]) -> dict[str, Array]:
    import onnx

    with tempfile.TemporaryDirectory(prefix="sparsify-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(graph, str(path), save_as_external_data=graph.ByteSize() > 2**30)
        return dict(zip(tensors, open_session(path).run(tensors, batch.inputs), strict=True))


@contextmanager
def _captured(model: nn.Module, layers: dict[str, str]) -> Iterator[dict[str, Array]]:
    values: dict[str, Array] = {}

    def keep(layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, torch.Tensor):
                values[layer] = first.detach().float().numpy()

        return hook

    handles = [model.get_submodule(layer).register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield values
    finally:
        for handle in handles:
            handle.remove()


def _differences(ours: dict[str, Array], theirs: dict[str, Array], batch: Batch) -> Iterator[Divergence]:
    for layer, value in theirs.items():
        if layer not in ours or ours[layer].shape != value.shape:
            continue
        here = batch.real if value.shape[:2] == batch.real.shape else np.ones(value.shape, bool)
        if gap := np.abs(ours[layer] - value)[here].max(initial=0.0) if here.any() else 0.0:
            yield Divergence(layer, float(gap), float(np.abs(ours[layer])[here].max(initial=0.0)))
