from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsify.errors import InputError, SparsifyError, StateError
from sparsify.pruning.mask_set import MaskSet, zero_masked


def make(dtype: torch.dtype = torch.float32) -> tuple[dict[str, nn.Parameter], MaskSet]:
    torch.manual_seed(0)
    parameters = {
        "a.weight": nn.Parameter(torch.randn(5, 7, dtype=dtype)),
        "b": nn.Parameter(torch.randn(3, dtype=dtype)),
    }
    return parameters, MaskSet(parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_apply_zeroes_in_place_keeps_the_rest_and_the_dtype(dtype: torch.dtype) -> None:
    parameters, held = make(dtype)
    before = parameters["a.weight"].detach().clone()
    mask = torch.rand(5, 7) > 0.5
    held.replace({"a.weight": mask})
    held.apply()
    after = parameters["a.weight"]
    assert after.dtype is dtype
    assert torch.equal(after[mask], before[mask])
    assert (after[~mask] == 0).all()
    assert not torch.signbit(after[~mask]).any()
    assert after.requires_grad
    assert after.is_leaf


def test_masks_hold_on_weights_in_any_memory_format() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    before, mask = weight.detach().clone(), torch.rand(4, 3, 2, 2) > 0.5
    held = MaskSet({"w": weight})
    held.replace({"w": mask})
    held.apply()
    assert torch.equal(weight, before.masked_fill(~mask, 0.0))


def test_masks_hold_after_the_data_of_a_parameter_was_exchanged() -> None:
    parameters, held = make()
    mask = torch.rand(5, 7) > 0.5
    held.replace({"a.weight": mask})
    parameters["a.weight"].data = torch.ones(5, 7, dtype=torch.bfloat16)
    held.apply()
    assert torch.equal(parameters["a.weight"] != 0, mask)


def test_backward_through_a_weight_that_was_masked_meanwhile_is_an_error() -> None:
    weight = nn.Parameter(torch.randn(3))
    held = MaskSet({"w": weight})
    held.replace({"w": torch.tensor([True, False, True])})
    loss = weight.square().sum()
    held.apply()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_mask_that_keeps_everything_is_not_stored() -> None:
    _, held = make()
    held.replace({"a.weight": torch.ones(5, 7, dtype=torch.bool), "b": torch.tensor([True, False, True])})
    assert set(held.masks) == {"b"}
    assert held.sparsity() == {"a.weight": 0.0, "b": pytest.approx(1 / 3)}
    assert held.total_sparsity() == pytest.approx(1 / 38)


def test_replace_drops_earlier_masks() -> None:
    parameters, held = make()
    held.replace({"b": torch.zeros(3, dtype=torch.bool)})
    held.replace({})
    held.apply()
    assert (parameters["b"] != 0).all()
    assert held.total_sparsity() == 0.0


def test_masks_cost_one_byte_a_weight() -> None:
    parameters, held = make()
    mask = torch.zeros(5, 7, dtype=torch.bool)
    held.replace({"a.weight": mask})
    assert [f.data_ptr() for f in held._factors] == [mask.data_ptr()]
    assert held._weights[0] is parameters["a.weight"]


def test_not_finite_weights_are_an_error_with_their_names() -> None:
    parameters, held = make()
    held.check_finite()
    with torch.no_grad():
        parameters["b"][:2] = float("inf")
    held.replace({"b": torch.tensor([True, False, True])})
    held.apply()
    assert parameters["b"][0].isinf()
    assert parameters["b"][1] == 0  # what is masked is zero, whatever it was
    with pytest.raises(SparsifyError, match=r"not finite: b\. Training has diverged"):
        held.check_finite()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=35, max_size=35))
def test_state_round_trip(bits: list[bool]) -> None:
    _, held = make()
    held.replace({"a.weight": torch.tensor(bits).view(5, 7)})
    state = held.state_dict()
    assert all(t.dtype is torch.uint8 and t.numel() == 5 for t in state.values())
    _, again = make()
    again.load_state_dict(state)
    assert set(again.masks) == set(held.masks)
    assert all(torch.equal(again.masks[n], held.masks[n]) for n in held.masks)
    assert again.sparsity() == held.sparsity()


def test_state_of_other_parameters_is_refused() -> None:
    _, held = make()
    with pytest.raises(StateError, match=r"not pruned now: c\.weight; pruned now are: a\.weight, b"):
        held.load_state_dict({"c.weight": torch.zeros(1, dtype=torch.uint8)})
    with pytest.raises(StateError, match=r"a\.weight has 1 bytes: not for shape \[5, 7\]"):
        held.load_state_dict({"a.weight": torch.zeros(1, dtype=torch.uint8)})


def held_on(**masks: Tensor) -> MaskSet:
    held = MaskSet({name: nn.Parameter(torch.ones(mask.shape)) for name, mask in masks.items()})
    held.replace(masks)
    return held


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_other_weights_are_masked_exactly_whatever_their_type(dtype: torch.dtype) -> None:
    other = {"w": torch.tensor([[1.0, -2.0], [float("inf"), 4.0]], dtype=dtype), "b": torch.ones(2)}
    zero_masked(other, [held_on(w=torch.tensor([[True, False], [False, True]]))])
    assert torch.equal(other["w"], torch.tensor([[1.0, 0.0], [0.0, 4.0]], dtype=dtype))
    assert not torch.signbit(other["w"]).any()
    assert other["b"].all()


def test_masks_of_several_sets_add_up() -> None:
    other = {"w": torch.ones(3)}
    zero_masked(other, [held_on(w=torch.tensor(kept)) for kept in ([True, False, True], [True, True, False])])
    assert other["w"].tolist() == [1.0, 0.0, 0.0]


def test_other_weights_that_the_masks_do_not_fit_are_left_as_they_are() -> None:
    mask, all_kept = torch.tensor([False, True]), torch.tensor([True, True])
    other = {"first": torch.ones(2), "second": torch.ones(3)}
    with pytest.raises(InputError, match=r"third is not among them \(near: first\)"):
        zero_masked(other, [held_on(first=mask, third=mask)])
    with pytest.raises(InputError, match=r"second is \[3\], not \[2\] \(were parts of the model removed\?"):
        zero_masked(other, [held_on(first=mask, second=all_kept)])
    with pytest.raises(InputError, match="not among them: there are none"):
        zero_masked({}, [held_on(first=mask)])
    assert other["first"].all()
    with pytest.raises(InputError, match=r"w2 .*; and 2 more"):
        zero_masked(other, [held_on(**{f"w{number}": mask for number in range(5)})])


def test_a_parameter_without_elements_is_not_sparse() -> None:
    held = held_on(empty=torch.ones(3, 0, dtype=torch.bool), full=torch.tensor([False, True]))
    assert held.sparsity() == {"empty": 0.0, "full": 0.5}
    assert held.total_sparsity() == 0.5
    again = held_on(empty=torch.ones(3, 0, dtype=torch.bool), full=torch.tensor([True, True]))
    again.load_state_dict(held.state_dict())
    assert again.sparsity() == held.sparsity()
