"""``sparsify-recipe new``."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest

from sparsify.cli.recipe import main
from sparsify.manager import load_recipe

Capture = pytest.CaptureFixture[str]


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Sit at a terminal and give these answers."""
    left = iter(answers)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(builtins, "input", lambda *prompt: next(left))


def test_from_flags(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "new.yaml"
    flags = ["--task", "question_answering", "--sparsity", "0.8", "--int8", "--distill", "--epochs", "4"]
    assert main(["new", *flags, "--output", str(path)]) == 0
    manager = load_recipe(path)
    assert manager.max_epochs == 4
    assert manager.needs_teacher
    assert path.read_text().startswith("# question answering, from a dense fine-tuned model: ")
    assert main(["validate", str(path)]) == 0


def test_printed(capsys: Capture) -> None:
    assert main(["new", "--int8"]) == 0
    assert load_recipe(capsys.readouterr().out).max_epochs == 3


def test_from_answers(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    answer(monkeypatch, "", "50%", "2:4", "n", "y")
    assert main(["new"]) == 0
    manager = load_recipe(capsys.readouterr().out)
    assert [m.kind for m in manager.modifiers].count("pruning") == 1
    assert manager.needs_teacher
    assert manager.recipe.variables["final_sparsity"] == 0.5


def test_an_answer_that_is_no_number(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    answer(monkeypatch, "", "lots", "", "n", "n")
    assert main(["new"]) == 2
    assert "got 'lots'" in capsys.readouterr().err


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(["new"]) == 2
    assert "--sparsity 0.8" in capsys.readouterr().err


def test_an_existing_file_is_kept(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    assert main(["new", "--int8", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert main(["new", "--int8", "-o", str(path), "--force"]) == 0
    assert load_recipe(path).modifiers


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--sparsity", "0.8", "--pattern", "2:4"], "mask_type 2:4 gives exactly 0.5 zeros"),
        (["--sparsity", "80"], "0.8 for 80% zeros"),
        (["--sparsity", "0.5", "--pattern", "5x"], "unknown mask type"),
        (["--task", "ner"], "invalid choice"),
    ],
)
def test_bad_wishes(flags: list[str], told: str, capsys: Capture) -> None:
    assert main(["new", *flags]) == 2
    assert told in capsys.readouterr().err
