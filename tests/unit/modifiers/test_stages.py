"""Stages in the run: epochs of the whole run where the file shows it, else one stage after another."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager, load_recipe

COMPOSED = "tests__sparseml__pytorch__optim__test_manager.py__py10.yaml"


def staged(*spans: tuple[float, float], top: str = "") -> ModifierManager:
    stages = "".join(
        f"s{i}:\n  modifiers:\n    - !EpochRangeModifier {{start_epoch: {start}, end_epoch: {end}}}\n"
        f"    - !DistillationModifier {{hardness: 0.5}}\n"
        for i, (start, end) in enumerate(spans)
    )
    return load_recipe(top + stages)


def ranges(manager: ModifierManager) -> list[tuple[float, float]]:
    return [(m.start, m.end) for m in manager.modifiers if m.kind == "training"]


def test_stages_that_count_from_their_own_0_follow_one_another() -> None:
    manager = staged((0, 4), (0, 3), (1, 2))
    assert ranges(manager) == [(0, 4), (4, 7), (8, 9)]
    assert [m.key for m in manager.modifiers][::2] == [f"s{i}/EpochRangeModifier/0" for i in range(3)]
    assert manager.max_epochs == 9


def test_stages_that_begin_where_the_one_before_ends_are_taken_as_written() -> None:
    manager = staged((0, 4), (4, 7), (8, 9))
    assert ranges(manager) == [(0, 4), (4, 7), (8, 9)]
    assert manager.max_epochs == 9


@pytest.mark.parametrize("spans", [((0, 4), (0, 3), (1, 2)), ((0, 4), (4, 7), (7, 9))])
def test_what_begins_at_once_begins_with_its_stage(spans: tuple[tuple[float, float], ...]) -> None:
    assert [m.start for m in staged(*spans).modifiers if m.kind == "distillation"] == [0, 4, 7]


def test_a_file_that_shows_both_must_say_which() -> None:
    spans = (0.0, 4.0), (0.0, 3.0), (3.0, 9.0)
    with pytest.raises(RecipeError) as caught:
        staged(*spans)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (11, 7)
    assert "stage s2 starts at 3, at or after the end of s1 (3)" in problem.message
    assert "but stage s1 starts at 0, before the end of s0 (4)" in problem.message
    assert "epochs: absolute" in str(problem.hint)
    assert ranges(staged(*spans, top="epochs: relative\n")) == [(0, 4), (4, 7), (10, 16)]
    with pytest.raises(RecipeError, match="with epochs: absolute stages come one after another"):
        staged(*spans, top="epochs: absolute\n")


def test_epochs_may_be_relative_where_they_look_absolute() -> None:
    assert ranges(staged((0, 4), (4, 7), top="epochs: relative\n")) == [(0, 4), (8, 11)]


def test_a_variable_called_epochs_may_be_a_number() -> None:
    assert ranges(staged((0, 4), (0, 3), top="epochs: 7\n")) == [(0, 4), (4, 7)]


def test_stages_without_times_show_nothing() -> None:
    manager = load_recipe("a:\n  modifiers: [!DistillationModifier]\nb:\n  modifiers: [!DistillationModifier]\n")
    assert [m.start for m in manager.modifiers] == [0, 0]
    assert manager.max_epochs == 0


def test_a_recipe_that_was_composed_and_saved(shared: Path) -> None:
    manager = load_recipe(shared / "data" / "recipe_corpus" / COMPOSED)
    assert [(type(m).__name__, m.start, m.end) for m in manager.modifiers] == [
        ("EpochRangeModifier", 0, 3),
        ("GMPruningModifier", 0, 3),
        ("ConstantPruningModifier", 5, 8),
        ("EpochRangeModifier", 3, 9),
    ]


def test_a_recipe_written_by_hand(shared: Path) -> None:
    manager = load_recipe(shared / "oracle" / "recipes" / "hand_staged.yaml")
    assert [(type(m).__name__, m.start, m.end) for m in manager.modifiers] == [
        ("EpochRangeModifier", 0, 4),
        ("MagnitudePruningModifier", 1, 3),
        ("EpochRangeModifier", 4, 7),
        ("ConstantPruningModifier", 4, -1),
        ("SetLearningRateModifier", 4, -1),
        ("QuantizationModifier", 5, -1),
    ]
