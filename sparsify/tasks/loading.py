"""``--verify_loading``: what was saved, loaded in a fresh process, is what is in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparsify.errors import CheckFailed
from sparsify.tasks.observed import WHOLE, Observed, observe, read_answer, write_request
from sparsify.tasks.split import batches, prediction
from sparsify.wrappers import unwrap

if TYPE_CHECKING:
    from sparsify.tasks.base import Job

_TRAINING_EXAMPLES = 64
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_CLOSE = 1e-5
"""Two outputs are equal up to this share of the largest: the order of sums may differ between processes."""


@dataclass(frozen=True)
class Compared:
    """One thing that was compared.

    Attributes:
        what: Its name.
        memory: In the process that trained.
        loaded: In the fresh one.
        equal: Whether both are the same.
    """

    what: str
    memory: str
    loaded: str
    equal: bool


def verify_loading(job: Job, folder: Path) -> list[Compared]:
    """Compare the model in memory with the one that ``folder`` gives a fresh process, on validation data.

    Raises:
        CheckFailed: The folder cannot be loaded at all.
    """
    reading, size = job.reading, job.args.training.per_device_eval_batch_size
    split = "validation" if "validation" in reading.encoded else next(iter(reading.encoded))
    first = None if split == "validation" else _TRAINING_EXAMPLES
    rows = [{k: torch.from_numpy(v) for k, v in b.items()} for b in batches(reading, split, size, first=first)]
    model = unwrap(job.model)
    ours = observe(model, job.task, rows)
    with tempfile.TemporaryDirectory(prefix="sparsify-") as name:
        request, answer = Path(name) / "request.safetensors", Path(name) / "answer.safetensors"
        write_request(request, job.task.name, folder.resolve(), str(next(model.parameters()).device), rows)
        _in_fresh_process(request, answer)
        theirs = read_answer(answer)
    found = [*_outputs(ours, theirs), *_parts(ours, theirs)]
    return (
        found
        if split != "validation"
        else [*found, *_metrics(job, split, [b.get("labels") for b in rows], ours, theirs)]
    )


def _in_fresh_process(request: Path, answer: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in _RANKS and not k.startswith("TORCHELASTIC_")}
    command = [sys.executable, "-m", "sparsify.tasks.observed", str(request), str(answer)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CheckFailed(f"--verify_loading: what was saved cannot be loaded in a fresh process: {last}")


def _outputs(ours: Observed, theirs: Observed) -> Iterator[Compared]:
    """Of each output, over the batches kept whole, the largest difference."""
    for name in dict.fromkeys(key.split(" ", 1)[1] for key in ours.outputs):
        pairs = [(v, theirs.outputs[k]) for k, v in ours.outputs.items() if k.endswith(f" {name}")]
        same_shape = all(a.shape == b.shape for a, b in pairs)
        # torch's max keeps NaN, Python's does not
        difference = float(torch.stack([(a - b).abs().max() for a, b in pairs]).max()) if same_shape else float("inf")
        largest = float(torch.stack([a.abs().max() for a, _ in pairs]).max())
        what = f"{name} of {min(WHOLE, len(pairs))} batches"
        yield Compared(
            what, f"up to {largest:.4g}", f"differs by up to {difference:.3g}", difference <= _CLOSE * largest
        )


def _parts(ours: Observed, theirs: Observed) -> Iterator[Compared]:
    """Sparsity, bits and sizes, and how many layers they are the same in."""
    for name, value in ours.totals.items():
        yield Compared(name, value, theirs.totals.get(name, "-"), theirs.totals.get(name) == value)
    for place, what in enumerate(("bits", "zeros")):
        equal = sum(theirs.layers.get(name, [None, None])[place] == value[place] for name, value in ours.layers.items())
        count = len(ours.layers)
        same = equal == count == len(theirs.layers)
        yield Compared(f"{what} of each layer", f"{count} layers", f"{equal} equal of {len(theirs.layers)}", same)


def _metrics(job: Job, split: str, labels: list[Tensor | None], ours: Observed, theirs: Observed) -> Iterator[Compared]:
    measure = job.task.measure(job.reading, split)
    if measure is None:
        return
    true = [None if row is None else row.numpy() for row in labels]
    mine, other = (measure(prediction(_kept(seen), true)) for seen in (ours, theirs))
    for name, value in mine.items():
        yield Compared(f"validation {name}", f"{value:.6f}", f"{other[name]:.6f}", value == other[name])


def _kept(seen: Observed) -> list[Any]:
    rows = [tuple(value.numpy() for value in row) for row in seen.kept]
    return [row if len(row) > 1 else row[0] for row in rows]
