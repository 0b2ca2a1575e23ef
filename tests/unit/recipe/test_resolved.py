"""Recipes written out."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import SparsifyError
from sparsify.manager import load_recipe
from sparsify.plan import epochs_of, timeline
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.resolved import entry_lines, resolved
from tests.unit.analysis.schedules import WHOLE

STAGED = """\
lr: 0.5
first:
  n: 2
  modifiers:
    - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(n)}
"second: part":
  a_modifiers:
    - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: eval(lr)}
    - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}
"""


def test_how_stages_count_and_run_is_kept() -> None:
    stages = "".join(
        f"s{i}:\n  run_type: train\n  modifiers: [!EpochRangeModifier {{start_epoch: {i}.0, end_epoch: {i + 1}.0}}]\n"
        for i in range(2)
    )
    text = resolved(Recipe.from_text(f"epochs: relative\n{stages}"))
    assert text.startswith("epochs: relative\ns0:\n  run_type: train\n  modifiers:\n")
    assert load_recipe(text).max_epochs == 3
    assert load_recipe(resolved(Recipe.from_text(stages))).max_epochs == 2


def test_variables_become_values() -> None:
    text = resolved(Recipe.from_text(WHOLE))
    assert "eval" not in text
    assert "num_epochs" not in text
    assert text.startswith("modifiers:\n  - !EpochRangeModifier\n    start_epoch: 0.0\n    end_epoch: 6\n")


@pytest.mark.parametrize("text", [WHOLE, STAGED])
def test_what_is_written_does_the_same(text: str) -> None:
    first, second = load_recipe(text), load_recipe(resolved(Recipe.from_text(text)))
    assert [s.name for s in first.recipe.stages] == [s.name for s in second.recipe.stages]
    assert timeline(first.modifiers, 7) == timeline(second.modifiers, 7)


def test_the_corpus_survives_being_written_out(shared: Path) -> None:
    tried = 0
    for path in sorted((shared / "data" / "recipe_corpus").glob("*.*")):
        try:
            first = load_recipe(path)
        except SparsifyError:
            continue
        second = load_recipe(resolved(first.recipe))
        steps = range(0, epochs_of(first.modifiers) * 3, max(1, epochs_of(first.modifiers) // 10))
        assert timeline(first.modifiers, 3, steps=steps) == timeline(second.modifiers, 3, steps=steps), path
        tried += 1
    assert tried > 20


def test_defaults_are_comments() -> None:
    lines = entry_lines("X", {"a": 1}, defaults={"b": "two words"})
    assert lines == ["  - !X", "    a: 1", '    # b: "two words"']


def test_long_lists_and_mappings_get_a_line_for_each_item() -> None:
    names = [f"encoder.layer.{i}.weight" for i in range(8)]
    assert entry_lines("X", {"params": names})[1:3] == ["    params:", "      - encoder.layer.0.weight"]
    lines = entry_lines("X", {"final_sparsity": {0.5: names, 0.9: ["b"]}})
    assert lines[-1] == "      0.9: [b]"
