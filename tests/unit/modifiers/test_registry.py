"""Registration, and every mistake of a recipe at its place, all at once."""

from __future__ import annotations

import pytest

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers import registry
from sparsify.modifiers.base import Modifier

BAD = """\
num_epochs: 3
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epoch)}
  - !GMPruningModifer
    params: [a]
  - !MagnitudePruningModifier
    params: __ALL_PRUNABLE__
    final_sparsit: 0.8
    init_sparsity: 2.0
    final_sparsity: 0.8
    start_epoch: 1.0
    end_epoch: 2.0
    update_frequency: 0.5
  - !SetLearningRateModifier
    learning_rat: 0.1
"""


def problems(text: str) -> list[tuple[int | None, int | None, str, str]]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(text)
    return [(p.line, p.column, p.message, p.hint or "") for p in caught.value.problems]


def test_mistakes_of_expressions_names_fields_and_values_come_together_in_order() -> None:
    found = problems(BAD)
    assert [line for line, *_ in found] == [3, 4, 8, 9, 15]
    text = [f"{message} | {hint}" for _, _, message, hint in found]
    assert "num_epoch" in text[0]
    assert "num_epochs" in text[0].split("|")[1]
    assert "unknown modifier 'GMPruningModifer' | did you mean GMPruningModifier" in text[1]
    assert "has no field 'final_sparsit' | did you mean final_sparsity?" in text[2]
    assert "init_sparsity" in text[3]
    assert "got 2.0" in text[3]
    assert "has no field 'learning_rat' | did you mean learning_rate?" in text[4]


def test_a_rule_over_several_fields_is_placed_at_the_first_it_speaks_of() -> None:
    text = BAD.split("  - !GMP")[0].replace("num_epoch)", "num_epochs)")
    text += "  - !EpochRangeModifier {start_epoch: 2.0, end_epoch: 1.0}\n"
    ((line, column, message, _),) = problems(text)
    assert (line, column) == (4, 55)
    assert "end_epoch 1 is before start_epoch 2" in message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GMPruningModifer", "did you mean GMPruningModifier?"),
        ("gmpruning", "did you mean GMPruningModifier?"),
        ("MagnitudPruningModifier", "did you mean MagnitudePruningModifier?"),
        ("SetLRModifier", "did you mean"),
        ("FakeModifier", "`sparsify-recipe list` shows"),
        ("Xyz", "`sparsify-recipe list` shows"),
    ],
)
def test_near_names_are_near_in_what_tells_them_apart(name: str, told: str) -> None:
    ((_, _, _, hint),) = problems(f"modifiers:\n  - !{name}\n")
    assert hint.startswith(told)


def test_a_value_of_the_wrong_kind_says_what_it_got() -> None:
    ((line, column, message, _),) = problems(
        "modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: true}\n"
    )
    assert (line, column) == (2, 55)
    assert "got true" in message


def test_a_name_cannot_be_taken_twice_nor_by_another_kind_of_class() -> None:
    with pytest.raises(ValueError, match="registered already"):

        @registry.register("GMPruningModifier")
        class Other(Modifier):
            """Another class."""

    with pytest.raises(TypeError, match="must subclass"):
        registry.register("Thing")(int)  # type: ignore[type-var]
    assert "Thing" not in registry.names()


def test_a_third_partys_modifier_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def load(self) -> None:
            @registry.register("PluginModifier")
            class Plugin(Modifier):
                """From elsewhere."""

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()])
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    manager = load_recipe("modifiers:\n  - !PluginModifier {start_epoch: 0.0}\n")
    assert type(manager.modifiers[0]).__name__ == "Plugin"
