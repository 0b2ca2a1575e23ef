"""What the packaged recipes do to the models that they are for."""

from __future__ import annotations

import pytest
import torch

from sparsify.manager import load_recipe
from sparsify.modifiers.weight_pruning import WeightPruningModifier
from sparsify.select import prunable_parameters
from tests.helpers.models import FAMILIES, tiny_classifier

ZOO = "zoo:nlp/token_classification/minilm-l6/pytorch/huggingface/wnut17/"
SPARSITIES = {
    "pruned50-none": 0.5,
    "pruned50_quant-none": 0.5,
    "pruned80-none": 0.8,
    "pruned80_quant-none": 0.8,
    "pruned90-none": 0.9,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SPARSITIES)
def test_pruning_takes_every_encoder_matrix_to_the_stated_sparsity(name: str, family: str) -> None:
    model = tiny_classifier(family)
    manager = load_recipe(ZOO + name)
    pruner = next(m for m in manager.modifiers if isinstance(m, WeightPruningModifier))
    chosen = pruner.choose(model)
    assert set(chosen) == {n for n in prunable_parameters(model) if "layer" in n}
    assert pruner.values(manager.max_epochs)["sparsity"] == SPARSITIES[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with manager.attach(model, optimizer, steps_per_epoch=2, teacher=model) as run:
        for _ in range(2 * int(manager.max_epochs)):
            run.begin_step()
            for weight in chosen.values():
                weight.grad = torch.randn_like(weight)
            optimizer.step()
    zeros = sum(int((w == 0).sum()) for w in chosen.values()) / sum(w.numel() for w in chosen.values())
    assert zeros == pytest.approx(SPARSITIES[name], abs=1e-4)
