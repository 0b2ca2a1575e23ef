"""Variables and fields: evaluated, chained, scoped, placed and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import RecipeError
from sparsify.recipe.recipe import Mark, ModifierSpec, Recipe


def fields(text: str) -> dict[str, Any]:
    return Recipe.load(text).stages[0].modifiers[0].fields


def errors(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_text(text, "f.yaml")
    return [str(p) for p in caught.value.problems]


def test_variables_chain_in_any_order() -> None:
    recipe = Recipe.load("c: eval(b + 1)\nb: eval(a * 2)\na: 3\nmodifiers: [!A {x: eval(c)}]\n")
    assert recipe.variables == {"c": 7, "b": 6, "a": 3}
    assert list(recipe.variables) == ["c", "b", "a"]
    assert recipe.modifiers[0].fields == {"x": 7}


def test_lists_strings_and_null_pass_through_chains() -> None:
    text = "q: eval(p)\np: [a, b]\ns: eval(t)\nt: word\nn: eval(m)\nm: null\nmodifiers: [!A {x: eval(q), n: eval(n)}]\n"
    recipe = Recipe.load(text)
    assert recipe.variables["q"] == ["a", "b"]
    assert recipe.variables["s"] == "word"
    assert recipe.modifiers[0].fields == {"x": ["a", "b"], "n": None}


def test_copies_of_a_list_are_separate() -> None:
    recipe = Recipe.load("p: [a]\nmodifiers: [!A {x: eval(p)}, !A {x: eval(p)}]\n")
    recipe.modifiers[0].fields["x"].append("b")
    assert recipe.modifiers[1].fields["x"] == recipe.variables["p"] == ["a"]


def test_eval_reaches_lists_values_and_keys() -> None:
    text = "s: 0.8\nl: [eval(s), {k: eval(s / 2)}]\nmodifiers:\n  - !A\n    d: {eval(s): [eval(s)], 0.9: x}\n    l: eval(l)\n"
    assert fields(text) == {"d": {0.8: [0.8], 0.9: "x"}, "l": [0.8, {"k": 0.4}]}


def test_anchors_resolve() -> None:
    assert fields("n: &n 3\nmodifiers: [!A {x: *n, y: eval(n * 2)}]\n") == {"x": 3, "y": 6}


def test_stages_see_globals_and_shadow_them() -> None:
    text = "a: 2\nb: 5\ns1:\n  b: eval(a * 10)\n  modifiers: [!A {x: eval(b)}]\ns2:\n  modifiers: [!A {x: eval(b)}]\n"
    recipe = Recipe.load(text)
    assert [s.modifiers[0].fields["x"] for s in recipe.stages] == [20, 5]
    assert recipe.stages[0].variables == {"a": 2, "b": 20}
    assert recipe.stages[0].modifiers[0].stage == "s1"
    assert recipe.variables == {"a": 2, "b": 5}


def test_marks_lead_to_every_part() -> None:
    spec: ModifierSpec = Recipe.from_text("modifiers:\n  - !A\n    x: {k: [1, 2]}\n", "f.yaml").modifiers[0]
    assert spec.mark == Mark("f.yaml", 2, 5)
    assert spec.marks["x", "__key__"] == Mark("f.yaml", 3, 5)
    assert spec.marks[("x",)] == Mark("f.yaml", 3, 8)
    assert spec.marks["x", "k", 1] == Mark("f.yaml", 3, 16)
    assert spec.marks["x", "k", "__key__"] == Mark("f.yaml", 3, 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nmodifiers: [!A {x: eval(2 * b)}]\n", "f.yaml:2:29: unknown variable 'b'"),
        ("a: 1\nmodifiers: [!A {x: 'eval(2 * b)'}]\n", "f.yaml:2:30: unknown variable 'b'"),
        ("num: 1\nmodifiers:\n  - !A\n    x: eval(nun + 1)\n", "did you mean num?"),
        ("v: eval(num + 1)\nnumm: 1\nmodifiers: [!A]\n", "did you mean numm?"),
        ("modifiers: [!A {x: eval(1) + 2}]\n", "must be the whole value"),
        ("modifiers: [!A {x: eval(max(1, 2))}]\n", "quote an expression that holds a comma"),
        ("a: eval(b)\nb: eval(c)\nc: eval(a)\nmodifiers: [!A]\n", "in a circle: a -> b -> c -> a"),
        ("a: eval(a)\nmodifiers: [!A]\n", "in a circle: a -> a"),
        ("modifiers: [!A {x: eval(q)}]\n", "define it, or give it:  --recipe_args q=...  (there are no variables)"),
        ("modifiers: [!A {x: [1, {q}]}]\n", "f.yaml:1:24: {q} is a placeholder of a template"),
        ("a: 1\nmodifiers: [!A {d: {1: a, eval(a): b}}]\n", "duplicate key 1"),
        ("modifiers: [!A {1: 2}]\n", "'1' cannot be a key here"),
        ("modifiers: [!A {? [a] : 2}]\n", "a list or mapping cannot be a key"),
        ("l: [1]\nmodifiers: [!A {d: {eval(l): 2}}]\n", "cannot be a key here"),
        ("modifiers: [!A {x: !B {}}]\n", "tag '!B' cannot stand here"),
        ("modifiers: [!A {x: !B 1}]\n", "tag '!B' cannot stand here"),
        ("modifiers: [!A {x: !!set {a}}]\n", "cannot stand here"),
    ],
)
def test_refused_with_a_place(text: str, expected: str) -> None:
    assert expected in errors(text)[0]


def test_one_bad_variable_is_reported_once_however_often_it_is_used() -> None:
    text = "a: eval(1 / 0)\nb: eval(a)\nmodifiers: [!A {x: eval(a)}, !A {x: eval(b + zz)}]\n"
    assert len(errors(text)) == 1


def test_all_problems_come_at_once_in_file_order() -> None:
    found = errors("a: eval(q)\nmodifiers:\n  - !A {x: eval(r)}\n  - 3\n  - !B {y: 1, y: [eval(z)]}\n")
    assert [line.split(":")[1] for line in found] == ["1", "3", "4", "5"]


def test_expansion_through_variables_is_bounded() -> None:
    lines = ["a0: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: [{', '.join([f'eval(a{i - 1})'] * 10)}]" for i in range(1, 10)]
    assert "variables expanded" in errors("\n".join([*lines, "modifiers: [!A]", ""]))[0]


def test_nesting_through_variables_is_bounded() -> None:
    lines = ["a0: [1]"] + [f"a{i}: [eval(a{i - 1})]" for i in range(1, 1500)]
    assert "nested deeper" in errors("\n".join([*lines, "modifiers: [!A]", ""]))[0]


def test_long_chains_need_no_recursion() -> None:
    lines = ["a0: 0"] + [f"a{i}: eval(a{i - 1} + 1)" for i in range(1, 2000)]
    recipe = Recipe.load("\n".join([*reversed(lines), "modifiers: [!A]", ""]))
    assert recipe.variables["a1999"] == 1999


@given(st.permutations([("a", "1"), ("b", "eval(a + 1)"), ("c", "eval(a + b)"), ("d", "eval(c * 2)")]))
def test_order_of_variables_does_not_matter(lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}: {value}\n" for name, value in lines)
    assert Recipe.load(text + "modifiers: [!A]\n").variables == {"a": 1, "b": 2, "c": 3, "d": 6}
