"""``sparsify-zoo publish``: everything that is checked before an entry is written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sparsify.cli import common
from sparsify.errors import CheckFailed, InputError, SparsifyError
from sparsify.zoo import layout
from sparsify.zoo.collect import Collected, collect
from sparsify.zoo.manifest import Metric
from sparsify.zoo.names import expanded
from sparsify.zoo.publishing import publish

_RESULTS = "all_results.json"
_LEFT_OUT = ("runtime", "per_second", "samples", "flos", "epoch", "mem_")


@dataclass
class Findings:
    """What the checks found."""

    done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    metrics: list[Metric] | None = None
    task: str | None = None


def run(args: argparse.Namespace) -> int:
    """Check the folder, then publish it.

    Raises:
        CheckFailed: A check did not pass; every problem is named.
        SparsifyError: The folder, stub or root cannot be used.
    """
    if args.no_metrics and args.metrics:
        raise InputError(f"--no_metrics and --metrics {args.metrics}: give one of them")
    folder = expanded(args.folder)
    found = collect(folder)
    findings = examine(folder, found, args)
    for line in findings.done:
        common.say(line)
    if findings.problems:
        raise CheckFailed(
            "\n".join([f"not published, {common.counted(len(findings.problems), 'check')} failed:", *findings.problems])
        )
    done = publish(
        folder,
        args.stub,
        args.zoo,
        base=args.base,
        task=args.task or findings.task,
        metrics=findings.metrics,
        licence=args.licence,
        replace=args.replace,
        dry_run=args.dry_run,
    )
    if done.skipped:
        common.say(f"left out: {', '.join(done.skipped[:12])}{', ...' if len(done.skipped) > 12 else ''}")
    total = sum(file.size or 0 for file in done.manifest.files.values())
    verb = "would publish" if args.dry_run else "published"
    print(f"{verb} {done.manifest.stub} to {done.root}: {len(done.manifest.files)} files, {total:,} bytes")
    return 0


def examine(folder: Path, found: Collected, args: argparse.Namespace) -> Findings:
    """Run every check and collect what they say."""
    findings = Findings()
    model = _model_folder(folder, found)
    _try(findings, lambda: _recipes(folder, found))
    if model is not None:
        _try(findings, lambda: _weights(model, findings))
    _try(findings, lambda: _parity(folder, found, model, args.samples))
    _try(findings, lambda: _metrics(folder, model, args, findings))
    return findings


def _try(findings: Findings, check: Callable[[], Iterator[str]]) -> None:
    try:
        findings.done += list(check())
    except SparsifyError as error:
        if str(error) not in findings.problems:  # a wrong recipe also keeps the weights from loading
            findings.problems.append(str(error))


def _model_folder(folder: Path, found: Collected) -> Path | None:
    config = found.files.get(f"{layout.TRAINING}/config.json")
    return config.parent if config is not None else None


def _recipes(folder: Path, found: Collected) -> Iterator[str]:
    from sparsify.manager import load_recipe

    for name in layout.recipes(found.files):
        count = len(load_recipe(found.files[name]).modifiers)
        yield f"{name}: valid, {common.counted(count, 'modifier')}"


def _weights(model: Path, findings: Findings) -> Iterator[str]:
    from sparsify.export.checkpoint import load_model
    from sparsify.export.source import open_source

    loaded = load_model(model)
    findings.task = open_source(model).task.name
    yield f"weights: load, {sum(p.numel() for p in loaded.parameters()):,} parameters"


def _parity(folder: Path, found: Collected, model: Path | None, samples: str | None) -> Iterator[str]:
    onnx = found.files.get(f"{layout.DEPLOYMENT}/model.onnx")
    if onnx is None:
        if model is not None:
            yield "no deployment/ in it: no ONNX file to compare (sparsify-export makes one)"
        return
    if model is None:
        raise InputError(
            f"{folder}: deployment/model.onnx has no model beside it (training/) that it could be compared with"
        )
    from sparsify.export.verify import verify

    result = verify(model, onnx.parent, samples=samples)
    result.check()
    yield f"ONNX file: {result.parity.summary()}"


def _metrics(folder: Path, model: Path | None, args: argparse.Namespace, findings: Findings) -> Iterator[str]:
    if args.no_metrics:
        yield "metrics: not measured"
        return
    file = expanded(args.metrics) if args.metrics else folder / _RESULTS
    if not args.metrics and not file.is_file():
        if model is not None:
            raise InputError(
                f"{folder}: no metrics ({_RESULTS}): evaluate the model, or give --metrics FILE; --no_metrics publishes"
                " it as not measured"
            )
        yield "metrics: not measured"
        return
    findings.metrics = read_metrics(file, args.measured_by)
    yield f"metrics: {', '.join(f'{m.name} {m.value:g}' for m in findings.metrics)}"


def read_metrics(file: Path, command: str | None) -> list[Metric]:
    """Metrics of a JSON file: figures by name (a Trainer's results), or a list of metrics.

    Raises:
        InputError: It cannot be read, holds none, or does not say by which command they were measured.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: no metrics can be read from it ({error})") from error
    try:
        metrics = [Metric(**_with(entry, command)) for entry in _entries(raw)]
    except (ValidationError, TypeError) as error:
        raise InputError(
            f"{file}: a metric has name, value, data and command ({str(error).splitlines()[0]})"
        ) from error
    if not metrics:
        raise InputError(f"{file}: holds no metrics")
    if bare := next((m.name for m in metrics if not m.command), None):
        raise InputError(f"{file}: {bare}: which command measured it? Give --measured_by COMMAND")
    return metrics


def _entries(raw: Any) -> list[Mapping[str, Any]]:
    if isinstance(raw, dict):
        kept = {k: v for k, v in raw.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        names = [k for k in kept if not k.startswith("train_") and not any(part in k for part in _LEFT_OUT)]
        return [{"name": name, "value": kept[name]} for name in names]
    return list(raw) if isinstance(raw, list) else []


def _with(entry: Mapping[str, Any], command: str | None) -> dict[str, Any]:
    return {**entry, "command": entry.get("command") or command}
