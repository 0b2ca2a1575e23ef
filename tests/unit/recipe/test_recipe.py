"""The recipe as a whole: loading, saving, metadata, those of the corpus, and mutated text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsify.modifiers  # noqa: F401
from sparsify.errors import InputError, RecipeError
from sparsify.modifiers.registry import build
from sparsify.recipe.recipe import Recipe
from sparsify.zoo.registry import packaged

STAGED = """\
__metadata__: {by: me}
n: 2
first:
  __metadata__:
    level: 0
    note: eval(nothing)
  first_modifiers:
    - !A {x: eval(n)}
second:
  n: 3
  modifiers:
    - !A
      x: eval(n)
    - !B
"""


def test_staged() -> None:
    recipe = Recipe.load(STAGED)
    assert [(s.name, [m.type for m in s.modifiers]) for s in recipe.stages] == [
        ("first", ["A"]),
        ("second", ["A", "B"]),
    ]
    assert [m.path for m in recipe.modifiers] == [
        "first.first_modifiers[0]",
        "second.modifiers[0]",
        "second.modifiers[1]",
    ]
    assert recipe.metadata == {"by": "me", "first": {"level": 0, "note": "eval(nothing)"}}


def test_plain_has_one_stage() -> None:
    recipe = Recipe.load("n: 1\nmodifiers: [!A]\n")
    assert [s.name for s in recipe.stages] == ["default"]
    assert recipe.stages[0].variables == recipe.variables == {"n": 1}
    assert recipe.modifiers[0].fields == {}


def test_hash_is_of_the_text() -> None:
    recipe = Recipe.load(STAGED)
    assert recipe.sha256 == hashlib.sha256(STAGED.encode()).hexdigest()
    assert Recipe.load(STAGED, "n=4").sha256 != recipe.sha256


def test_errors_carry_file_line_column_path_and_hint() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_text("num: 1\nmodifiers:\n  - !A\n    x: eval(nun * 2)\n", origin="my.yaml")
    error = caught.value
    assert (error.file, error.line, error.column, error.path) == ("my.yaml", 4, 13, "modifiers[0].x")
    assert error.hint == "did you mean num?"


def test_save_and_load(tmp_path: Path) -> None:
    recipe = Recipe.load(STAGED, {"n": 9})
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path) == recipe
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match="No space left"):
        Recipe.load(STAGED).save(path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("recipe.yaml", "old")]


def test_the_seeds_recipe(shared: Path) -> None:
    seed = next(shared.glob("seeds/002*.txt")).read_text()
    text = seed.split("```yaml\n", 1)[1].split("```", 1)[0]
    args = '{"num_epochs":12,"qat_start_epoch":7.0, "observer_epoch": 11.0}'
    ours = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"
    for given_args in (None, args):
        theirs, packaged_one = Recipe.load(text, given_args), Recipe.load(ours, given_args)
        assert {**theirs.variables, "metrics": None} == packaged_one.variables
        key = {m.type: m.fields for m in theirs.modifiers}
        assert key == {m.type: m.fields for m in packaged_one.modifiers}
    assert key["EpochRangeModifier"]["end_epoch"] == 12
    assert key["LearningRateFunctionModifier"]["init_lr"] == 1.5e-4


SAMPLES = [
    STAGED,
    "n: &n 3 # c\nl: [1, eval(n), {a: b}]\nmodifiers:\n  - !A\n    x: eval(max(n, 2))\n    y: *n\n  - !B {z: 1e-4, d: {eval(n): [a]}}\n",
    '{"v": 1.5, "m_modifiers": {"A": {"x": "eval(v * 2)"}}}\n',
    "<!-- x -->\n---\na: 1\nmodifiers: [!A]\n---\n# T\n",
    "base: &b {x: 1}\ns:\n  <<: *b\n  y: eval(x)\n  modifiers: [!A {k: 'q', v: \"\\u00e9\"}]\n",
]  # fmt: skip
PIECES = st.sampled_from(
    [*"\n:-!&*<>|%@`\"'{}[],#?~ \t\\e0", "eval(", ")", "<<: ", "---\n", "modifiers:", "!A", "*n", "&n ", "!!float ",
     "\\x", "  ", "\r\n", "\ufeff", "\x85", "\x00", "\U0001f600", "9" * 500, "1e999", ".nan", "[" * 70, "eval(n)"]
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 6), PIECES | st.text(max_size=3)), min_size=1, max_size=5
)


def attempt(source: str | Path, args: str | None = None) -> Recipe | RecipeError:
    try:
        return Recipe.load(source, args)
    except RecipeError as error:
        return error


def shown(recipe: Recipe) -> str:
    """What modifiers hold, as text: NaN equals itself there."""
    return repr([(m.stage, m.type, m.path, m.fields) for m in recipe.modifiers])


def mutated(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, length, piece in edits:
        start = at % (len(text) + 1)
        text = text[:start] + piece + text[start + length :]
    return text + "\n"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), EDITS, st.sampled_from([None, "n=5", "x=[1]", '{"v": "a b", "y": null}', "a=eval(n)"]))
def test_mutated_text_loads_to_itself_or_is_a_recipe_error(
    text: str, edits: list[tuple[int, int, str]], args: str | None
) -> None:
    recipe = attempt(mutated(text, edits), args)
    if isinstance(recipe, RecipeError):
        assert all(p.message for p in recipe.problems)
        return
    again = Recipe.load(recipe.text)
    assert shown(again) == shown(recipe)
    assert len(recipe.sha256) == 64


def test_documented_recipes_load_and_build() -> None:
    text = (packaged().parent / "docs" / "recipes.md").read_text()
    blocks = [block.split("```", 1)[0] for block in text.split("```yaml\n")[1:]]
    built = [build(Recipe.load(block)) for block in blocks]
    assert len(built) == 5
    assert [type(m).__name__ for m in built[0]][-1] == "QuantizationModifier"
    assert {type(m).__name__ for m in built[2]} >= {"LearningRateFunctionModifier", "SetWeightDecayModifier"}
    assert [m.start for m in built[3]] == [0.0, 0.0, 2.0, 2.0]
