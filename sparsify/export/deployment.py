"""Export a trained model to a folder that holds all it takes to run it, and the proof that it is the same model."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from sparsify.analysis.report import ModelReport, model_report
from sparsify.errors import CheckFailed, InputError
from sparsify.export.folder import replaced_folder
from sparsify.export.markdown import render
from sparsify.export.module import Inputs, ModuleSource, open_module
from sparsify.export.parity import torch_outputs
from sparsify.export.samples import Sample, check_limit
from sparsify.export.session import cpu_features, open_session
from sparsify.export.slim import shrink_source
from sparsify.export.source import Source, open_source, read_config
from sparsify.export.verify import Verification, verify_source
from sparsify.recipe.source import CHECKPOINT_RECIPE

logger = logging.getLogger(__name__)
MODEL_FILE = "model.onnx"
REPORT_FILE = "report.json"
Shapes = Literal["dynamic"] | tuple[int, int]
ExternalData = bool | Literal["auto"]
Outputs = Callable[[dict[str, Any]], list[Any]]
"""From graph inputs (int64 arrays [batch, length]) to the task's outputs, in their order."""
Evaluate = Callable[[Source, Outputs], dict[str, float]]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported, and how it compares with its model.

    Attributes:
        deployment: The folder.
        source: The model folder, None for a model in memory.
        task: What the model does.
        precision: ``int8`` or ``fp32``.
        labels: Names of the classes, by id.
        shapes: ``dynamic`` or (batch, length).
        opset: The file's ONNX opset.
        files: Bytes of each file written.
        model: The model's layers, sparsity, bits and sizes.
        verification: The comparison with the model, None where it was switched off.
        metrics: What ``evaluate`` gave for the model in torch and for the file in ONNX Runtime, by runtime.
        recipe_sha256: Of the recipe's text, None without recipe.
        warnings: One line each.
        versions: Of the packages that took part.
        cpu: Name and int8 features of the machine that verified.
    """

    deployment: Path
    source: Path | None
    task: str
    precision: str
    labels: list[str]
    shapes: Shapes
    opset: int
    files: dict[str, int]
    model: ModelReport
    verification: Verification | None
    metrics: dict[str, dict[str, float]] | None
    recipe_sha256: str | None
    warnings: list[str]
    versions: dict[str, str]
    cpu: dict[str, Any]

    @property
    def passed(self) -> bool | None:
        """Whether verification passed; None where there was none."""
        return self.verification.passed if self.verification else None

    @property
    def onnx_bytes(self) -> int:
        """Bytes of the ONNX file, external data included."""
        return sum(size for name, size in self.files.items() if name.startswith(MODEL_FILE))

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        names = ("task", "precision", "labels", "opset", "files", "metrics", "recipe_sha256")
        plain = {name: getattr(self, name) for name in (*names, "warnings", "versions", "cpu")}
        return plain | {
            "deployment": str(self.deployment),
            "source": str(self.source) if self.source else None,
            "shapes": self.shapes if self.shapes == "dynamic" else list(self.shapes),
            "model": self.model.to_dict(),
            "verification": self.verification.to_dict() if self.verification else None,
        }


@dataclass(frozen=True, slots=True)
class _Options:
    shapes: Shapes
    opset: int | None
    external_data: ExternalData
    tolerance: float | None
    verify: bool


def export_onnx(
    model: str | Path | nn.Module,
    output_dir: str | Path | None = None,
    *,
    task: str | None = None,
    strict: bool = False,
    opset: int | None = None,
    shapes: Shapes = "dynamic",
    samples: str | Path | Sequence[Sample] | None = None,
    max_samples: int = 1000,
    tolerance: float | None = None,
    tokenizer: Any = None,
    recipe: str | None = None,
    external_data: ExternalData = "auto",
    verify: bool = True,
    evaluate: Evaluate | None = None,
    shrink: bool = False,
    inputs: Inputs | None = None,
) -> ExportReport:
    """Export a model to ONNX, compare the file with the model, and write a deployment folder.

    The folder appears whole or not at all: a failed or interrupted export leaves an earlier one as it was.

    Args:
        model: A model folder, or a transformers model (copied, never changed); with ``inputs`` any module.
        output_dir: The deployment folder; ``MODEL/deployment`` by default.
        task: What you take the model for. The checkpoint's own architecture wins; a contradiction is a warning.
        strict: Make that contradiction, and layers left in float against the recipe, an error.
        opset: ONNX opset; the exporter's default where None.
        shapes: ``"dynamic"``, or a fixed (batch, length in tokens).
        samples: What to compare on: texts, lists of words, or a data file; made-up ones where None.
        max_samples: How many of them at most.
        tolerance: Replaces 1e-4 (fp32: largest difference of a logit) or 0.005 (int8: largest share of predictions
            that may differ).
        tokenizer: Replaces the folder's.
        recipe: Replaces the text of the folder's recipe.
        external_data: ``"auto"`` puts weights beside the file above 2 GB; True or False force it.
        verify: False skips the comparison.
        evaluate: Gives the task's metrics by name; called for torch and for ONNX Runtime, each time with what was
            exported and a function from graph inputs to the task's outputs.
        shrink: Remove dead heads and neurons first; the model folder keeps them.
        inputs: For a module of any kind, in place of samples: batches of its inputs, each a mapping by name, a tensor or
            a tuple. The first is traced; the file and the module are compared on all, up to ``max_samples`` rows.

    Raises:
        InputError: The model or the samples cannot be used, or the folder cannot be written.
        ExportError: The model cannot be turned into a graph.
        CheckFailed: The file does not do what the model does; nothing was replaced.
    """
    if output_dir is None:
        if isinstance(model, nn.Module):
            raise InputError("export_onnx: pass output_dir for a model in memory.")
        output_dir = Path(model) / "deployment"
    check_limit(max_samples)
    _check_target(Path(output_dir), model, tolerance)
    if not isinstance(model, nn.Module) and inputs is None:
        read_config(Path(model))
    options = _Options(shapes, opset, external_data, tolerance, verify)
    with replaced_folder(Path(output_dir), marker=REPORT_FILE) as work:
        source = _opened(model, inputs, max_samples, recipe, task=task, strict=strict, tokenizer=tokenizer)
        _check_shape(source, shapes)
        if shrink:
            shrink_source(source)
        batches, data = source.batches(samples, None if shapes == "dynamic" else shapes, max_samples)
        _write_files(source, work, options)
        checked = verify_source(source, work / MODEL_FILE, batches, data=data, tolerance=tolerance) if verify else None
        report = _report(source, Path(output_dir), work, options, checked)
        _gate(report, strict)
        if evaluate is not None:
            report = replace(report, metrics=_metrics(evaluate, source, work / MODEL_FILE))
        _write_reports(report, work)
    return report


def _opened(
    model: str | Path | nn.Module, inputs: Inputs | None, limit: int, recipe: str | None, **options: Any
) -> Source:
    if inputs is None:
        return open_source(model, recipe=recipe, **options)
    if not isinstance(model, nn.Module):
        raise InputError("inputs=... is for a module in memory: of a folder, give samples=... (texts).")
    return open_module(model, inputs, recipe=recipe, limit=limit)


def _check_target(target: Path, model: str | Path | nn.Module, tolerance: float | None) -> None:
    if tolerance is not None and not tolerance >= 0:
        raise InputError(f"tolerance must be at least 0, got {tolerance:g}.")
    if isinstance(model, nn.Module):
        return
    folder = Path(model).resolve()
    if target.resolve() == folder or target.resolve() in folder.parents:
        raise InputError(f"--output_dir {target} would replace the model folder itself: choose another.")


def _check_shape(source: Source, shapes: Shapes) -> None:
    if shapes == "dynamic":
        return
    if isinstance(source, ModuleSource):
        raise InputError("shapes: with inputs=... the batch stays open and every other axis is as in the inputs.")
    batch, length = shapes
    if batch < 1 or not 1 <= length <= source.max_length:
        raise InputError(
            f"shapes ({batch}, {length}): the batch must be at least 1 and the length from 1 to {source.max_length},"
            " the longest input that the model takes."
        )


def _write_files(source: Source, work: Path, options: _Options) -> None:
    import torch

    from sparsify.export.onnx import export_graph

    if source.config is not None:
        config = json.loads(source.config.to_json_string(use_diff=False))
        config["architectures"] = [type(source.model).__name__]
        (work / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if source.tokenizer is not None:
        source.tokenizer.save_pretrained(str(work))
    if source.recipe is not None:
        (work / CHECKPOINT_RECIPE).write_text(source.recipe, encoding="utf-8")
    example = source.example(None if options.shapes == "dynamic" else options.shapes)
    export_graph(
        source.model,
        work / MODEL_FILE,
        input_names=source.inputs,
        sample={name: torch.from_numpy(value) for name, value in example.items()},
        output_names=list(source.task.outputs),
        dynamic=options.shapes == "dynamic" and ("batch" if isinstance(source, ModuleSource) else True),
        opset=options.opset,
        external_data=options.external_data,
        metadata=_metadata(source),
    )


def _metadata(source: Source) -> dict[str, str]:
    import sparsify

    values = {
        "task": source.task.name,
        "labels": json.dumps(source.labels, ensure_ascii=False),
        "precision": source.precision,
        "max_length": str(source.max_length),
        "sparsify_version": sparsify.__version__,
    }
    if problem := getattr(source.config, "problem_type", None):
        values["problem_type"] = problem
    if source.recipe is not None:
        values |= {"recipe": source.recipe, "recipe_sha256": str(source.recipe_sha256)}
    return values


def _report(source: Source, target: Path, work: Path, options: _Options, checked: Verification | None) -> ExportReport:
    import onnx

    graph = onnx.load(str(work / MODEL_FILE), load_external_data=False)
    return ExportReport(
        deployment=target,
        source=source.folder,
        task=source.task.name,
        precision=source.precision,
        labels=source.labels,
        shapes=options.shapes,
        opset=next(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")),
        files={path.name: path.stat().st_size for path in sorted(work.iterdir())},
        model=model_report(source.model),
        verification=checked,
        metrics=None,
        recipe_sha256=source.recipe_sha256,
        warnings=[*source.warnings, *(checked.warnings if checked else ())],
        versions=_versions(),
        cpu=cpu_features(),
    )


def _metrics(evaluate: Evaluate, source: Source, path: Path) -> dict[str, dict[str, float]]:
    session = open_session(path)
    names = source.task.outputs
    return {
        "torch": evaluate(source, lambda inputs: torch_outputs(source.model, inputs, names)),
        "onnxruntime": evaluate(source, lambda inputs: session.run(list(names), inputs)),
    }


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime
    import torch
    import transformers

    import sparsify

    found = {module.__name__: module.__version__ for module in (sparsify, torch, transformers, onnx, onnxruntime)}
    return {"python": platform.python_version(), **found}


def _gate(report: ExportReport, strict: bool) -> None:
    checked = report.verification
    if checked is None:
        return
    problems = [*checked.problems, *(checked.warnings if strict else ())]
    if problems:
        kept = " The earlier export was kept." if report.deployment.exists() else ""
        raise CheckFailed("\n".join(["the ONNX file is not the model:", *problems]) + f"\nNothing was written.{kept}")
    for warning in checked.warnings:
        logger.warning(warning)


def _write_reports(report: ExportReport, work: Path) -> None:
    (work / "report.md").write_text(render(report), encoding="utf-8")
    report.files["report.md"] = (work / "report.md").stat().st_size
    text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, default=_plain)
    (work / REPORT_FILE).write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)
