"""What a model says of some batches and what it is made of: in one process, to be compared with another.

``python -m sparsify.tasks.observed REQUEST.safetensors ANSWER.safetensors`` is the other process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sparsify.analysis.report import model_report
from sparsify.distillation.teacher import NOT_FOR_TEACHERS
from sparsify.quantization.modes import evaluating
from sparsify.tasks.base import AnyTask
from sparsify.tasks.catalog import get_task

WHOLE = 4
"""Of so many batches outputs are compared number by number; of the others, what metrics take."""
Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Observed:
    """A model, looked at.

    Attributes:
        outputs: Each output of the first batches, by ``batch output``.
        kept: What metrics take of every batch: a tensor, or several.
        layers: Of each weight its bits and its zeros, by name.
        totals: Sparsities and sizes of the whole model.
    """

    outputs: dict[str, Tensor]
    kept: list[list[Tensor]]
    layers: dict[str, list[int]]
    totals: dict[str, str]


def observe(model: nn.Module, task: AnyTask, batches: Sequence[Batch]) -> Observed:
    """Run a model over batches, in eval mode and without autocast, where it is; its mode is kept.

    Args:
        model: Of the task.
        task: Says which outputs there are, and what metrics take of them.
        batches: Model inputs, with labels where there are any.
    """
    names = task.kind.outputs
    device = next(model.parameters()).device
    outputs: dict[str, Tensor] = {}
    kept: list[list[Tensor]] = []
    with evaluating(model), torch.no_grad():
        for index, batch in enumerate(batches):
            given = model(**{k: v.to(device) for k, v in batch.items() if k not in NOT_FOR_TEACHERS})
            found = tuple(given[name].float().cpu() for name in names)
            if index < WHOLE:
                outputs |= {f"{index} {name}": value for name, value in zip(names, found, strict=True)}
            metric = task.for_metrics(found if len(found) > 1 else found[0], batch.get("labels"))
            kept.append(list(metric) if isinstance(metric, tuple) else [metric])
    report = model_report(model)
    return Observed(outputs, kept, {one.name: [one.bits, one.zeros] for one in report.layers}, report.totals())


def write_request(path: Path, task: str, folder: Path, device: str, batches: Sequence[Batch]) -> None:
    """What the other process is to look at."""
    about = {"task": task, "folder": str(folder), "device": device, "threads": str(torch.get_num_threads())}
    tensors = {f"{i} {key}": value.contiguous() for i, batch in enumerate(batches) for key, value in batch.items()}
    save_file(tensors, path, metadata=about)


def read_answer(path: Path) -> Observed:
    """What the other process saw."""
    tensors, about = _read(path)
    outputs = {name.removeprefix("out "): value for name, value in tensors.items() if name.startswith("out ")}
    kept = [
        {name: v for name, v in tensors.items() if name.startswith(f"kept {i} ")} for i in range(int(about["count"]))
    ]
    rows = [[batch[name] for name in sorted(batch)] for batch in kept]
    return Observed(outputs, rows, json.loads(about["layers"]), json.loads(about["totals"]))


def _write_answer(path: Path, seen: Observed) -> None:
    tensors = {f"out {name}": _own(value) for name, value in seen.outputs.items()}
    for index, row in enumerate(seen.kept):
        tensors |= {f"kept {index} {place}": _own(value) for place, value in enumerate(row)}
    about = {"count": str(len(seen.kept)), "layers": json.dumps(seen.layers), "totals": json.dumps(seen.totals)}
    save_file(tensors, path, metadata=about)


def _own(value: Tensor) -> Tensor:
    """Memory of its own: metrics may take outputs as they are, and safetensors stores no tensor twice."""
    return value.clone(memory_format=torch.contiguous_format)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as stream:
        return {name: stream.get_tensor(name).clone() for name in stream.keys()}, stream.metadata() or {}  # noqa: SIM118


def main(argv: Sequence[str]) -> int:
    """Load a model folder and write what it says of the batches of a request."""
    from sparsify.export.checkpoint import load_model

    request, answer = map(Path, argv)
    tensors, about = _read(request)
    torch.set_num_threads(int(about["threads"]))
    batches: list[dict[str, Any]] = []
    for name in sorted(tensors, key=lambda name: int(name.split(" ", 1)[0])):
        index, key = name.split(" ", 1)
        if int(index) == len(batches):
            batches.append({})
        batches[-1][key] = tensors[name]
    model = load_model(about["folder"]).to(about["device"])
    for parameter in model.parameters():  # as in the process that trained: in memory of its own, not mapped from a file
        parameter.data = parameter.data.clone()
    _write_answer(answer, observe(model, get_task(about["task"]), batches))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
