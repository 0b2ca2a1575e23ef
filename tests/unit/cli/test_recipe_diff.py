"""``sparsify-recipe diff``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsify.cli.recipe import main
from tests.unit.analysis.schedules import WHOLE


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(WHOLE)
    second.write_text(
        WHOLE.replace("final_sparsity: 0.8", "final_sparsity: 0.9").replace("num_epochs: 6", "num_epochs: 7")
    )
    return str(first), str(second)


def test_text(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *two, "--steps-per-epoch", "10"]) == 0
    out = capsys.readouterr().out
    assert f"--- {two[0]}\n+++ {two[1]}\nlength: 6 -> 7 epochs, 60 -> 70 steps\n" in out
    assert "~ default/GMPruningModifier/0\n    final_sparsity: 0.8 -> 0.9\n" in out
    assert "sparsity[default/GMPruningModifier/0] in steps 10-59 (epoch 1-6)" in out


def test_exit_codes(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *two, "--exit-code"]) == 1
    assert main(["diff", two[0], two[0], "--exit-code"]) == 0
    assert "both do the same at every step" in capsys.readouterr().out
    assert main(["diff", two[0], two[0] + "x"]) == 2


def test_json(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *two, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == [6, 7]
