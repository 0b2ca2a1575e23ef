"""Stubs to folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo.registry import entries, packaged, resolve_model, resolve_recipe, roots
from sparsify.zoo.settings import split_roots, using

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
    config = tmp_path / "zoo.yaml"
    config.write_text("roots:\n  - ~/third\n  - {url: 's3://bucket/fourth', options: {anon: true}}\n")
    old = tmp_path / "old"
    old.mkdir()
    monkeypatch.setenv("SPARSIFY_CONFIG", str(config))
    monkeypatch.setenv("SPARSEZOO_MODELS_PATH", str(old))
    monkeypatch.setenv(
        "SPARSIFY_ZOO", os.pathsep.join([str(tmp_path / "second"), "", "https://zoo.org:8080/z", "~/third"])
    )
    with using([tmp_path / "first"]):
        shown = [root.shown for root in roots()]
    third = str(Path("~/third").expanduser())
    assert shown == [
        *(str(tmp_path / "first"), str(tmp_path / "second"), "https://zoo.org:8080/z", third, "s3://bucket/fourth"),
        *(str(old), str(packaged())),
    ]
    for name in ("SPARSIFY_ZOO", "SPARSIFY_CONFIG", "SPARSEZOO_MODELS_PATH"):
        monkeypatch.setenv(name, os.devnull if name != "SPARSIFY_ZOO" else "")
    assert [root.shown for root in roots()] == [str(packaged())]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/a:/b", ["/a", "/b"]),
        ("https://x/y:/b:s3://z/w", ["https://x/y", "/b", "s3://z/w"]),
        ("http://127.0.0.1:8080/z:/b", ["http://127.0.0.1:8080/z", "/b"]),
        ("hf://datasets/org/repo", ["hf://datasets/org/repo"]),
        (" : ", []),
    ],
)
def test_roots_of_a_variable(text: str, parts: list[str]) -> None:
    assert split_roots(text) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("root: x", "only aliases, cache, offline, roots may stand"),
        ("roots: [{address: x}]", "a root is an address"),
        ("roots: [", "not YAML"),
        ("aliases: [x]", "aliases are pairs"),
        ("offline: maybe", "offline is true or false"),
        ("a: &a [1]\nb: *a", "aliases are not read"),
    ],
)
def test_a_wrong_configuration_is_told(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo.yaml").write_text(text)
    monkeypatch.setenv("SPARSIFY_CONFIG", str(tmp_path / "zoo.yaml"))
    with pytest.raises(ZooError, match=words):
        roots()


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
