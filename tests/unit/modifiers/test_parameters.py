from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers.parameters import GradualParamModifier, SetParamModifier
from tests.unit.modifiers.pruning_world import make_mlp, play

BIAS = "classifier.bias"


def gradual(**fields: Any) -> GradualParamModifier:
    common = {"params": [BIAS], "init_val": 1.0, "final_val": 3.0, "start_epoch": 1.0, "end_epoch": 3.0}
    return GradualParamModifier(**(common | fields))


def course(modifier: Any, epochs: int = 4, name: str = BIAS) -> list[Tensor]:
    """The parameter once a step's events have fired."""
    model, seen = make_mlp(), []
    play(modifier, model, epochs=epochs, before=lambda step, run: seen.append(model.get_parameter(name).clone()))
    return [*seen, model.get_parameter(name).detach().clone()]


class TestSet:
    def test_a_number_fills_and_training_moves_on(self) -> None:
        seen = course(SetParamModifier(params=[BIAS], val=0.25, start_epoch=1.0))
        assert not torch.equal(seen[9], torch.full((4,), 0.25))
        assert torch.equal(seen[10], torch.full((4,), 0.25))
        assert not torch.equal(seen[11], seen[10])

    def test_a_list_has_the_parameters_shape(self) -> None:
        seen = course(SetParamModifier(params=[BIAS], val=[1, 2.5, 3, 4]))
        assert seen[0].tolist() == [1.0, 2.5, 3.0, 4.0]

    def test_another_shape_is_refused_with_both(self) -> None:
        modifier = SetParamModifier(params=["classifier.weight"], val=[1.0, 2.0])
        with pytest.raises(RecipeError, match=r"classifier.weight is \[4, 64\], the value given for it \[2\]"):
            play(modifier, make_mlp())

    @pytest.mark.parametrize("value", ["a", True, [], [1, [2]], [[1], [1, 2]], float("nan"), None])
    def test_refuses_what_is_no_tensor(self, value: object) -> None:
        with pytest.raises(ValidationError):
            SetParamModifier(params=[BIAS], val=value)

    def test_selectors(self) -> None:
        with pytest.raises(RecipeError, match=r"nothing\.here"):
            play(SetParamModifier(params=[BIAS, "nothing.here"], val=0.0), make_mlp())
        lax = SetParamModifier(params=[BIAS, "nothing.here"], val=0.0, params_strict=False)
        assert lax.matched(make_mlp()) == (BIAS,)
        assert course(lax)[0].tolist() == [0.0] * 4

    def test_an_end_of_a_composed_recipe_changes_nothing(self) -> None:
        modifier = SetParamModifier(params=[BIAS], val=1.0, end_epoch=2.0)
        assert (modifier.end, modifier.last_epoch()) == (-1.0, 2.0)


def test_both_act_in_one_shot() -> None:
    recipe = (
        "modifiers:\n  - !SetParamModifier {params: [fc1.bias], val: 0.5, start_epoch: 1.0}\n"
        "  - !GradualParamModifier {params: [fc2.bias], init_val: 0, final_val: 2, start_epoch: 0, end_epoch: 3}\n"
    )
    model = make_mlp()
    load_recipe(recipe).apply(model)
    assert set(model.get_parameter("fc1.bias").tolist()) == {0.5}
    assert set(model.get_parameter("fc2.bias").tolist()) == {2.0}


class TestGradual:
    def test_follows_its_schedule_at_each_update(self) -> None:
        seen = course(gradual(update_frequency=0.5))
        at = {10: 1.0, 15: 1.5, 20: 2.0, 25: 2.5, 30: 3.0}
        for step, wanted in at.items():
            assert torch.equal(seen[step], torch.full((4,), wanted)), step
        assert not torch.equal(seen[16], seen[15])
        assert not torch.equal(seen[31], seen[30])

    def test_every_step_by_default(self) -> None:
        seen = course(gradual())
        assert [float(seen[step][0]) for step in (11, 12)] == pytest.approx([1.1, 1.2])

    def test_the_end_is_reached_at_the_end_of_the_run(self) -> None:
        assert torch.equal(course(gradual(end_epoch=4.0))[-1], torch.full((4,), 3.0))

    def test_deviation_inter_func_is_followed(self) -> None:
        """There it was read and never used: every course was linear."""
        linear, cubic = gradual(), gradual(inter_func="cubic")
        assert linear.values(2.0) == {"param_value": 2.0}
        assert cubic.values(2.0) == {"param_value": pytest.approx(1.0 + 2.0 * (1 - 0.5**3))}

    def test_lists_move_entry_by_entry(self) -> None:
        seen = course(gradual(init_val=[0, 0, 0, 4], final_val=[1, 2, 3, 0]))
        assert seen[20].tolist() == [0.5, 1.0, 1.5, 2.0]
        assert gradual(init_val=[0.0], final_val=[1.0]).values(2.0) == {}

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"end_epoch": -1.0}, "cannot be -1"),
            ({"end_epoch": 1.0}, "must come after"),
            ({"final_val": [1.0]}, "give both the same"),
            ({"inter_func": "cos"}, "inverse_cubic"),
            ({"params": []}, "at least 1 item"),
        ],
    )
    def test_refuses(self, fields: dict[str, Any], told: str) -> None:
        with pytest.raises(ValidationError, match=told):
            gradual(**fields)

    @given(first=st.floats(-10, 10), last=st.floats(-10, 10), epoch=st.floats(0, 5))
    def test_stays_between_its_values(self, first: float, last: float, epoch: float) -> None:
        found = gradual(init_val=first, final_val=last).values(epoch)
        assert (
            found == {} if epoch < 1.0 else min(first, last) - 1e-9 <= found["param_value"] <= max(first, last) + 1e-9
        )
