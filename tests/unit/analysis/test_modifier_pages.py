"""The committed pages of modifiers are what their classes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.analysis.modifier_pages import (
    digest,
    digest_in,
    example_plan,
    example_recipe,
    modifier_classes,
    pages,
    plan_in,
)
from sparsify.cli.recipe_docs import main, write_figure, write_pages
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from sparsify.modifiers.base import Modifier

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "modifiers"
STALE = "run `make docs` and commit docs/modifiers"


def test_the_pages_are_up_to_date() -> None:
    texts = pages()
    figures = {f"{cls.__name__}.svg" for cls in modifier_classes()}
    assert {path.name for path in FOLDER.iterdir()} == {*texts, *figures}, STALE
    for name, text in texts.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: {STALE}"


@pytest.mark.parametrize("cls", modifier_classes(), ids=lambda cls: cls.__name__)
def test_the_figures_are_up_to_date(cls: type[Modifier]) -> None:
    assert digest_in((FOLDER / f"{cls.__name__}.svg").read_bytes()) == digest(example_plan(cls)), STALE


@pytest.mark.parametrize("cls", modifier_classes(), ids=lambda cls: cls.__name__)
def test_the_examples_load_and_show_the_modifier(cls: type[Modifier]) -> None:
    manager = load_recipe(example_recipe(cls))
    assert any(isinstance(m, cls) for m in manager.modifiers)
    assert [f for f in example_plan(cls).findings if "not available yet" not in f.problem.message] == []


def test_the_figure_in_the_readme_is_up_to_date() -> None:
    root = FOLDER.parents[1]
    plan = plan_in((root / "README.md").read_text(encoding="utf-8"))
    assert digest_in((root / "docs" / "img" / "plan.svg").read_bytes()) == digest(plan), "run `make docs`"


def test_a_page_without_a_recipe_has_no_figure() -> None:
    with pytest.raises(InputError, match="shows no recipe"):
        plan_in("# Title\n")


def test_a_figure_is_drawn_once(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a dependency of the package; figures cannot be drawn without it")
    page, figure = tmp_path / "page.md", tmp_path / "img" / "figure.svg"
    page.write_text(f"```yaml\n{example_recipe(modifier_classes()[0])}```\n")
    assert [write_figure(page, figure) for _ in range(2)] == [True, False]


def test_writing_changes_what_is_stale_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a dependency of the package; figures cannot be drawn without it")
    folder = tmp_path / "modifiers"
    folder.mkdir()
    for path in FOLDER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert write_pages(folder) == []
    (folder / "GMPruningModifier.md").write_text("old")
    (folder / "EpochRangeModifier.svg").unlink()
    (folder / "GoneModifier.md").write_text("gone")
    assert write_pages(folder) == ["GMPruningModifier.md", "EpochRangeModifier.svg", "GoneModifier.md"]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in FOLDER.iterdir())
    assert main([str(folder)]) == 0
