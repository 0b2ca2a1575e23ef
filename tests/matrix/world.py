"""A small world that every modifier is run in: a model with all kinds of layers, fixed batches, one training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsify.manager import ModifierManager, load_recipe
from sparsify.run import TrainingRun
from sparsify.state import read_state, write_state

STEPS_PER_EPOCH = 4
EPOCHS = 3
TOTAL = STEPS_PER_EPOCH * EPOCHS
CLASSES = 3


class Net(nn.Module):
    """Embedding, convolution with batch norm, two linears and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc1 = nn.Linear(32, 16)
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(16, 16)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """input_ids [B, S] -> logits [B, S, CLASSES]."""
        x = self.embed(input_ids)[:, None]
        x = torch.relu(self.norm(self.conv(x))).permute(0, 2, 1, 3).flatten(2)
        x = self.fc2(self.drop(torch.relu(self.fc1(x))))
        logits = self.classifier(torch.relu(x))
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100)
        return out


def make_model(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def batch(step: int, part: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1000 * step + part)
    ids = torch.randint(0, 20, (4, 6), generator=generator)
    labels = torch.randint(0, CLASSES, (4, 6), generator=generator)
    labels[:, -1] = -100
    return {"input_ids": ids, "labels": labels}


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2, weight_decay=0.1),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=1e-1, momentum=0.9, weight_decay=0.01),
}


def train_step(
    run: TrainingRun, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, parts: int, autocast: bool
) -> None:
    torch.manual_seed(step)  # dropout
    model.train()
    for part in range(parts):
        data = batch(step, part)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = model(**data)
            loss = run.loss(out["loss"], inputs=data, outputs=out) / parts
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()


class World:
    """Model, optimizer, manager and teacher of one recipe."""

    def __init__(self, recipe: str, optimizer: str = "adamw", sparse_start: bool = False) -> None:
        self.manager: ModifierManager = load_recipe(recipe)
        self.model = make_model()
        if sparse_start:
            with torch.no_grad():
                self.model.fc1.weight.mul_(self.model.fc1.weight.abs() > 0.1)
        self.teacher = make_model(seed=7).eval() if self.manager.needs_teacher else None
        self.manager.apply_structure(self.model)
        self.optimizer = OPTIMIZERS[optimizer](self.model)

    def train(
        self,
        first: int = 0,
        last: int = TOTAL,
        state: Mapping[str, Any] | None = None,
        parts: int = 1,
        autocast: bool = False,
        after: Callable[[TrainingRun, int], None] | None = None,
    ) -> dict[str, Any]:
        """Steps ``first`` to ``last``; returns the run's state after the last one."""
        with self.manager.attach(
            self.model, self.optimizer, STEPS_PER_EPOCH, teacher=self.teacher, epochs=EPOCHS
        ) as run:
            if state is not None:
                run.load_state_dict(state)
            for step in range(first, last):
                train_step(run, self.model, self.optimizer, step, parts, autocast)
                if after is not None:
                    after(run, step)
            return copy.deepcopy(run.state_dict())

    def save(self, folder: Path, state: Mapping[str, Any]) -> None:
        write_state(folder / "run", state)
        write_state(folder / "model", self.model.state_dict())
        torch.save(self.optimizer.state_dict(), folder / "optimizer")

    def load(self, folder: Path) -> dict[str, Any]:
        state = read_state(folder / "run")
        self.manager.apply_structure(self.model, state)
        self.model.load_state_dict(read_state(folder / "model"))
        self.optimizer.load_state_dict(torch.load(folder / "optimizer", weights_only=True))
        return state


def assert_same(a: Any, b: Any, path: str = "") -> None:
    """Nested dicts, lists, tensors and values equal bit for bit."""
    if isinstance(a, Tensor):
        assert isinstance(b, Tensor), path
        assert a.dtype == b.dtype, path
        assert torch.equal(a, b), f"{path}: {(a.float() - b.float()).abs().max()}"
    elif isinstance(a, Mapping):
        assert set(a) == set(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}/{index}")
    else:
        assert a == b, f"{path}: {a} != {b}"
