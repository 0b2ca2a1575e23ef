"""Structure of a recipe: groups, entries, stages, variables, and what is refused."""

from __future__ import annotations

import pytest

from sparsify.recipe.nodes import Mark, SourceText
from sparsify.recipe.parse import Document, parse


def read(text: str) -> Document:
    return parse(SourceText(text, "f.yaml", "f.yaml"))


def only(text: str) -> str:
    problems = read(text).problems
    assert len(problems) == 1, problems
    return str(problems[0])


@pytest.mark.parametrize(
    "text",
    [
        "m_modifiers:\n  - !A\n    x: 1.5\n  - !B\n",
        "m_modifiers:\n  - !A\n      x: 1.5\n  - !B\n",
        "m_modifiers: [!A {x: 1.5}, !B {}]\n",
        "m_modifiers: [!A {x: 1.5}, !B ]\n",
        "m_modifiers:\n- !pytorch.A {x: 1.5}\n- !B\n",
        "m_modifiers:\n  A: {x: 1.5}\n  B:\n",
        '{"m_modifiers": {"A": {"x": 1.5}, "B": null}}\n',
        "- !A {x: 1.5}\n- !B\n",
    ],
)
def test_two_entries_in_every_style(text: str) -> None:
    document = read(text)
    assert document.problems == []
    assert [e.type for e in document.root.entries] == ["A", "B"]
    assert document.root.entries[0].body is not None


def test_paths_and_places() -> None:
    entries = read("v: 1\na_modifiers:\n  - !A\n    x: 1\nb_modifiers: [!B {}]\n").root.entries
    assert [(e.path, e.mark) for e in entries] == [
        ("a_modifiers[0]", Mark("f.yaml", 3, 5)),
        ("b_modifiers[0]", Mark("f.yaml", 5, 15)),
    ]


def test_a_single_modifier_is_a_recipe() -> None:
    assert [e.type for e in read("!A\n  x: 1\n").root.entries] == ["A"]


def test_json_can_repeat_a_modifier_in_a_list() -> None:
    text = '{"modifiers": [{"XModifier": {"a": 1}}, {"XModifier": {"a": 2}}]}\n'
    assert [e.type for e in read(text).root.entries] == ["XModifier", "XModifier"]


def test_every_other_key_is_a_variable() -> None:
    document = read("version: 1.1.0\nlr: 1\nmodifiers: [!A]\n__metadata__: {a: 1}\nextra: {a: [1]}\n")
    assert list(document.root.variables) == ["version", "lr", "extra"]
    assert document.root.metadata is not None


def test_stages_in_file_order_with_variables() -> None:
    document = read("n: 1\nlate:\n  k: 2\n  modifiers: [!A]\nearly:\n  x_modifiers: [!B]\n")
    assert [s.name for s in document.stages] == ["late", "early"]
    assert list(document.stages[0].variables) == ["k"]
    assert document.stages[1].entries[0].path == "early.x_modifiers[0]"


def test_merge_keys_fill_in_what_is_not_there() -> None:
    document = read("base: &b {x: 1, y: 2}\nst:\n  <<: *b\n  y: 3\n  modifiers: [!A]\n")
    assert sorted(document.stages[0].variables) == ["x", "y"]
    assert document.problems == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no modifiers found"),
        ("a: 1\n", "no modifiers found"),
        ("modifiers: []\n", "no modifiers found"),
        ("just words\n", "a recipe is a mapping"),
        ("modifiers: 3\n", "expected a list"),
        ("modifiers: [3]\n", "needs a tag"),
        ("modifiers: [{x: 1, y: 2}]\n", "needs a tag"),
        ("modifiers: [{x: 1}]\n", "needs a tag"),
        ("modifiers: [!A 3]\n", "needs a mapping of fields"),
        ("modifiers: [!A [3]]\n", "needs a mapping of fields"),
        (
            "modifiers: [!!python/object/apply:os.system ['true']]\n",
            "tag '!!python/object/apply:os.system' is no modifier's",
        ),
        ("modifiers: {A: !B {}}\n", "has a tag"),
        ("modifiers: [!A]\nlr: [1]\nlr: [2]\n", "first given in line 2"),
        ("modifiers: [!A]\nmodifiers: [!B]\n", "duplicate key 'modifiers'"),
        ("modifiers: [!A.b]\n", "no modifier tag"),
        ("st: {run_type: trian, modifiers: [!A]}\n", "did you mean train?"),
        ("stages: {a: {modifiers: [!A]}, b: 3}\n", "stage 'b' must be a mapping"),
        ("modifiers: [!A]\n1: 2\n", "a name is expected"),
        ("modifiers: [!A]\n? [a]\n: 2\n", "a name is expected"),
        ("modifiers: [!A]\ns:\n  modifiers: [!B]\n", "both at the top level and in stages (s)"),
    ],
)
def test_refused_with_a_place(text: str, words: str) -> None:
    message = only(text)
    assert words in message
    assert message.startswith("f.yaml:")


