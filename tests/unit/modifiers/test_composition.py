"""Which zeros the next training of a compressed model holds."""

from __future__ import annotations

import pytest
from torch import nn

from sparsify.manager import load_recipe
from sparsify.modifiers.composition import hold, zeros_to_hold
from sparsify.select import ALL_PRUNABLE

GM = "  - !GMPruningModifier {{params: {}, init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0, end_epoch: 2}}\n"
HEAD = "modifiers:\n"
BOTH = HEAD + GM.format("[fc1.weight, fc2.weight]")
NOTHING = HEAD + "  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n"
ONE = HEAD + GM.format("[fc1.weight]")
HELD = HEAD + "  - !ConstantPruningModifier {params: [fc1.weight]}\n"
OTHER = HEAD + GM.format("[gone.weight]")
LAYERS = HEAD + "  - !LayerPruningModifier {layers: [fc2]}\n"


def model() -> nn.Module:
    made = nn.Module()
    made.fc1, made.fc2 = nn.Linear(4, 4), nn.Linear(4, 4)
    return made


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (BOTH, NOTHING, (ALL_PRUNABLE,)),
        (HELD, NOTHING, (ALL_PRUNABLE,)),
        (BOTH, ONE, ("fc2.weight",)),
        (BOTH, HELD, ("fc2.weight",)),
        (BOTH, BOTH, ()),
        (NOTHING, BOTH, ()),
        (NOTHING, NOTHING, ()),
        (LAYERS, NOTHING, ()),
        (OTHER, ONE, ()),
    ],
)
def test_what_the_next_recipe_does_not_speak_of_is_held(before: str, now: str, found: tuple[str, ...]) -> None:
    assert zeros_to_hold(load_recipe(before).modifiers, load_recipe(now).modifiers, model()) == found


def test_the_recipe_that_holds_them() -> None:
    (modifier,) = load_recipe(hold(["fc1.weight", "fc2.weight"])).modifiers
    assert modifier.matched(model()) == ("fc1.weight", "fc2.weight")
    assert (modifier.start, modifier.end) == (0, -1)


def test_a_manager_that_comes_after_another() -> None:
    before = load_recipe(BOTH).recipe
    manager = load_recipe(NOTHING).after(before, model())
    assert [type(m).__name__ for m in manager.modifiers] == ["EpochRangeModifier", "ConstantPruningModifier"]
    assert [stage.name for stage in manager.record.stages] == ["run_1", "run_2"]
    assert load_recipe(manager.record.text).max_epochs == 3
    assert load_recipe(ONE).after(load_recipe(NOTHING).recipe, model()).recipe.text == ONE
