from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsify.pruning.slots import KINDS, Slot, Structure, weight_of


def test_writers_come_before_readers() -> None:
    writers, readers = (Slot("query", 0, 8), Slot("key", 0, 8)), (Slot("out", 1, 8),)
    structure = Structure("attention", "heads", 4, writers, readers)
    assert structure.slots == (*writers, *readers)
    assert structure.source is None
    assert structure.counts == ()


def test_structures_are_keys() -> None:
    def made(units: int) -> Structure:
        return Structure("ffn", "neurons", units, (Slot("ffn", 0),), (Slot("out", 1),))

    assert {made(4): "kept"}[made(4)] == "kept"
    assert made(4) != made(5)


def test_kinds() -> None:
    assert KINDS == ("heads", "neurons", "filters")


def test_the_weight_itself() -> None:
    layer = nn.Linear(2, 3)
    assert weight_of(layer) is layer.weight
    plain = nn.Module()
    plain.weight = torch.ones(2)  # computed from others, as weight_norm does
    assert weight_of(plain) is plain.weight


@pytest.mark.parametrize("module", [nn.ReLU(), nn.LayerNorm(4, elementwise_affine=False)])
def test_no_weight_is_told_by_class(module: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"^{type(module).__name__} has no weight$"):
        weight_of(module)
