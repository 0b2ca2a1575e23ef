"""``--set path.field=value``: which modifier a path names, and the text it is written into."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import RecipeError
from sparsify.recipe.paths import read_fields
from sparsify.recipe.recipe import Recipe

TEXT = """\
# head
n: 3  # epochs
pruning_modifiers:
  - !AModifier   # first
    x: 0.5       # half
    deep: {k: [1, 2], l: 3}
    # before y
    y: [a, b]    # words

  - !BModifier {x: 1, z: eval(n)}  # second
other_modifiers:
  # nothing yet
  - !AModifier
  - !CModifier
    text: |
      long
    # end
# tail
"""


def fields(recipe: Recipe, index: int = 0) -> dict[str, Any]:
    return recipe.modifiers[index].fields


@pytest.mark.parametrize(
    ("path", "value", "index", "expected"),
    [
        ("pruning_modifiers[0].x", 0.9, 0, {"x": 0.9}),
        ("pruning_modifiers.0.x", 0.9, 0, {"x": 0.9}),
        ("BModifier.x", 2, 1, {"x": 2, "z": 3}),
        ("BModifier.z", "eval(n * 2)", 1, {"z": 6}),
        ("AModifier[0].x", 0.9, 0, {"x": 0.9}),
        ("pruning_modifiers[0].deep.k[1]", 7, 0, {"deep": {"k": [1, 7], "l": 3}}),
        ("pruning_modifiers[0].deep.new", "w", 0, {"deep": {"k": [1, 2], "l": 3, "new": "w"}}),
        ("pruning_modifiers[0].y[0]", "c d", 0, {"y": ["c d", "b"]}),
        ("pruning_modifiers[0].y", [], 0, {"y": []}),
        ("pruning_modifiers[0].new", {"k": [None]}, 0, {"new": {"k": [None]}, "y": ["a", "b"]}),
        ("BModifier.new", True, 1, {"x": 1, "z": 3, "new": True}),
        ("other_modifiers[0].new", 5, 2, {"new": 5}),
        ("CModifier.new", 5, 3, {"text": "long\n", "new": 5}),
        ("CModifier.text", "short", 3, {"text": "short"}),
    ],
)
def test_every_path_sets_its_field_and_nothing_else(
    path: str, value: Any, index: int, expected: dict[str, Any]
) -> None:
    before, recipe = Recipe.load(TEXT), Recipe.load(TEXT, set_fields={path: value})
    assert {name: fields(recipe, index)[name] for name in expected} == expected
    assert [m.fields for i, m in enumerate(recipe.modifiers) if i != index] == [
        m.fields for i, m in enumerate(before.modifiers) if i != index
    ]
    assert Recipe.load(recipe.text) == recipe
    for comment in ("# head", "# epochs", "# first", "# half", "# before y", "# second", "# nothing yet", "# tail"):
        assert comment in recipe.text
    assert len(set(TEXT.splitlines()) - set(recipe.text.splitlines())) <= (2 if path == "CModifier.text" else 1)


def test_a_variable_may_be_set_too_and_comes_after_recipe_args() -> None:
    recipe = Recipe.load(TEXT, "n=4", ["n=5", "BModifier.x=eval(n)"])
    assert recipe.variables == {"n": 5}
    assert fields(recipe, 1) == {"x": 5, "z": 5}
    assert "n: 5  # epochs\n" in recipe.text


@pytest.mark.parametrize(
    ("path", "told", "hint"),
    [
        ("BModifer.x", "the recipe has no such modifier", "did you mean BModifier"),
        ("prunning_modifiers[0].x", "the recipe has no such modifier", "did you mean pruning_modifiers[0]"),
        ("pruning_modifiers[7].x", "the recipe has no such modifier", "pruning_modifiers"),
        ("AModifier.x", "AModifier stands 2 times", "say which: pruning_modifiers[0], other_modifiers[0]"),
        ("AModifier[4].x", "there are 2 of AModifier, counted from 0", "other_modifiers[0]"),
        ("BModifier", "this is a whole modifier", "name a field"),
        ("BModifier.x.y", "there is no 'y' to set", ""),
        ("pruning_modifiers[0].y[5]", "there is no '5' to set", ""),
        ("pruning_modifiers[0].nope.k", "there is no 'nope' to set", ""),
        ("m", "the recipe has no such modifier", ""),
    ],
)
def test_what_cannot_be_set_says_why(path: str, told: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(TEXT, set_fields={path: 1})
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"--set {path}: {told}")
    assert hint in (problem.hint or "")


@pytest.mark.parametrize("text", ["BModifier.x", "=3", "x=[1"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        Recipe.load(TEXT, set_fields=[text])


def test_values_are_yaml() -> None:
    given_texts = ["a.b=1e-4", "a.c=true", "a.d=[1, x=y]", "a.e=", "a.f=eval(n + 1)", "a.g=20%"]
    assert read_fields(given_texts) == {
        "a.b": 1e-4, "a.c": True, "a.d": [1, "x=y"], "a.e": None, "a.f": "eval(n + 1)", "a.g": "20%",
    }  # fmt: skip


def test_lines_of_the_file_keep_their_numbers_in_errors() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(
            TEXT.replace("x: 1, z: eval(n)", "x: 1, z: eval(m)"), set_fields={"pruning_modifiers[0].new": "eval(q)"}
        )
    assert [(p.file, p.line, p.column) for p in caught.value.problems] == [
        ("--set new", 1, 15),
        ("<string>", 10, 31),
    ]


STAGED = "one:\n  modifiers: [!A {x: 1}]\ntwo:\n  modifiers: [!A {x: 2}, !A {x: 3}]\nd_stage:\n  m_modifiers:\n    XModifier: {x: 4}\n"


@pytest.mark.parametrize(
    ("path", "index"), [("one.A.x", 0), ("two.A[1].x", 2), ("two.modifiers[0].x", 1), ("d_stage.m_modifiers.XModifier.x", 3), ("XModifier.x", 3)]
)  # fmt: skip
def test_stages(path: str, index: int) -> None:
    recipe = Recipe.load(STAGED, set_fields={path: 9})
    assert [m.fields["x"] for m in recipe.modifiers] == [9 if i == index else i + 1 for i in range(4)]


def test_fields_from_an_anchor_are_given_anew_or_refused() -> None:
    text = "base: &b {x: 1}\nmodifiers:\n  - !A\n    <<: *b\n    y: 1\n  - !B {d: *b}\n"
    recipe = Recipe.load(text, set_fields={"A.x": 5})
    assert (fields(recipe), recipe.variables) == ({"y": 1, "x": 5}, {"base": {"x": 1}})
    with pytest.raises(RecipeError, match="an anchor shares"):
        Recipe.load(text, set_fields={"B.d.x": 5})


def test_in_json() -> None:
    text = '{\n"modifiers": {"XModifier": {"x": 1}, "YModifier": null}}\n'
    recipe = Recipe.load(text, set_fields={"XModifier.x": [2], "XModifier.z": "a", "YModifier.x": 1})
    assert [m.fields for m in recipe.modifiers] == [{"x": [2], "z": "a"}, {"x": 1}]
    assert Recipe.load(recipe.text) == recipe


PATHS = st.sampled_from(["pruning_modifiers[0].x", "pruning_modifiers[0].deep.k", "BModifier.z", "BModifier.q", "AModifier[1].w", "CModifier.text", "CModifier.u", "n"])  # fmt: skip
VALUES = st.integers() | st.text(max_size=5) | st.none() | st.lists(st.floats(allow_nan=False), max_size=2)


@given(st.dictionaries(PATHS, VALUES, max_size=4))
def test_any_values_reload_to_the_same_recipe(values: dict[str, Any]) -> None:
    if any(isinstance(v, str) and v.strip().startswith("eval(") for v in values.values()):
        return
    recipe = Recipe.load(TEXT, set_fields=values)
    assert Recipe.load(recipe.text) == recipe
    assert recipe.text.count("#") >= TEXT.count("#")
