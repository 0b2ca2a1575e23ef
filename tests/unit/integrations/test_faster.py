"""What makes training faster leaves a recipe what it is: compiled models, fused optimizers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from sparsify.manager import load_recipe
from sparsify.quantization.layers import quantizers
from tests.unit.integrations.test_trainer import RECIPE, encoder_sparsity, make_trainer

PRUNE = RECIPE[: RECIPE.index("  - !QuantizationModifier")]


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items() if value.is_floating_point()}


def test_a_fused_optimizer_keeps_masks_and_quantizers(tmp_path: Path) -> None:
    found = []
    for optim in ("adamw_torch", "adamw_torch_fused"):
        trainer = make_trainer(tmp_path / optim, dropout=0.0, optim=optim)
        trainer.train()
        assert trainer.optimizer.optimizer.defaults["fused"] is (True if optim.endswith("fused") else None)
        assert encoder_sparsity(trainer.model) == pytest.approx(0.7, abs=5e-3)
        assert all(q.enabled for q in quantizers(trainer.model).values())
        found.append(weights(trainer.model))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-3), name


def test_a_compiled_model_is_not_compiled_anew_when_sparsity_moves(tmp_path: Path) -> None:
    plain = make_trainer(tmp_path / "plain", PRUNE, dropout=0.0)
    plain.train()
    compiled = make_trainer(
        tmp_path / "compiled", PRUNE, dropout=0.0, torch_compile=True, torch_compile_backend="aot_eager"
    )
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled.train()
    assert encoder_sparsity(compiled.model) == pytest.approx(0.7, abs=5e-3)
    for name, value in weights(plain.model).items():
        assert torch.allclose(value, weights(compiled.model)[name], atol=1e-4), name


def test_compiled_training_through_all_phases(tmp_path: Path) -> None:
    torch._dynamo.reset()
    trainer = make_trainer(
        tmp_path, dropout=0.0, optim="adamw_torch_fused", torch_compile=True, torch_compile_backend="aot_eager"
    )
    trainer.train()
    assert encoder_sparsity(trainer.model) == pytest.approx(0.7, abs=5e-3)
    assert all(q.enabled for q in quantizers(trainer.model).values())


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="inductor needs a C++ compiler")
def test_code_made_by_inductor_keeps_masks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    recipe = "modifiers: [!GMPruningModifier {params: [0.weight], init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 2.0, update_frequency: 0.5}]\n"
    compiled, optimizer = torch.compile(model), torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    inputs, target = torch.randn(4, 8), torch.randn(4, 2)
    with load_recipe(recipe).attach(compiled, optimizer, steps_per_epoch=3):
        for _ in range(6):
            (compiled(inputs) - target).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert int((model[0].weight == 0).sum()) == 32
