"""Layers that stand in a model more than once, and layers that only look removable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from sparsify.errors import InputError
from sparsify.pruning.shrink import shrink
from sparsify.pruning.structures import find_structures
from tests.helpers.models import tiny_classifier, token_batch
from tests.helpers.units import half, kill


class Block(nn.Module):
    """A residual block of width 4 around 16 hidden neurons."""

    def __init__(self, up: nn.Linear) -> None:
        super().__init__()
        self.up, self.down = up, nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 4] -> [B, 4]."""
        return x + self.down(torch.relu(self.up(x)))


class Branching(nn.Module):
    """Runs blocks one after the other, in a way that cannot be traced."""

    def __init__(self, *blocks: Block) -> None:
        super().__init__()
        for index, block in enumerate(blocks):
            self.add_module(f"part{index}", nn.ModuleList([block]))
        self.count = len(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 4] -> [B, 4]."""
        for index in range(self.count):
            x = self.get_submodule(f"part{index}")[0](x) if bool(x.isfinite().all()) else x
        return x


def test_a_layer_in_two_blocks_is_left_alone_and_the_others_are_not() -> None:
    shared = nn.Linear(4, 16)
    model = Branching(Block(shared), Block(shared), Block(nn.Linear(4, 16)))
    assert [s.name for s in find_structures(model)] == ["part2.0.up"]


def test_a_block_that_runs_twice_is_cut_once() -> None:
    block = Block(nn.Linear(4, 16))
    model = Branching(block, block)
    assert kill(model, half) == {"part0.0.up": 8}
    x = torch.randn(3, 4)
    before = model(x)
    shrink(model)
    assert block.up.out_features == block.down.in_features == 8
    torch.testing.assert_close(model(x), before)


def test_encoder_layers_that_run_twice_are_cut_once() -> None:
    model = tiny_classifier("bert").eval()
    model.bert.encoder.layer[1] = model.bert.encoder.layer[0]
    inputs = {name: value for name, value in token_batch().items() if name != "labels"}
    assert len(kill(model, half)) == 2
    before = model(**inputs).logits
    shrink(model)
    torch.testing.assert_close(model(**inputs).logits, before, rtol=0, atol=1e-5)


def test_attention_of_two_layers_with_outputs_of_their_own_keeps_its_heads() -> None:
    model = tiny_classifier("bert")
    first, second = (layer.attention for layer in model.bert.encoder.layer)
    second.self = first.self
    assert [s.kind for s in find_structures(model)] == ["neurons", "neurons"]


def test_a_second_name_for_the_same_layers_does_not_hide_them() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(4, 16), nn.Linear(16, 4)
            self.net = nn.Sequential(self.up, nn.ReLU(), self.down)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    assert [s.units for s in find_structures(Named())] == [16]


def test_a_norm_over_another_axis_keeps_the_filters() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:  # 8 rows of pixels, as many as filters
            return self.fc(self.norm(self.conv(x).permute(0, 2, 3, 1)))

    assert find_structures(Turned()) == []


def test_a_weight_that_is_computed_from_others_stays_whole() -> None:
    model = tiny_classifier("bert").eval()
    parametrizations.weight_norm(model.bert.encoder.layer[0].intermediate.dense)
    neurons = find_structures(model, ["neurons"])
    assert [s.name for s in neurons] == ["bert.encoder.layer.1.intermediate.dense"]
    kill(model, half)
    inputs = {name: value for name, value in token_batch().items() if name != "labels"}
    before = model(**inputs).logits
    shrink(model)
    torch.testing.assert_close(model(**inputs).logits, before, rtol=0, atol=1e-5)


def test_a_class_that_is_named_as_distilberts_may_hold_something_else() -> None:
    class FFN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin1, self.norm, self.lin2 = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 4)
            self.activation = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.lin2(self.norm(self.activation(self.lin1(x))))

    assert find_structures(nn.Sequential(FFN())) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_types_keep_their_type(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)).to(dtype)
    kill(model, half)
    x = torch.randn(3, 4).to(dtype)
    before = model(x)
    shrink(model)
    assert {p.dtype for p in model.parameters()} == {dtype}
    torch.testing.assert_close(model(x), before)


def test_weights_in_other_memory_formats() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    model = model.to(memory_format=torch.channels_last)
    model[4].weight = nn.Parameter(torch.randn(4, 2).t())
    kill(model, half)
    x = torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last)
    before = model(x)
    shrink(model)
    assert [m.weight.shape[:2] for m in model if hasattr(m, "weight")] == [(4, 3), (2, 4), (2, 2)]
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-6)


def test_a_state_in_one_vector_for_all_weights_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.LBFGS(model.parameters())

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = model(torch.ones(1, 4)).square().sum()
        value.backward()
        return value

    shrink(model, optimizer)  # nothing is dead
    kill(model, lambda i, s: 4)
    shrink(model, optimizer)  # nothing is kept yet
    optimizer.step(loss)
    kill(model, lambda i, s: 4)
    with pytest.raises(InputError, match="LBFGS keeps the past of all weights in one vector"):
        shrink(model, optimizer)
    assert model[0].out_features == 12
