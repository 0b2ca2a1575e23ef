"""Two recipes as one with stages: what each says stays the same."""

from __future__ import annotations

import pytest

from sparsify.manager import ModifierManager, load_recipe
from sparsify.plan import conflicts
from sparsify.recipe.compose import RUN, composed, run_of, with_entries
from sparsify.recipe.recipe import Recipe

PRUNE = """
num_epochs: 3
rate: 1e-3
params: ['re:fc.*weight']
training_modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: eval(rate)}
pruning_modifiers:
  - !GMPruningModifier
    params: eval(params)
    init_sparsity: 0.0
    final_sparsity: 0.8
    start_epoch: 0.0
    end_epoch: eval(num_epochs - 1)
    update_frequency: 0.5
"""
TRANSFER = """
num_epochs: 2
rate: 1e-5
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: eval(rate)}
  - !ConstantPruningModifier {params: __ALL_PRUNABLE__}
"""
STAGED = """
rate: 0.5
epochs: absolute
first:
  modifiers:
    - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 4.0}
    - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: eval(rate)}
second:
  modifiers:
    - !EpochRangeModifier {start_epoch: 4.0, end_epoch: 6.0}
"""


def both(first: str, second: str, **options: object) -> ModifierManager:
    return ModifierManager(composed(Recipe.from_text(first), Recipe.from_text(second), **options))  # type: ignore[arg-type]


def spans(manager: ModifierManager) -> list[tuple[str, float, float]]:
    return [(type(m).__name__.removesuffix("Modifier"), m.start, m.end) for m in manager.modifiers]


def test_the_second_begins_where_the_first_ends() -> None:
    manager = both(PRUNE, TRANSFER)
    assert spans(manager) == [
        ("EpochRange", 0, 3), ("SetLearningRate", 0, -1), ("GMPruning", 0, 2),
        ("EpochRange", 3, 5), ("SetLearningRate", 3, -1), ("ConstantPruning", 3, -1),
    ]  # fmt: skip
    assert [stage.name for stage in manager.recipe.stages] == ["run_1", "run_2"]
    assert [stage.variables["rate"] for stage in manager.recipe.stages] == [1e-3, 1e-5]
    assert not conflicts(manager.modifiers, {})


def test_modifiers_are_those_of_the_two_recipes() -> None:
    manager = both(PRUNE, TRANSFER)
    apart = [m for text in (PRUNE, TRANSFER) for m in load_recipe(text).modifiers]
    assert [m.model_dump() for m in manager.modifiers] == [m.model_dump() for m in apart]


def test_it_can_be_composed_again_and_again() -> None:
    once = composed(Recipe.from_text(PRUNE), Recipe.from_text(TRANSFER))
    twice = composed(once, Recipe.from_text(TRANSFER))
    assert [run_of(stage.variables) for stage in twice.stages] == [1, 2, 3]
    manager = ModifierManager(twice)
    assert [m.start for m in manager.modifiers if type(m).__name__ == "EpochRangeModifier"] == [0, 3, 5]
    assert not conflicts(manager.modifiers, {})
    joined = composed(once, once)
    assert [(stage.name, stage.variables[RUN]) for stage in joined.stages] == [
        ("run_1", 1), ("run_2", 2), ("run_1_3", 3), ("run_2_4", 4),
    ]  # fmt: skip


def test_what_never_ends_ends_with_its_training() -> None:
    manager = both(TRANSFER, PRUNE)
    held = next(m for m in manager.modifiers if type(m).__name__ == "ConstantPruningModifier")
    assert (held.start, held.end) == (0, 2)
    assert not conflicts(manager.modifiers, {})


@pytest.mark.parametrize("relative", [False, True])
def test_stages_keep_their_own_way_of_counting(relative: bool) -> None:
    text = STAGED
    if relative:
        text = text.replace("epochs: absolute", "epochs: relative").replace(
            "4.0, end_epoch: 6.0", "0.0, end_epoch: 2.0"
        )
    for first, second, begin, other in ((text, TRANSFER, 0, 6), (TRANSFER, text, 2, 0)):
        manager = both(first, second)
        found = [(m.start, m.end) for m in manager.modifiers if type(m).__name__ == "EpochRangeModifier"]
        assert sorted(found) == sorted([(begin, begin + 4), (begin + 4, begin + 6), (other, other + 2)])
        assert [s.variables["rate"] for s in manager.recipe.stages if s.name == "first"] == [0.5]


def test_modifiers_may_be_left_out() -> None:
    manager = both(PRUNE, TRANSFER, left_out={"GMPruningModifier"})
    assert "GMPruning" not in [name for name, *_ in spans(manager)]
    after = Recipe.from_text(TRANSFER)
    everything = {"GMPruningModifier", "EpochRangeModifier", "SetLearningRateModifier"}
    assert composed(Recipe.from_text(PRUNE), after, everything) is after


def test_entries_go_into_the_first_stage() -> None:
    addition = "kept_modifiers:\n  - !ConstantPruningModifier {params: [x.weight]}\n"
    plain = with_entries(Recipe.from_text(PRUNE, "a.yaml"), addition, "and more")
    assert plain.text.startswith("# and more\n")
    assert [spec.type for spec in plain.modifiers][-1] == "ConstantPruningModifier"
    assert plain.variables == Recipe.from_text(PRUNE).variables
    staged = with_entries(Recipe.from_text(STAGED), addition, "and more")
    assert [spec.stage for spec in staged.modifiers] == ["first", "first", "first", "second"]


def test_a_layer_that_was_taken_out_before_its_training_is_no_event_in_its_middle() -> None:
    prune = "modifiers:\n  - !LayerPruningModifier {layers: [fc2]}\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n"
    manager = both(TRANSFER, prune)
    manager.check_available()
    assert next(m for m in manager.modifiers if type(m).__name__ == "LayerPruningModifier").start == 2
    both(prune, TRANSFER).check_available()
