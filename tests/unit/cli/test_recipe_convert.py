"""``sparsify-recipe convert``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsify.cli.recipe import main
from sparsify.manager import load_recipe

CONFIG = {"target_sparsity": 0.9, "pattern": "2:4", "end_step": 1000, "pruning_frequency": 50, "low_memory_usage": True}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "prune.json"
    path.write_text(json.dumps(CONFIG))
    return path


def test_writes_a_recipe_that_loads(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = config.with_name("my.yaml")
    assert main(["convert", str(config), "-o", str(out)]) == 0
    (modifier,) = load_recipe(out).modifiers
    assert type(modifier).__name__ == "WeightPruningModifier"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "not in the recipe: low_memory_usage: has no meaning here" in printed.err


def test_prints_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(config)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# Converted from prune.json: Neural Compressor's WeightPruningConfig.\n")
    assert "# target_sparsity was 0.9: N:M has exactly this one\n    final_sparsity: 0.5\n" in printed


def test_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(config), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lost"] == ["low_memory_usage: has no meaning here"]
    assert "!WeightPruningModifier" in found["recipe"]


def test_mistakes_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"target_sparsity": 2, "end_step": 5}')
    assert main(["convert", str(bad)]) == 2
    assert main(["convert", str(tmp_path / "absent.yaml")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "target_sparsity is a number from 0 to 1, got 2" in " ".join(printed.err.split())
    assert "Traceback" not in printed.err


def test_mistakes_of_a_recipe_are_named_at_its_own_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("# one\n# two\nmodifiers:\n  - !EpochRangModifier {start_epoch: 0, end_epoch: 1}\n")
    assert main(["convert", str(recipe)]) == 2
    message = capsys.readouterr().err
    assert f"{recipe}:4:5" in message
    assert "did you mean EpochRangeModifier" in message


def test_a_recipe_that_extends_another_is_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base.yaml").write_text(
        "x: 1\nmodifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: eval(x)}\n"
    )
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nx: 3\n")
    assert main(["convert", str(child)]) == 0
    assert "end_epoch: 3" in capsys.readouterr().out
