"""Where recipe text comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsify.errors import RecipeError, ZooError
from sparsify.recipe.nodes import MAX_CHARACTERS
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.source import read_source

YAML = "lr: 1e-4\nmodifiers: [!A {x: eval(lr)}]\n"
CARD = "<!-- licence -->\n\nProse: with a colon\n\n---\n" + YAML + "---\n\n# Title\n\n---\nmore\n"


def refused(source: str | Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_source(source)
    return str(caught.value)


@pytest.mark.parametrize("name", ["r.yaml", "r.yml", "R.YAML"])
def test_yaml_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + YAML.replace("\n", "\r\n").encode())
    for source in (path, str(path)):
        recipe = Recipe.load(source)
        assert recipe.text == YAML
        assert recipe.origin == str(path)
        assert recipe.modifiers[0].mark.file == str(path)


def test_json_with_tabs(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{\n\t"lr": 1e-4,\n\t"modifiers": {"A": {"x": "eval(lr)"}}\n}')
    assert Recipe.load(path).modifiers[0].fields == {"x": 1e-4}


@pytest.mark.parametrize("fence", ["---", "+++", "---  "])
def test_markdown_front_matter_keeps_the_files_lines(tmp_path: Path, fence: str) -> None:
    path = tmp_path / "card.md"
    path.write_text(CARD.replace("---\n", f"{fence}\n"))
    recipe = Recipe.load(path)
    assert recipe.text == YAML
    assert recipe.modifiers[0].mark.line == 7
    assert Recipe.load(path, {"lr": 1}).text == YAML.replace("1e-4", "1")


def test_front_matter_ends_at_a_line_that_is_the_mark_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("---\na: 1 # --- section\nb: --- x\n+++: 2\nmodifiers: [!A]\n---\n")
    assert list(Recipe.load(path).variables) == ["a", "b", "+++"]


@pytest.mark.parametrize("text", ["# no recipe\n", "---\na: 1\n", "+++\na: 1\n---\n"])
def test_markdown_without_front_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.md").write_text(text)
    assert "no front matter" in refused(tmp_path / "card.md")


def test_strings() -> None:
    assert read_source(YAML).text == YAML
    assert read_source(YAML.replace("\n", "\r\n")).text == YAML
    assert read_source("---\n" + YAML).text == "---\n" + YAML
    assert Recipe.load("---\n" + YAML + "---\n").modifiers[0].fields == {"x": 1e-4}


def test_a_markdown_string_is_recognized() -> None:
    card = CARD.replace("Prose: with a colon", "Prose, plain")
    assert read_source(card).text == YAML
    assert read_source(card).skipped == 5


def test_two_yaml_documents_are_not_cut_silently() -> None:
    for text in (f"---\n{YAML}---\n{YAML}", f"{YAML}---\n{YAML}---\n", f"{YAML}---\n{YAML}"):
        with pytest.raises(RecipeError, match="second YAML document"):
            Recipe.load(text)


def test_checkpoint_folder(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(YAML)
    assert Recipe.load(tmp_path).text == YAML


def test_folder_without_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipes.md").write_text("")
    assert "has no recipe.yaml" in refused(tmp_path)
    assert "recipes.md" in refused(tmp_path)


def test_a_missing_path_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "pruned80.yaml").write_text(YAML)
    message = refused(tmp_path / "pruned08.yaml")
    assert "no such file" in message
    assert f"did you mean {tmp_path / 'pruned80.yaml'}?" in message
    assert "there is no folder" in refused(str(tmp_path / "nowhere" / "r.yaml"))
    (tmp_path / "empty").mkdir()
    assert "holds no recipe files" in refused(tmp_path / "empty" / "r.yaml")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{modifiers: [!A {}]}", "told from a path by a line break"),
        ("https://example.com/r.yaml", "not read from such addresses"),
        ("x" * 5000, ""),
        ("a\x00b", "no such file"),
        ("", ""),
    ],
)
def test_odd_names(source: str, words: str) -> None:
    assert words in refused(source)


def test_other_types() -> None:
    assert "got dict" in refused({})  # type: ignore[arg-type]


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(YAML)
    assert "suffix '.txt'" in refused(tmp_path / "r.txt")
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(tmp_path / "r.yaml")
    (tmp_path / "big.yaml").write_text("#" * (4 * MAX_CHARACTERS + 1))
    assert "too large" in refused(tmp_path / "big.yaml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(YAML)
    path.chmod(0)
    assert "cannot be read" in refused(path)


def test_stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a/b/c/d/e/f/g"
    folder.mkdir(parents=True)
    (folder / "recipe.md").write_text(CARD)
    monkeypatch.setenv("SPARSIFY_ZOO", str(tmp_path))
    recipe = Recipe.load("zoo:a/b/c/d/e/f/g")
    assert recipe.text == YAML
    assert recipe.origin == "zoo:a/b/c/d/e/f/g"
    with pytest.raises(ZooError):
        Recipe.load("zoo:a/b/c/d/e/f/h")


def test_a_dangling_link_is_not_suggested_for_itself(tmp_path: Path) -> None:
    (tmp_path / "dangling.yaml").symlink_to("gone.yaml")
    message = refused(tmp_path / "dangling.yaml")
    assert "link to gone.yaml, which is not there" in message
    assert "did you mean" not in message


def test_broken_json_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"modifiers": [')
    with pytest.raises(RecipeError, match="not valid JSON"):
        Recipe.load(tmp_path / "r.json")


def test_a_home_that_is_not_known() -> None:
    with pytest.raises(RecipeError, match=r"~nobody-of-this-name/a\.yaml: no such file"):
        read_source("~nobody-of-this-name/a.yaml")
