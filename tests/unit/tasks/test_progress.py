"""Lines about a running training."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from sparsify.tasks import progress
from sparsify.tasks.progress import ProgressLines

LOGS = {
    "loss": "0.2274",
    "grad_norm": 5.973,
    "learning_rate": 0.00014951,
    "recipe/epoch": 1.5,
    "recipe/sparsity": 0.46234,
    "recipe/sparsity/default/GMPruningModifier/0": 0.46,
}


def state(step: int, **changes: Any) -> SimpleNamespace:
    fields = {"global_step": step, "max_steps": 200, "epoch": 1.5, "is_world_process_zero": True}
    return SimpleNamespace(**{**fields, **changes})


def said(caplog: pytest.LogCaptureFixture, logs: dict[str, Any] | None, now: SimpleNamespace) -> list[str]:
    lines = ProgressLines()
    lines.on_train_begin(None, state(50), None)
    with caplog.at_level(logging.INFO, "sparsify"):
        lines.on_log(None, now, None, logs=logs)
    return caplog.messages


def test_a_line_says_how_far_it_is(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 160.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    (line,) = said(caplog, LOGS, state(80))  # 30 steps in a minute, 120 to go
    assert line == "step 80 of 200 (40%), loss 0.2274, learning rate 0.0001495, sparsity 0.4623, 0:04:00 left"


def test_evaluations_on_the_way(caplog: pytest.LogCaptureFixture) -> None:
    logs = {"eval_loss": 0.51234, "eval_f1": 0.75, "eval_runtime": 3.0, "epoch": 1.5}
    assert said(caplog, logs, state(100)) == ["epoch 1.5 on validation data: loss 0.5123, f1 0.75"]


@pytest.mark.parametrize(
    ("logs", "now"),
    [
        (LOGS, state(80, is_world_process_zero=False)),
        ({"eval_loss": 0.5}, state(200)),  # the table at the end has it
        ({"train_runtime": 3.0}, state(200)),
        (None, state(80)),
    ],
)
def test_nothing_is_said_twice(
    caplog: pytest.LogCaptureFixture, logs: dict[str, Any] | None, now: SimpleNamespace
) -> None:
    assert said(caplog, logs, now) == []
