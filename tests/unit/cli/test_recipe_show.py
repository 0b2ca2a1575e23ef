"""``sparsify-recipe show``, ``list`` and ``schema``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsify.cli.recipe import main
from sparsify.manager import load_recipe
from sparsify.modifiers.registry import classes, names
from tests.unit.analysis.schedules import WHOLE

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def whole(tmp_path: Path) -> str:
    path = tmp_path / "whole.yaml"
    path.write_text(WHOLE)
    return str(path)


def test_a_recipe_is_shown_resolved_and_loads_again(whole: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["show", whole, "--recipe_args", "num_epochs=7"]) == 0
    out = capsys.readouterr().out
    assert "end_epoch: 7" in out
    assert load_recipe(out).max_epochs == 7
    assert main(["show", whole, "--all"]) == 0
    out = capsys.readouterr().out
    assert "    # leave_enabled: true" in out
    assert load_recipe(out).max_epochs == 6


def test_a_recipe_as_json(whole: str, capsys: Capture) -> None:
    assert main(["show", whole, "--json"]) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert stage["modifiers"][0] == {
        "path": "training_modifiers[0]",
        "type": "EpochRangeModifier",
        "fields": {"start_epoch": 0.0, "end_epoch": 6},
    }
    assert main(["show", whole, "--json", "--all"]) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert stage["modifiers"][0]["fields"]["update_frequency"] == -1.0


@pytest.mark.parametrize("name", ["GMPruningModifier", "!GMPruningModifier", "gmpruning", "GMPruning"])
def test_a_modifier_is_shown_by_any_of_its_spellings(
    name: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["show", name]) == 0
    out = capsys.readouterr().out
    assert "GMPruningModifier (pruning)" in out
    assert "arxiv.org/abs/1710.01878" in out
    line = next(line for line in out.splitlines() if line.startswith("mask_type"))
    assert "N:M (keeps N of each M)" in line
    assert next(line for line in out.splitlines() if line.startswith("final_sparsity")).split("  ")[-2:]


def test_a_modifier_as_json(capsys: Capture) -> None:
    assert main(["show", "EpochRange", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == "EpochRangeModifier"
    assert document["fields"][0]["default"] is None


def test_what_is_neither_gets_near_names(tmp_path: Path, capsys: Capture) -> None:
    assert main(["show", "GMPrunin"]) == 2
    assert "did you mean GMPruningModifier" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "none.yaml")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_file_wins_over_a_modifier_of_its_name(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gmpruning").mkdir()
    (tmp_path / "gmpruning" / "recipe.yaml").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    assert main(["show", "gmpruning"]) == 0
    assert "EpochRangeModifier" in capsys.readouterr().out


def test_list_names_every_modifier(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("GMPruningModifier", "QuantizationModifier"))
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {about["name"] for about in found} <= set(names())
    assert all(about["summary"] and about["fields"] for about in found)


def test_a_piped_list_is_a_modifier_a_line_however_narrow(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(set(classes().values()))


def test_list_by_kind(capsys: Capture) -> None:
    assert main(["list", "--kind", "quantization"]) == 0
    assert "GMPruning" not in capsys.readouterr().out
    assert main(["list", "--kind", "prunning"]) == 2
    assert "kinds: " in capsys.readouterr().err


def test_schema_is_printed_or_written(tmp_path: Path, capsys: Capture) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["title"] == "sparsify recipe"
    assert main(["schema", "--output", str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text()) == printed


def test_settings_of_an_editor(capsys: Capture) -> None:
    assert main(["schema", "--vscode", "./s.json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert "./s.json" in settings["yaml.schemas"]
    assert "!GMPruningModifier mapping" in settings["yaml.customTags"]
