"""Dead units, scores, which go, and their masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsify.pruning.structures import find_structures
from sparsify.pruning.units import dead_units, keep_units, unit_gradients, unit_scores, weight_masks
from tests.helpers.devices import PlayedDevices, placed
from tests.helpers.models import tiny_classifier, token_batch


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))


@torch.no_grad()
def test_a_unit_that_nobody_reads_is_dead() -> None:
    model = mlp()
    model[2].weight[:, 1] = 0
    assert dead_units(model, find_structures(model)[0]).tolist() == [False, True, False, False]


@torch.no_grad()
def test_a_unit_without_weights_is_dead_only_without_bias() -> None:
    model = mlp()
    model[0].weight[2:] = 0
    model[0].bias[3] = 0
    assert dead_units(model, find_structures(model)[0]).tolist() == [False, False, False, True]


@torch.no_grad()
def test_heads_are_dead_by_their_value_or_by_their_columns() -> None:
    model = tiny_classifier("bert")
    first, second = find_structures(model, ["heads"])
    attention = model.bert.encoder.layer[0].attention
    attention.self.query.weight[:16] = 0  # then it attends evenly, which is not nothing
    assert not dead_units(model, first).any()
    attention.self.value.weight[:16] = 0
    attention.self.value.bias[:16] = 0
    model.bert.encoder.layer[1].attention.output.dense.weight[:, 16:] = 0
    assert dead_units(model, first).tolist() == [True, False]
    assert dead_units(model, second).tolist() == [False, True]


@torch.no_grad()
def test_magnitude_is_the_mean_over_matrices_of_the_root_mean_square() -> None:
    model = mlp()
    expected = (model[0].weight.square().mean(1).sqrt() + model[2].weight.square().mean(0).sqrt()) / 2
    torch.testing.assert_close(unit_scores(model, find_structures(model)[0]), expected)


@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_taylor_is_the_derivative_by_a_mask_on_the_unit(kind: str) -> None:
    model = tiny_classifier("bert").double()
    structure = find_structures(model, [kind])[0]  # type: ignore[list-item]
    (reader,) = structure.readers
    layer = model.get_submodule(reader.module)
    ones = torch.ones(structure.units, dtype=torch.float64, requires_grad=True)
    hook = layer.register_forward_pre_hook(lambda m, args: (args[0] * ones.repeat_interleave(reader.size),))
    model(**token_batch()).loss.backward()
    hook.remove()
    assert ones.grad is not None
    found = unit_gradients(model, structure)
    torch.testing.assert_close(found, ones.grad.abs().float(), rtol=1e-4, atol=1e-9)


def test_without_gradients_there_is_no_taylor_score() -> None:
    model = mlp()
    assert unit_gradients(model, find_structures(model)[0]) is None


SCORES = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=4)


@given(SCORES, st.data())
def test_layers_lose_their_own_number_and_keep_one(rows: list[list[int]], data: st.DataObject) -> None:
    scores = {str(i): torch.tensor(row, dtype=torch.float32) for i, row in enumerate(rows)}
    going = {name: data.draw(st.integers(0, 10)) for name in scores}
    for name, kept in keep_units(scores, going).items():
        row = scores[name]
        assert int(kept.sum()) == max(len(row) - going[name], 1)
        assert kept.all() or row[~kept].max() <= row[kept].min()


@given(SCORES, st.integers(0, 40))
def test_over_all_layers_the_total_counts_and_each_keeps_its_best(rows: list[list[int]], total: int) -> None:
    scores = {str(i): torch.tensor(row, dtype=torch.float32) for i, row in enumerate(rows)}
    kept = keep_units(scores, {"0": total} | dict.fromkeys(list(scores)[1:], 0), "global")
    units = sum(map(len, rows))
    assert sum(int(k.sum()) for k in kept.values()) == max(units - total, len(rows))
    assert all(scores[name][k].max() == scores[name].max() for name, k in kept.items())


def test_equal_scores_go_by_index() -> None:
    assert keep_units({"a": torch.zeros(4)}, {"a": 2})["a"].tolist() == [False, False, True, True]


def test_masks_of_weights_that_two_structures_cut_keep_what_both_keep() -> None:
    model = mlp()
    first, second = find_structures(model)
    rows, columns = torch.tensor([True, False, True, True, False]), torch.tensor([False, True, True, False])
    masks = weight_masks(model, {first: columns, second: rows})
    assert torch.equal(masks["2.weight"], rows[:, None] & columns)
    assert torch.equal(masks["2.bias"], rows)
    assert set(masks) == {"0.weight", "0.bias", "2.weight", "2.bias", "4.weight"}


def test_layers_on_several_devices_have_the_units_that_they_have_on_one() -> None:
    model, apart = mlp(), mlp()
    with torch.no_grad():
        for made in (model, apart):
            made[2].weight[:, 1] = 0
            made[0].weight[2] = 0
            made[0].bias[2] = 0
    inputs = torch.randn(6, 3)
    for made in (model, apart):
        made(inputs).sum().backward()
    with PlayedDevices():
        for layer, place in ((apart[0], "xla:0"), (apart[2], "xla:1")):
            for name, parameter in list(layer.named_parameters()):
                there = nn.Parameter(placed(parameter.detach(), place))
                there.grad = placed(parameter.grad, place)
                setattr(layer, name, there)
        structures = find_structures(model)
        for of_units in (dead_units, unit_scores, unit_gradients):
            for structure in structures:
                assert torch.equal(of_units(model, structure), placed(of_units(apart, structure), "cpu"))
        scores = {s.name: unit_scores(model, s) for s in structures}
        there = {s.name: unit_scores(apart, s) for s in structures}
        going = dict.fromkeys(scores, 2)
        found = keep_units(there, going, "global")
        assert {name: found[name].device for name in found} == {name: there[name].device for name in there}
        expected = keep_units(scores, going, "global")
        assert all(torch.equal(expected[name], placed(found[name], "cpu")) for name in scores)
