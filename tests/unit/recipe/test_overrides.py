"""``recipe_args``: every form, and the text they are written into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import RecipeError
from sparsify.recipe.overrides import read_args
from sparsify.recipe.recipe import Recipe

TEXT = """\
# head
num_epochs: 13   # all of it
init_lr: 1.5e-4
words: [a, b] # flow
steps:
- 1  # one
- 2
# between
empty:
anchored: &x 5
other: *x
end: eval(num_epochs - 1)

modifiers:
  - !A
    x: eval(num_epochs)
    y: *x
    z: eval(end)
"""


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (None, {}),
        ("", {}),
        ({"a": 1}, {"a": 1}),
        ('{"num_epochs":12,"qat_start_epoch":7.0, "observer_epoch": 11.0}', {"num_epochs": 12, "qat_start_epoch": 7.0, "observer_epoch": 11.0}),
        ("{num_epochs: 12, lr: 1e-4}", {"num_epochs": 12, "lr": 1e-4}),
        ("a=1,b=1e-4", {"a": 1, "b": 1e-4}),
        ("a=1, b:2 ,", {"a": 1, "b": 2}),
        ("a=[1, 2],b='x,y',c=true,d=", {"a": [1, 2], "b": "x,y", "c": True, "d": None}),
        ("a=eval(max(b, 2)),b=1", {"a": "eval(max(b, 2))", "b": 1}),
        ("f=data.json", {"f": "data.json"}),
    ],
)  # fmt: skip
def test_forms(args: Any, expected: dict[str, Any]) -> None:
    assert read_args(args) == expected


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"a":\t1e-4}'), ("a.yaml", "a: 1e-4 # small\n"), ("a.yml", "a: 1e-4\n")]
)
def test_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_args(tmp_path / name) == read_args(str(tmp_path / name)) == {"a": 1e-4}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (12, "cannot be a int"),
        ("12", "expected name=value"),
        ("[1, 2]", "must map names to values"),
        ("null=", "recipe_args: the recipe has no variable 'null'"),
        ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        ('{"a": 1', "not valid YAML"),
        ("{bad json", "give a dict, JSON text such as"),
        ("a=1,a=2", "given twice"),
        ("a=[1", "not valid YAML"),
        ("nix.json", "cannot read recipe_args"),
        ({"num_epoch": 3}, "did you mean num_epochs?"),
        ({"zzzz": 3}, "variables of this recipe: anchored, empty, end"),
        ({"modifiers": 3}, "no variable 'modifiers'"),
        ({3: 3}, "no variable 3"),
        ({"num_epochs": object()}, "object values cannot be written"),
        ({"num_epochs": "eval(nope)"}, "unknown variable 'nope'"),
    ],
)
def test_refused(args: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe_args|variable") as caught:
        Recipe.load(TEXT, args)
    assert words in str(caught.value)


def test_several_unknown_names_come_at_once_with_the_files_own_problems() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load("a: eval(q)\nmodifiers: [!A]\n", {"x": 1, "y": 2})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_epochs", 3),
        ("num_epochs", 0.5),
        ("words", ["c"]),
        ("words", "on"),
        ("words", "a: b # c"),
        ("steps", [7]),
        ("steps", 7),
        ("empty", "x"),
        ("empty", {"k": [1, None]}),
        ("anchored", 9),
        ("other", 8),
        ("end", "eval(num_epochs / 2)"),
    ],
)
def test_written_at_the_variables_place(name: str, value: Any) -> None:
    recipe = Recipe.load(TEXT, {name: value})
    expected = 6.5 if name == "end" else value
    assert recipe.variables[name] == expected
    assert Recipe.load(recipe.text) == recipe
    assert recipe.text.count("\n") == TEXT.count("\n")
    for comment in ("# head", "# all of it", "# flow", "# between"):
        assert comment in recipe.text
    changed = [line for line in TEXT.splitlines() if line not in recipe.text.splitlines()]
    assert len(changed) <= (2 if name == "steps" else 1)


def test_aliases_follow_an_overridden_anchor() -> None:
    recipe = Recipe.load(TEXT, {"anchored": 9})
    assert "anchored: &x 9\n" in recipe.text
    assert recipe.variables["other"] == recipe.modifiers[0].fields["y"] == 9


def test_several_at_once_keep_comments_and_expressions() -> None:
    recipe = Recipe.load(TEXT, "num_epochs=4,init_lr=1e-5")
    assert "num_epochs: 4   # all of it\ninit_lr: 1e-05\n" in recipe.text
    assert "x: eval(num_epochs)" in recipe.text
    assert recipe.modifiers[0].fields["z"] == 3


def test_stage_variables_are_set_wherever_they_stand() -> None:
    text = "n: 1\na:\n  n: 2\n  modifiers: [!A {x: eval(n)}]\nb:\n  modifiers: [!A {x: eval(n)}]\n"
    recipe = Recipe.load(text, {"n": 7})
    assert [s.modifiers[0].fields["x"] for s in recipe.stages] == [7, 7]


def test_fields_of_the_same_name_are_left_alone() -> None:
    assert Recipe.load("x: 1\nmodifiers: [!A {x: 2}]\n", {"x": 9}).modifiers[0].fields == {"x": 2}


def test_inside_json(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{\n\t"n": [1,\n\t2],\n\t"s": "a",\n\t"modifiers": {"A": {"x": "eval(n)"}}\n}')
    recipe = Recipe.load(path, {"n": 5, "s": "x, y"})
    assert (recipe.variables, recipe.modifiers[0].fields) == ({"n": 5, "s": "x, y"}, {"x": 5})
    assert Recipe.load(recipe.text) == recipe


def test_a_variable_and_its_part_taken_from_an_anchor_cannot_both_be_set() -> None:
    text = "base: &b {x: 1}\ns:\n  <<: *b\n  modifiers: [!A {x: eval(x)}]\n"
    assert Recipe.load(text, {"x": 3}).modifiers[0].fields == {"x": 3}
    with pytest.raises(RecipeError, match="shared by an anchor"):
        Recipe.load(text, {"x": 3, "base": 1})


LAYOUTS = [
    "v: 1 # c\n",
    "v: 'a b'\n",
    'v: "a\\n\\\n  b"\n',
    "v: |\n  text\n  more\n",
    "v: >-\n  text\n",
    "v:\n- 1\n- 2\n",
    "v:   # c\n  - 1\n  # d\n  - 2\n",
    "v: &q\n  - 1\n",
    "v: &q # c\n  k: 1\n",
    "v: {a: 1,\n    b: 2} # c\n",
    "v:\n",
    "v: ~\n",
    "v: !!float 1\n",
    "v: !!float &q 1\n",
    "v: &q !!seq [1]\n",
    "v: several\n  lines\n",
    "v:\n  below\n",
    "? v\n: 1\n",
    '"v": 1\n',
    "v: &q\n",
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [3, "word", [1, {"a": None}], "x: y"])
def test_every_layout_takes_every_value(layout: str, value: Any) -> None:
    text = f"# a\nu: 0\n{layout}# b\nw: 2\nmodifiers: [!A {{x: eval(w)}}]\n"
    recipe = Recipe.load(text, {"v": value})
    assert recipe.variables == {"u": 0, "v": value, "w": 2}
    assert Recipe.load(recipe.text) == recipe
    assert recipe.text.startswith("# a\nu: 0\n")
    assert recipe.text.endswith("# b\nw: 2\nmodifiers: [!A {x: eval(w)}]\n")


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.integers() | st.text() | st.lists(st.booleans(), max_size=3)))
def test_any_value_reloads_to_the_same_recipe(args: dict[str, Any]) -> None:
    if any(isinstance(v, str) and v.strip().startswith("eval(") for v in args.values()):
        return
    recipe = Recipe.load("a: 1 # x\nb: [2]\nmodifiers: [!A {x: eval(a)}]\n", args)
    assert {name: recipe.variables[name] for name in args} == args
    assert Recipe.load(recipe.text) == recipe
    assert "# x\n" in recipe.text
