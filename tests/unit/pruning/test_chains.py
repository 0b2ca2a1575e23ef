"""What follows what in traced models: which units can go, and where they lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsify.pruning.chains import chain_structures
from sparsify.pruning.shrink import shrink
from sparsify.pruning.slots import Slot
from tests.helpers.units import half, kill


class Wired(nn.Module):
    """Layers a, b, c (and a norm) wired by a function."""

    def __init__(self, forward: Callable[[Wired, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.norm = nn.LayerNorm(8)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        """[B, 6] -> [B, 4]."""
        return self._forward(self, x)


def found(forward: Callable[[Wired, Tensor], Tensor]) -> list[str]:
    return [s.name for s in chain_structures(Wired(forward))]


CASES: dict[str, tuple[Callable[[Wired, Tensor], Tensor], list[str]]] = {
    "a chain": (lambda m, x: m.c(torch.relu(m.b(functional.gelu(m.a(x))))), ["a", "b"]),
    "scaled": (lambda m, x: m.c(m.b(m.a(x) * 2.0) / 3.0), ["a", "b"]),
    "a residual sum": (lambda m, x: m.c(m.a(x) + m.b(torch.relu(m.a(x)))), []),
    "a sum around b": (lambda m, x: m.c((h := torch.relu(m.a(x))) + m.b(h)), []),
    "layer norm mixes": (lambda m, x: m.c(m.norm(m.b(torch.relu(m.a(x))))), ["a"]),
    "softmax mixes": (lambda m, x: m.c(torch.softmax(m.b(m.a(x)), -1)), ["a"]),
    "returned as well": (lambda m, x: torch.cat([m.c(m.b(h := m.a(x))), h], -1), ["b"]),
    "called twice": (lambda m, x: m.c(m.b(m.b(m.a(x)))), []),
    "weight read outside": (lambda m, x: m.c(functional.linear(m.a(x), m.b.weight)), []),
    "multiplied by itself": (lambda m, x: m.c((h := m.b(m.a(x))) * h), ["a"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_can_be_removed(name: str) -> None:
    forward, names = CASES[name]
    assert found(forward) == names


def convolutional(head: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(),
        head,
    ).eval()  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 2)),
    ],
    ids=["flatten", "pool"],
)
def test_filters_through_batch_norm_pooling_and_flatten(head: nn.Module) -> None:
    model = convolutional(head)
    for norm in [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.running_mean.uniform_(), norm.running_var.uniform_(0.5, 2.0)
    structures = chain_structures(model)
    assert [(s.kind, s.units) for s in structures] == [("filters", 8), ("filters", 6), ("neurons", 5)]
    assert structures[0].writers == (Slot("0", 0), Slot("1", 0))
    left = kill(model, half)
    x = torch.randn(2, 3, 8, 8)
    before = model(x)
    change = shrink(model)
    assert {name: now for name, (_, now) in change.widths.items()} == left
    assert model[1].num_features == model[1].running_mean.numel() == 4
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-6)


def test_the_flattened_columns_of_a_filter_are_its_own() -> None:
    model = convolutional(nn.Sequential(nn.Flatten(), nn.Linear(24, 5)))
    assert chain_structures(model)[1].readers == (Slot("6.1", 1, 4),)


def test_grouped_convolutions_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    assert chain_structures(model) == []


def test_a_unit_is_not_the_innermost_of_what_is_flattened() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4 * 25, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).permute(0, 2, 3, 1).flatten(1))

    assert chain_structures(Mixed()) == []


def test_parts_of_a_model_that_cannot_be_traced_whole() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(4, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(torch.relu(self.up(x)))

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])
            self.tail = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x) if bool(x.sum() > 0) else x
            return x + self.tail[0](x)[..., :4]

    # The container's own forward is not what runs: its layers are left alone.
    assert [s.name for s in chain_structures(Branching())] == ["blocks.0.up", "blocks.1.up"]


def test_activations_that_move_zero_keep_a_silent_unit_alive() -> None:
    for activation, source in ((nn.ReLU(), True), (nn.Sigmoid(), False)):
        structure = chain_structures(nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 2)))[0]
        assert (structure.source is not None) == source


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_layers_without_elements_have_no_units() -> None:
    model = nn.Sequential(nn.Linear(4, 0), nn.ReLU(), nn.Linear(0, 6), nn.ReLU(), nn.Linear(6, 4), nn.Linear(4, 2))
    assert [s.name for s in chain_structures(model)] == ["4"]
