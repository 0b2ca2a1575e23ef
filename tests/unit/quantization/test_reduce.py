"""Ranges over ranks."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.qparams import ACTIVATION
from sparsify.quantization.reduce import average_ranges


def observed(high: float) -> ActivationQuant:
    fq = ActivationQuant(ACTIVATION)
    fq.observe(torch.tensor([0.0, high]))
    return fq


def _rank(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    late = observed(4.0) if rank else ActivationQuant(ACTIVATION)
    wide = ActivationQuant(ACTIVATION, widen=True)
    wide.observe(torch.tensor([-1.0 - rank, 5.0 - rank]))
    fqs = [observed(1.0 + 2 * rank), observed(10.0), late, ActivationQuant(ACTIVATION), wide]
    average_ranges(fqs)
    torch.save([(fq.bounds, fq.scale) for fq in fqs], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_end_with_the_mean_range(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(_rank, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for mine, theirs in zip(first, second, strict=True):
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])
    assert first[0][0].tolist() == [0.0, 2.0]
    assert first[0][1].item() == pytest.approx(2.0 / 255)
    bounds, scales = [b.tolist() for b, _ in first], [float(s) for _, s in first]
    assert bounds[2] == [0.0, 4.0]  # one rank alone has seen anything
    assert scales[3] == 0.0  # no rank has: it goes on passing values through
    assert bounds[4] == [-2.0, 5.0]


def test_without_ranks_nothing_changes() -> None:
    fq = observed(3.0)
    average_ranges([fq])
    assert fq.bounds.tolist() == [0.0, 3.0]