def test_all_problems_come_at_once() -> None:
    text = "x: [1]\nx: 2\nmodifiers:\n  - 3\n  - !A 4\n1: 2\n"
    assert [p.line for p in read(text).problems] == [2, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modifiers:\n  - !A:\n      x: 1\n", "f.yaml:2:5: the colon after !A"),
        ("foo: !A: {x: 1}\n", "f.yaml:1:6: the colon after !A"),
        ("pruning: [!A {x: 1}]\n", "f.yaml:1:1: modifiers stand under 'pruning'"),
        ("pruning_modifier: [!A {x: 1}]\n", "rename pruning_modifier to pruning_modifiers"),
        (
            "modifiers: [!A {x: 1}]\nlr: 1\nlr: 2\n",
            "f.yaml:3:1: lr is given twice: this value holds, not that of line 2",
        ),
    ],
)
def test_read_in_spite_of_it_with_a_warning(text: str, words: str) -> None:
    document = read(text)
    assert document.problems == []
    assert [e.type for e in document.entries] == ["A"]
    (warning,) = document.warnings
    assert words in str(warning)


def test_a_modifier_may_stand_at_the_top() -> None:
    document = read("foo: !A {x: 1}\nmodifiers: [!B]\n")
    assert [(e.type, e.path) for e in document.entries] == [("A", "foo"), ("B", "modifiers[0]")]
    assert document.problems == document.warnings == []


def test_dict_style_with_stages() -> None:
    text = (
        "sparsity: 0.5\n"
        "first_stage:\n  run_type: oneshot\n  x_modifiers:\n    AModifier: {x: 1}\n    BModifier:\n"
        "second_stage:\n  y_modifiers: {AModifier: {x: 2}}\n"
    )
    document = read(text)
    assert document.problems == document.warnings == []
    assert [(s.name, [e.path for e in s.entries]) for s in document.stages] == [
        ("first_stage", ["first_stage.x_modifiers.AModifier", "first_stage.x_modifiers.BModifier"]),
        ("second_stage", ["second_stage.y_modifiers.AModifier"]),
    ]
    assert document.stages[0].run_type is not None
    assert list(document.stages[0].variables) == []


def test_a_container_of_stages_is_taken_apart() -> None:
    document = read("stages:\n  b: {modifiers: [!A]}\n  a: {n: 1, x_modifiers: [!B]}\n")
    assert [(s.name, [e.type for e in s.entries]) for s in document.stages] == [("b", ["A"]), ("a", ["B"])]
    assert document.problems == []


def test_a_modifier_in_the_stage_itself_is_one_of_the_stage() -> None:
    document = read("s_stage:\n  AModifier: {x: 1}\n")
    assert [(e.type, e.path) for e in document.stages[0].entries] == [("AModifier", "s_stage.AModifier")]
    assert "stands in the stage itself" in document.warnings[0].message


def test_what_is_no_recipe_is_told_by_its_keys() -> None:
    assert "keys cadence, model" in only("cadence: weekly\nmodel: x\n")


@pytest.mark.parametrize("word", ["", "null", "~", "Null", "NULL"])
def test_a_group_or_a_modifier_without_anything_may_say_null(word: str) -> None:
    document = read(f"a_modifiers: {word}\nb_modifiers:\n  A: {word}\n")
    assert not document.problems
    assert [(entry.type, entry.body) for entry in document.entries] == [("A", None)]


@pytest.mark.parametrize("word", ["'null'", "nothing", "0", "''"])
def test_a_word_is_no_group(word: str) -> None:
    assert "expected a list of modifiers" in only(f"a_modifiers: {word}\nb_modifiers: [!B ]\n")
