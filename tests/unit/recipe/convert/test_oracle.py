"""Neural Compressor's own schedules, step by step, from its configs put through ``convert``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sparsify.clock import Clock
from sparsify.phases import settle
from tests.unit.recipe.convert.made import modifiers


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "oracle" / "inc_schedule.json.gz") as file:
        return list(json.load(file)["cases"])


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 28])
def test_targets_of_every_step_are_neural_compressors(cases: list[dict[str, Any]], steps_per_epoch: int) -> None:
    assert len(cases) == 60
    for case in cases:
        (modifier,) = modifiers(case["config"])
        clock = Clock(steps_per_epoch, len(case["steps"]))
        settle([modifier], clock)
        updated = [step["step"] for step in case["steps"] if step["updated"]]
        assert modifier.update_steps(clock) == updated, case["config"]
        held: float | None = None
        for step in case["steps"]:
            held = step["target"] if step["updated"] else held
            now = modifier.values(clock.epoch_of(step["step"])).get("sparsity")
            assert now == (None if held is None else pytest.approx(held, abs=1e-6)), (case["config"], step["step"])


def test_scopes_patterns_and_scores_are_carried_over(cases: list[dict[str, Any]]) -> None:
    same = {"1x1": "unstructured"}
    for case in cases:
        config, (modifier,) = case["config"], modifiers(case["config"])
        found: Any = modifier
        assert found.mask_type == same.get(config["pattern"], config["pattern"])
        assert (found.criterion, found.pruning_scope) == (config["pruning_type"], config["pruning_scope"])
        assert found.exclude == [r"re:.*classifier.*\.weight$"]
