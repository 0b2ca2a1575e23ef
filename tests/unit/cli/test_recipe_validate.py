"""``sparsify-recipe validate``, and how problems are shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparsify.cli.recipe import main
from sparsify.cli.recipe_problems import rendered
from sparsify.errors import Problem

BAD = """\
num_epochs: 3
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(nun_epochs)}
  - !GMPruningModifer {start_epoch: 0.0}
  - !SetLearningRateModifier
    learning_rate: -1
"""
GOOD = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(n)}\nn: 2\n"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def test_every_mistake_comes_with_its_line_and_a_caret(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(bad)]) == 2
    out = capsys.readouterr().out
    assert f"{bad}:3:60: unknown variable 'nun_epochs' in eval" in out
    line = "     3 |   - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(nun_epochs)}"
    assert f"{line}\n       | {' ' * 59}^^^^^^^^^^\n    did you mean num_epochs?" in out
    assert f"{bad}:4:5: unknown modifier 'GMPruningModifer'" in out
    assert f"{bad}:6:20: learning_rate" in out
    assert out.count("^\n") == 3


def test_several_files_are_all_checked(bad: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(bad), str(good), str(good.parent / "none.yaml")]) == 2
    out = capsys.readouterr().out
    assert f"{good}: valid, 1 modifier, 2 epochs" in out
    assert "none.yaml: no such file" in out


def test_valid_recipes_exit_with_0(good: Path) -> None:
    assert main(["validate", str(good)]) == 0


def test_json(bad: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(bad), str(good), "--json"]) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert first["recipe"] == str(bad)
    assert not first["valid"]
    assert [(p["line"], p["column"]) for p in first["problems"]] == [(3, 60), (4, 5), (6, 20)]
    assert first["problems"][0]["hint"] == "did you mean num_epochs?"
    assert (second["valid"], second["modifiers"], second["epochs"]) == (True, 1, 2)


def test_recipe_args(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(good), "--recipe_args", "n=5"]) == 0
    assert "5 epochs" in capsys.readouterr().out
    assert main(["validate", str(good), "--recipe_args", "m=5"]) == 2
    assert "no variable 'm'" in capsys.readouterr().out


def test_fields_can_be_set(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(good), "--set", "EpochRangeModifier.end_epoch=4"]) == 0
    assert "4 epochs" in capsys.readouterr().out
    assert main(["validate", str(good), "--set", "EpochRangeModifier.end_epoche=4"]) == 2


def test_what_is_odd_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0, log_types: []}\n")
    assert main(["validate", str(path), "--json"]) == 0
    ((warning,),) = [verdict["warnings"] for verdict in json.loads(capsys.readouterr().out)]
    assert (warning["line"], "log_types" in warning["message"]) == (2, True)


def test_what_is_not_built_yet_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "later.yaml"
    path.write_text("modifiers:\n  - !SparseGPTModifier {sparsity: 0.5}\n")
    assert main(["validate", str(path)]) == 0
    assert "not available yet: SparseGPTModifier" in capsys.readouterr().out
    assert main(["plan", str(path)]) == 1
    assert "not available yet: SparseGPTModifier" in capsys.readouterr().out


def test_zoo_stubs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "zoo:nlp/nothing"]) == 2
    assert "not a zoo stub" in capsys.readouterr().out


def test_as_a_program(bad: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sparsify.cli.recipe", "validate", str(bad)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout


def test_no_command_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "sparsify-recipe validate" in capsys.readouterr().out


def test_a_line_that_is_too_long_is_cut_around_the_place(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("x" * 500 + " wrong " + "y" * 500)
    excerpt = rendered(Problem("bad", str(path), 1, 502)).splitlines()[1:3]
    shown, caret = (line.split("| ")[1] for line in excerpt)
    assert len(shown) <= 120
    assert shown[caret.index("^") :].startswith("wrong ")
    assert caret.count("^") == 5


@pytest.mark.parametrize(
    "problem",
    [
        Problem("bad"),
        Problem("bad", "<string>", 3, 4),
        Problem("bad", "/no/such/file.yaml", 1, 1, hint="do this"),
    ],
)
def test_without_a_file_there_is_just_the_message(problem: Problem) -> None:
    assert rendered(problem) == str(problem)


def test_a_place_beyond_the_file_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("a: 1\n")
    assert rendered(Problem("bad", str(path), 9, 1)) == str(Problem("bad", str(path), 9, 1))
    assert rendered(Problem("bad", str(path), 1, 99)) == str(Problem("bad", str(path), 1, 99))
