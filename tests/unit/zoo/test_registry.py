"""Stubs to folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo.registry import entries, packaged, resolve_model, resolve_recipe, roots

STUB = "zoo:a/b/c-x/d/e/f/pruned-none"


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSIFY_ZOO", str(tmp_path))
    return tmp_path


def entry(root: Path, *files: str) -> Path:
    folder = root / "a/b/c-x/d/e/f/pruned-none"
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")
    return folder


def test_roots_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIFY_ZOO", os.pathsep.join([str(tmp_path), "", "~/zoo"]))
    assert roots() == [tmp_path, Path("~/zoo").expanduser(), packaged()]
    monkeypatch.delenv("SPARSIFY_ZOO")
    assert roots() == [packaged()]


def test_recipe_and_named_recipe(zoo: Path) -> None:
    folder = entry(zoo, "recipe.yaml", "recipe_transfer.md")
    assert resolve_recipe(STUB) == folder / "recipe.yaml"
    assert resolve_recipe(f"{STUB}?recipe=transfer") == folder / "recipe_transfer.md"
    with pytest.raises(ZooError, match=r"in it: recipe\.yaml, recipe_transfer\.md"):
        resolve_recipe(f"{STUB}?recipe=nix")


def test_model(zoo: Path) -> None:
    folder = entry(zoo, "recipe.yaml")
    with pytest.raises(ZooError, match="has no training/"):
        resolve_model(STUB)
    entry(zoo, "config.json")
    assert resolve_model(STUB) == folder
    entry(zoo, "training/config.json")
    assert resolve_model(STUB) == folder / "training"


def test_an_earlier_root_wins_but_one_without_the_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (tmp_path / name for name in "123")
    entry(first, "training/config.json")
    folder = entry(second, "recipe.yaml")
    entry(third, "recipe.yaml")
    monkeypatch.setenv("SPARSIFY_ZOO", os.pathsep.join(map(str, (first, second, third))))
    assert resolve_recipe(STUB) == folder / "recipe.yaml"


def test_unresolved_says_all(zoo: Path) -> None:
    entry(zoo, "recipe.yaml")
    with pytest.raises(ZooError) as caught:
        resolve_recipe(STUB.replace("pruned", "prnued"))
    message = str(caught.value)
    assert "no recipe found for zoo:a/b/c-x/d/e/f/prnued-none" in message
    assert f"searched: {zoo}, {packaged()}" in message
    assert f"nearest: {STUB}" in message
    assert "put the folder a/b/c-x/d/e/f/prnued-none under a root" in message
    assert "2025-06" in message


def test_a_missing_root_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIFY_ZOO", str(tmp_path / "nix"))
    with pytest.raises(ZooError, match=r"nix \(missing\)"):
        resolve_model(STUB)


def test_entries(zoo: Path) -> None:
    entry(zoo, "recipe.yaml")
    (zoo / ".git/b/c/d/e/f/g").mkdir(parents=True)
    assert STUB in entries()
    assert not any(".git" in name for name in entries())


def test_packaged_recipes_are_beside_the_source_or_inside_the_wheel() -> None:
    assert (packaged() / "nlp").is_dir()
