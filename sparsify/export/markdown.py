"""The page that a deployment folder carries: what the model is, how small, how equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sparsify.export.module import TASK as MODULE
from sparsify.export.session import describe_cpu

if TYPE_CHECKING:
    from sparsify.export.deployment import ExportReport
    from sparsify.export.weights import WeightCheck


def render(report: ExportReport) -> str:
    """An export's report in Markdown."""
    parts = [
        f"# {report.task} ({report.precision})",
        _table(("", ""), _facts(report)),
        "## Verification",
        *_verification(report),
        *_metrics(report),
        "## Layers",
        _table(("layer", "type", "shape", "sparsity", "bits"), _layers(report)),
    ]
    if report.warnings:
        parts += ["## Warnings", "\n".join(f"- {warning}" for warning in report.warnings)]
    return "\n\n".join(parts) + "\n"


def _facts(report: ExportReport) -> list[tuple[str, str]]:
    shapes = _open(report) if report.shapes == "dynamic" else "batch {}, length {}".format(*report.shapes)
    return [
        *report.model.totals().items(),
        ("ONNX file", f"{report.onnx_bytes / 1e6:,.2f} MB"),
        ("shapes", shapes),
        ("opset", str(report.opset)),
        ("labels", ", ".join(report.labels) or "none"),
        ("recipe sha256", report.recipe_sha256 or "no recipe"),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
        ("verified on", describe_cpu(report.cpu)),
    ]


def _open(report: ExportReport) -> str:
    return "dynamic batch" if report.task == MODULE else "dynamic batch and length"


def _verification(report: ExportReport) -> list[str]:
    checked = report.verification
    if checked is None:
        return ["Switched off: nothing is known about this file."]
    parity = checked.parity
    shapes = ", ".join("x".join(map(str, shape)) for shape in parity.shapes[:8])
    what = "inputs, batches of" if report.task == MODULE else "sequences, batch x length"
    more = f" and {len(parity.shapes) - 8} more" if len(parity.shapes) > 8 else ""
    float_ops = [(op.layer or op.node, op.op, "x".join(map(str, op.shape))) for op in checked.operators.float_ops]
    lines = [
        ("result", "passed" if checked.passed else "FAILED"),
        ("parity", parity.summary()),
        ("largest logit difference", f"{parity.max_difference:.2e}"),
        ("agreement of predictions", f"{parity.agreement:.3%} of {parity.counted}"),
        ("compared on", f"{parity.samples} {_kind(parity.data)} {what} {shapes}{more}"),
        ("weights", f"{sum(c.identical for c in checked.weights)} of {len(checked.weights)} layers identical"),
        ("zeros", "{:,} in the model, {:,} in the file".format(*_zeros(checked.weights))),
        ("int8 matrix products", str(checked.operators.int8_ops)),
        ("matrix products with int8 weights and float inputs", str(checked.operators.weight_only_ops)),
        ("float matrix products with constant weights", str(len(float_ops))),
    ]
    parts = [_table(("check", "result"), lines)]
    if float_ops and report.precision != "fp32":
        parts += ["Left in float by ONNX Runtime:", _table(("layer", "operator", "weight"), float_ops)]
    return parts


def _zeros(weights: Iterable[WeightCheck]) -> tuple[int, int]:
    return sum(check.zeros_model for check in weights), sum(check.zeros_file for check in weights)


def _metrics(report: ExportReport) -> list[str]:
    if not report.metrics:
        return []
    names = list(dict.fromkeys(name for values in report.metrics.values() for name in values))
    rows = [(runtime, *(f"{values[name]:.4f}" for name in names)) for runtime, values in report.metrics.items()]
    return ["## Metric", _table(("", *names), rows)]


def _kind(data: str) -> str:
    return "given" if data == "samples" else data


def _layers(report: ExportReport) -> list[tuple[str, ...]]:
    return [
        (layer.name, layer.type, "x".join(map(str, layer.shape)), f"{layer.sparsity:.2%}", str(layer.bits))
        for layer in report.model.layers
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
