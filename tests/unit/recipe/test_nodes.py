"""The bounds and marks of the YAML layer."""

from __future__ import annotations

import pytest

from sparsify.errors import RecipeError
from sparsify.recipe.nodes import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MappingNode,
    Mark,
    ScalarNode,
    SequenceNode,
    SourceText,
    compose,
)


def read(text: str, skipped: int = 0) -> object:
    return compose(SourceText(text, "o", "f.yaml", skipped))


def failing(text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        read(text)
    assert len(caught.value.problems) == 1
    return caught.value


def test_places_count_from_one_and_from_the_files_start() -> None:
    root = read("a: 1\nbb:\n  - x\n", skipped=3)
    assert isinstance(root, MappingNode)
    (a, one), (_, items) = root.pairs
    assert (a.mark, one.mark) == (Mark("f.yaml", 4, 1), Mark("f.yaml", 4, 4))
    assert isinstance(items, SequenceNode)
    assert items.items[0].mark == Mark("f.yaml", 6, 5)


def test_an_alias_has_its_own_place() -> None:
    root = read("a: &x 1\nb: *x\n")
    assert isinstance(root, MappingNode)
    alias = root.pairs[1][1]
    assert isinstance(alias, ScalarNode)
    assert (alias.text, alias.mark.line, alias.mark.column) == ("1", 2, 4)


def test_a_block_ends_before_the_comments_that_follow() -> None:
    text = "a:\n  - 1\n  - 2 # two\n\n# next\nb: 3\n"
    root = read(text)
    assert isinstance(root, MappingNode)
    node = root.pairs[0][1]
    assert text[node.start : node.end] == "- 1\n  - 2"


def test_empty() -> None:
    assert read("# nothing\n") is None


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: [1\nb: 2\n", "not valid YAML", 2),
        ("a: 1\n\tb: 2\n", "not valid YAML", 2),
        ("a: *nix\n", "undefined alias", 1),
        ("a: &x [*x]\n", "inside what it names", 1),
        ("a: 1\n---\nb: 2\n", "second YAML document", 2),
        ("a: 1\nb: \x07\n", "not a text character", 2),
        ('a: "\\UFFFFFFFF"\n', "not valid YAML", 1),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", "not valid YAML", 1),
    ],
)
def test_refused(text: str, words: str, line: int) -> None:
    error = failing(text)
    assert words in str(error)
    assert error.line == line


@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000, "- " * 3000, "!x " + "[" * 500])
def test_depth_is_bounded(text: str) -> None:
    assert f"deeper than {MAX_DEPTH}" in str(failing(text))


def test_depth_is_bounded_across_aliases() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 200)]
    assert "deeper than" in str(failing("\n".join(lines) + "\n"))


def test_alias_expansion_is_bounded() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "aliases expanded" in str(failing("\n".join(lines) + "\n"))


def test_size_is_bounded() -> None:
    assert "too long" in str(failing("#" * (MAX_CHARACTERS + 1)))
