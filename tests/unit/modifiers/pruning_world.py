"""A toy model of the oracles, and a loop that plays a modifier's events through a real run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from sparsify.clock import Clock
from sparsify.modifiers.base import Modifier
from sparsify.run import TrainingRun

STEPS_PER_EPOCH = 10
Watch = Callable[[int, TrainingRun], None]


def make_mlp(seed: int = 0) -> nn.Sequential:
    """fc1 32 -> 64, fc2 64 -> 64, classifier 64 -> 4."""
    torch.manual_seed(seed)
    mlp = nn.Sequential()
    mlp.add_module("fc1", nn.Linear(32, 64))
    mlp.add_module("relu1", nn.ReLU())
    mlp.add_module("fc2", nn.Linear(64, 64))
    mlp.add_module("relu2", nn.ReLU())
    mlp.add_module("classifier", nn.Linear(64, 4))
    return mlp


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    dtype = next(model.parameters()).dtype
    x = torch.randn(8, 32, generator=generator).to(dtype)
    y = torch.randint(0, 4, (8,), generator=generator)
    nn.functional.cross_entropy(model(x).float(), y).backward()
    optimizer.step()
    optimizer.zero_grad()


def play(
    modifiers: Modifier | Sequence[Modifier],
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    epochs: int = 4,
    before: Watch | None = None,
    after: Watch | None = None,
    first: int = 0,
    last: int | None = None,
    state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run steps ``first`` to ``last``; ``before`` is called once a step's events have fired, ``after`` after it."""
    entries = [modifiers] if isinstance(modifiers, Modifier) else list(modifiers)
    for index, modifier in enumerate(entries):
        modifier.place(f"default/{type(modifier).__name__}/{index}", 0.0)
    total = epochs * STEPS_PER_EPOCH
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=1e-2)
    run = TrainingRun(entries, model, optimizer, Clock(STEPS_PER_EPOCH, total))
    run.open()
    try:
        if state is not None:
            run.load_state_dict(state)
        for step in range(first, total if last is None else last):
            run.begin_step()
            if before:
                before(step, run)
            train_step(model, optimizer, step)
            if after:
                after(step, run)
        return copy.deepcopy(run.state_dict())
    finally:
        run.close()


def zero_share(model: nn.Module, name: str) -> float:
    """Fraction of exact zeros of a parameter."""
    weight = model.get_parameter(name)
    return int((weight == 0).sum()) / weight.numel()
