"""Prove that an ONNX file does what its model does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from sparsify.analysis.report import quantized
from sparsify.errors import CheckFailed, InputError
from sparsify.export.graph import FloatOp, Operators, load_graph, operators
from sparsify.export.module import Inputs, open_module
from sparsify.export.parity import Divergence, Parity, errors_of_both, first_divergence, measure
from sparsify.export.samples import Batch, Sample
from sparsify.export.session import INPUTS, fixed_shape, open_session
from sparsify.export.source import Source, open_source
from sparsify.export.weights import WeightCheck, check_weights


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared between a model and its ONNX file, and how it came out.

    Attributes:
        parity: Logits and predictions on samples.
        weights: The weight of each layer, one by one.
        operators: What ONNX Runtime made of the matrix products.
        expected_int8: Layers that the recipe quantized, weight and input, and that ONNX Runtime still runs in float.
        divergence: The first layer that differs, where parity failed.
    """

    parity: Parity
    weights: tuple[WeightCheck, ...]
    operators: Operators
    expected_int8: tuple[FloatOp, ...]
    divergence: Divergence | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it did not pass, one line each."""
        found = [] if self.parity.passed else [f"parity: {self.parity.summary()}{self._where()}"]
        wrong = [check for check in self.weights if check.found and not check.passed]
        count = len(self.weights)
        lost = [check for check in self.weights if check.stored not in (check.dtype, None)]
        if wrong:
            found.append(f"weights: {len(wrong)} of {count} layers differ from the model, {_first(wrong)}")
        if lost:
            found.append(f"weights: {len(lost)} of {count} layers are not {lost[0].dtype} in the file, {_first(lost)}")
        if self.weights and all(check.stored is None for check in self.weights):
            found.append("weights: none was found in the graph, so none was compared")
        return tuple(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not wrong but should be known, one line each."""
        said = []
        if self.parity.passed and self.parity.torch_error is not None:
            said.append(f"small roundings move this model's predictions: {self.parity.summary()}")
        if self.expected_int8:
            names = ", ".join(f"{op.layer} ({op.op})" for op in self.expected_int8)
            said.append(f"ONNX Runtime runs these in float although the recipe quantizes them: {names}")
        unseen = [check for check in self.weights if check.stored is None]
        if unseen:
            said.append(f"{len(unseen)} weights are not in the graph and were not compared, {_first(unseen)}")
        return tuple(said)

    @property
    def passed(self) -> bool:
        """Whether logits are as they should be and every weight is the model's."""
        return not self.problems

    def check(self) -> None:
        """Raise CheckFailed with every problem, unless it passed."""
        if not self.passed:
            raise CheckFailed("\n".join(self.problems))

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        zeros = {layer.layer: (layer.zeros_model, layer.zeros_file) for layer in self.weights}
        return {
            "passed": self.passed,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "parity": {**asdict(self.parity), "passed": self.parity.passed, "loosened": self.parity.loosened},
            "divergence": asdict(self.divergence) if self.divergence else None,
            "weights": {
                "compared": sum(check.found for check in self.weights),
                "identical": sum(check.identical for check in self.weights),
                "int8": sum(check.dtype == "int8" for check in self.weights),
                "int4": sum(check.dtype == "int4" for check in self.weights),
                "zeros_model": sum(model for model, _ in zeros.values()),
                "zeros_file": sum(file for _, file in zeros.values()),
                "layers": [asdict(check) for check in self.weights],
            },
            "operators": asdict(self.operators),
            "expected_int8": [asdict(op) for op in self.expected_int8],
        }

    def _where(self) -> str:
        if self.divergence is None:
            return ""
        d = self.divergence
        return f"; the first layer to differ is {d.layer}, by {d.difference:.2e} where values reach {d.scale:.2e}"


def _first(checks: Sequence[WeightCheck]) -> str:
    return f"{checks[0].layer} first"


def verify(
    model: str | Path | nn.Module,
    deployment: str | Path | None = None,
    *,
    samples: str | Path | Sequence[Sample] | None = None,
    tolerance: float | None = None,
    tokenizer: Any = None,
    inputs: Inputs | None = None,
) -> Verification:
    """Compare a model with its ONNX file: logits in several shapes, every weight, sparsity, what stayed in float.

    Args:
        model: A model folder or a transformers model.
        deployment: The deployment folder or ONNX file; ``MODEL/deployment`` by default.
        samples: Texts, lists of words, or a data file; made-up ones where None.
        tolerance: For an fp32 graph the largest difference of a logit, for an int8 graph the largest share of
            predictions that may differ.
        tokenizer: Encodes the samples; the model folder's by default.
        inputs: For a module of any kind, batches of its inputs; see ``export_onnx``.

    Returns:
        The comparison; call its ``check()`` to raise where it did not pass.

    Raises:
        InputError: Something is missing or cannot be read.
    """
    if deployment is None:
        if isinstance(model, nn.Module):
            raise InputError("verify: pass the deployment folder or the ONNX file of a model in memory.")
        deployment = Path(model) / "deployment"
    path = Path(deployment)
    path = path / "model.onnx" if path.is_dir() else path
    if inputs is not None and isinstance(model, nn.Module):
        given = open_module(model, inputs)
        return verify_source(given, path, list(given.given), data="samples", tolerance=tolerance)
    source = open_source(model, tokenizer=tokenizer)
    session = open_session(path)
    _same_task(source, session, path)
    batch, length = fixed_shape(session)
    shape = (batch, length) if batch and length else None
    batches, data = source.batches(samples, shape, inputs=[entry.name for entry in session.get_inputs()])
    return verify_source(source, path, batches, data=data, tolerance=tolerance)


def _same_task(source: Source, session: Any, path: Path) -> None:
    """Refuse a file whose inputs or outputs are not those of the model's task."""
    for kind, known, entries in (
        ("input", INPUTS, session.get_inputs()),
        ("output", source.task.outputs, session.get_outputs()),
    ):
        strange = [entry.name for entry in entries if entry.name not in known]
        if strange:
            expected = ", ".join(known)
            raise InputError(f"{path}: has the {kind} {strange[0]!r}, but a {source.task.name} model has {expected}.")


def verify_source(
    source: Source, path: Path, batches: Sequence[Batch], *, data: str, tolerance: float | None = None
) -> Verification:
    """:func:`verify` for a model that is loaded and inputs that are encoded."""
    model, outputs = source.model, source.task.outputs
    parity = measure(model, path, batches, outputs, precision=source.precision, data=data, tolerance=tolerance)
    if not parity.passed and parity.precision != "fp32" and tolerance is None:
        torch_error, file_error = errors_of_both(model, path, batches, outputs)
        parity = replace(parity, torch_error=torch_error, file_error=file_error)
    modules = dict(model.named_modules())
    names = [name for name in modules if name]
    found = operators(path, names)
    wanted = tuple(op for op in found.float_ops if op.layer and _both_quantized(modules[op.layer]))
    result = Verification(parity, tuple(check_weights(model, load_graph(path))), found, wanted)
    if parity.passed:
        return result
    return replace(result, divergence=first_divergence(model, path, batches[0], source.precision))


def _both_quantized(layer: nn.Module) -> bool:
    return quantized(layer) and quantized(layer, "input_fq")
