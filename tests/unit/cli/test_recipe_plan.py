"""``sparsify-recipe plan``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparsify.analysis.plan import make_plan
from sparsify.cli.recipe import main
from sparsify.cli.recipe_text import show_plan
from sparsify.manager import load_recipe
from tests.unit.analysis.schedules import WHOLE, pruner, rate, recipe


@pytest.fixture
def whole(tmp_path: Path) -> str:
    path = tmp_path / "whole.yaml"
    path.write_text(WHOLE)
    return str(path)


@pytest.fixture
def model_dir(tmp_path: Path, make_tiny_bert: Any) -> str:
    model = make_tiny_bert()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def text_of(recipe_text: str, steps: int = 10, width: int = 100, **options: Any) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, **options)
    show_plan(make_plan(load_recipe(recipe_text), steps), console)
    return stream.getvalue()


def test_text_shows_bars_and_sparklines() -> None:
    lines = {line.split()[0]: line for line in text_of(WHOLE).splitlines() if line.split()}
    assert "steps 5-30" in lines["GMPruning"]
    assert lines["GMPruning"].count("┼") == 6
    assert "frozen from 50" in lines["Quantization"]
    assert lines["sparsity"].rstrip().endswith("█  0 → 0.8")
    assert "0.001 → " in lines["learning"]


def test_bars_lie_below_their_epochs() -> None:
    lines = text_of(recipe(rate(2.0, 4.0), "EpochRangeModifier {start_epoch: 0.0, end_epoch: 4.0}")).splitlines()
    ruler = next(line for line in lines if line.strip().startswith("epoch "))
    bar = next(line for line in lines if "LearningRateFunction" in line)
    assert abs(bar.index("─") - ruler.index("2")) <= 1


def test_a_terminal_without_unicode_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=100)
    show_plan(make_plan(load_recipe(WHOLE), 10), console)
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "steps 5-30" in text
    assert "+----+" in text


def test_a_narrow_terminal_still_gets_whole_lines() -> None:
    assert "frozen from 50" in text_of(WHOLE, width=20)


def test_a_long_run_is_sampled_and_a_recipe_without_time_is_told() -> None:
    assert "0 → 0.8" in text_of(WHOLE, steps=100_000)
    assert "the recipe names no time" in text_of(recipe("ConstantPruningModifier {params: __ALL__}"))


def test_json_is_one_document(whole: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", whole, "--steps-per-epoch", "7", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recipe"] == whole
    assert document["steps"] == len(document["timeline"]) == 42


def test_a_model_lists_what_matches(whole: str, model_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", whole, "--model", model_dir, "--json"]) == 0
    matched = json.loads(capsys.readouterr().out)["matched"]
    assert len(matched["pruning_modifiers[0]"]) == 6
    assert "classifier.weight" in matched["quantization_modifiers[0]"]
    assert main(["plan", whole, "--model", model_dir]) == 0
    assert "pruning_modifiers[0] matches 6: bert.encoder.layer.0.attention.self." in capsys.readouterr().out


def test_a_modifier_that_matches_nothing_exits_with_1(
    tmp_path: Path, model_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(recipe(pruner(0.0, 1.0, "bert.nothing.weight")))
    assert main(["plan", str(path)]) == 0
    assert main(["plan", str(path), "--model", model_dir]) == 1
    out = capsys.readouterr().out
    assert f"refused: {path}:2:5: no parameter of the model matches 'bert.nothing.weight'" in out
    assert "     2 |   - !GMPruningModifier" in out


def test_conflicts_exit_with_1_and_warnings_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(recipe(rate(0.0, 2.0), rate(1.0, 3.0)))
    assert main(["plan", str(path), "--json"]) == 1
    (conflict,) = json.loads(capsys.readouterr().out)["conflicts"]
    assert (conflict["severity"], conflict["line"]) == ("error", 3)
    path.write_text(recipe(pruner(0.0, 1.0, "a", frequency=5.0)))
    assert main(["plan", str(path)]) == 0
    assert "warning: " in capsys.readouterr().out


def test_an_invalid_recipe_exits_with_2_and_a_caret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(recipe("EpochRangeModifier {start_epoch: 0.0}", "Nonsense {}"))
    assert main(["plan", str(path)]) == 2
    err = capsys.readouterr().err
    assert "needs the field 'end_epoch'" in err
    assert "unknown modifier 'Nonsense'" in err
    assert err.count("^\n") == 2


def test_figures_are_written(whole: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a dependency of the package; figures cannot be drawn without it")
    assert main(["plan", whole, "--svg", str(tmp_path / "p.svg"), "--png", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--svg", "p.png"], "must end in .svg"),
        (["--png", "p"], "must end in .png"),
        (["--steps-per-epoch", "0"], "steps_per_epoch must be at least 1"),
        (["--model", "/no/such/model"], "no config.json there"),
    ],
)
def test_bad_flags(whole: str, flags: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", whole, *flags]) == 2
    assert told in capsys.readouterr().err


def test_one_epoch_is_no_plural() -> None:
    assert "1 epoch × 10 steps = 10 steps" in text_of(recipe("EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}"))
