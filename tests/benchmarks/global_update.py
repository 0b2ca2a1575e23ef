"""What a global magnitude update over the weights of BERT-base costs, against one ``kthvalue`` over the same numbers.

    python tests/benchmarks/global_update.py --rounds 7

Time: CPU time of one update (finite check, scores, threshold, masks, counts, masks applied) on a schedule from 0 to 80%,
each beside a ``kthvalue``, in one process; medians and their ratio. Memory: how far the peak of the resident memory
rises, weights or numbers included, each in a process of its own; one byte a weight stays as masks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from sparsify.pruning.mask_set import MaskSet
from sparsify.pruning.masks import compute_masks
from sparsify.pruning.score_set import ScoreSet

LIMITS = {"time": 1.5, "memory": 1.2}
SHAPES = [(768, 768)] * 4 + [(3072, 768), (768, 3072)]


def weights(layers: int) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"{layer}.{index}": nn.Parameter(torch.randn(shape, generator=generator))
        for layer in range(layers)
        for index, shape in enumerate(SHAPES)
    }


def update(held: MaskSet, sparsity: float) -> None:
    """What a modifier does at an update."""
    held.check_finite()
    scores = ScoreSet(held.parameters).scores()
    held.replace(
        compute_masks(scores, dict.fromkeys(scores, sparsity), scope="global", held=held.masks, overwrite=True)
    )
    held.apply()


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def times(layers: int, rounds: int) -> dict[str, float]:
    parameters = weights(layers)
    numbers = torch.cat([weight.detach().abs().flatten() for weight in parameters.values()])
    held = MaskSet(parameters)
    pairs: list[tuple[float, float]] = []
    for index in range(rounds):
        sparsity = 0.8 * (index + 1) / rounds
        kth = cpu(lambda share=sparsity: numbers.kthvalue(int(share * len(numbers))))  # type: ignore[misc]
        pairs.append((kth, cpu(lambda share=sparsity: update(held, share))))  # type: ignore[misc]
    kth, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"weights": len(numbers), "kthvalue_s": kth, "update_s": ours, "ratio": ours / kth}


def peak() -> int:
    """Highest resident memory of this process so far, in bytes (Linux; getrusage counts the parent's, too)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def rise(layers: int, what: str) -> int:
    """Bytes by which the peak rises, the numbers themselves included; run in a fresh process."""
    before = peak()
    if what == "kthvalue":
        numbers = torch.randn(layers * sum(rows * columns for rows, columns in SHAPES)).abs_()
        numbers.kthvalue(int(0.8 * len(numbers)))
    else:
        update(MaskSet(weights(layers)), 0.8)
    return peak() - before


def memory(layers: int) -> dict[str, float]:
    found = {}
    for what in ("kthvalue", "update"):
        command = [sys.executable, __file__, "--layers", str(layers), "--rise", what]
        found[what] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {**found, "ratio": found["update"] / found["kthvalue"]}


def main() -> int:
    """Measure; exit 1 above a limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rise", choices=["kthvalue", "update"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.rise:
        print(rise(arguments.layers, arguments.rise))
        return 0
    found = {"time": times(arguments.layers, arguments.rounds), "memory": memory(arguments.layers)}
    print(json.dumps(found, indent=2))
    return int(any(found[name]["ratio"] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
