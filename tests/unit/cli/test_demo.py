from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sparsify.cli import demo
from sparsify.cli.demo import Outcome
from sparsify.errors import CheckFailed
from sparsify.manager import load_recipe

MODEL = {"sparsity_prunable": 0.8, "sparsity_model": 0.66, "bits": "8"}
CONTROL = Outcome("dense control", 94.0, 95.0, MODEL | {"sparsity_prunable": 0.0, "bits": "32"}, 95.0)
COMPRESSED = Outcome("compressed", 93.5, 94.0, MODEL, 94.0)
ONE_SHOT = Outcome("one shot", 60.0, 65.0, MODEL)


class _Timing:
    bytes, gzip_bytes, p50 = 2_000_000, 1_000_000, 1.5

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio


class _Report:
    timings, aa_ratio = (_Timing(1.0), _Timing(1.7)), 1.01


def test_recipe_prunes_distils_and_quantizes_within_its_epochs() -> None:
    manager = load_recipe(demo.RECIPE)
    assert {m.kind for m in manager.modifiers} >= {"pruning", "distillation", "quantization", "learning_rate"}
    assert manager.max_epochs == demo._EPOCHS


def test_one_shot_prunes_the_same_to_the_same_sparsity_and_nothing_else() -> None:
    whole, alone = load_recipe(demo.RECIPE), load_recipe(demo._one_shot_recipe())
    (pruner,) = alone.modifiers
    original = next(m for m in whole.modifiers if m.kind == "pruning")
    for field in ("params", "final_sparsity", "mask_type"):
        assert getattr(pruner, field) == getattr(original, field)


def test_table_puts_latencies_under_what_was_exported() -> None:
    rows: dict[str, list[str]] = {
        row[0]: row[1:]
        for row in demo._rows([replace(CONTROL, onnx_test=None), CONTROL, COMPRESSED, ONE_SHOT], _Report())  # type: ignore[arg-type]
    }
    assert rows["F1, test"] == ["95.00", "95.00", "94.00", "65.00"]
    assert rows["F1, test, ONNX Runtime"] == ["", "95.00", "94.00", ""]
    assert rows["times as fast"] == ["", "1.00", "1.70", ""]
    assert rows["bits of the weights"] == ["32", "32", "8", "8"]
    assert rows["sparsity of the prunable layers"] == ["0.0%", "0.0%", "80.0%", "80.0%"]


def test_judges_what_it_is_there_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    demo._judge(CONTROL, COMPRESSED, ONE_SHOT)
    assert "compressed -1.00 points" in capsys.readouterr().out
    with pytest.raises(CheckFailed, match=r"compressed -2.10 points"):
        demo._judge(CONTROL, replace(COMPRESSED, test=92.9), ONE_SHOT)
    with pytest.raises(CheckFailed, match=r"in one shot -9.00"):
        demo._judge(CONTROL, COMPRESSED, replace(ONE_SHOT, test=86.0))


def test_a_failed_command_ends_the_demo_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def everything(*args: Any) -> None:
        demo._command(lambda argv: 130, ["--model_path", "x"])

    monkeypatch.setattr(demo, "_everything", everything)
    assert demo.run([]) == 130
    assert "--model_path x" in capsys.readouterr().err


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo.run(["--epochs", "3"])
    assert "--epochs" in capsys.readouterr().err
