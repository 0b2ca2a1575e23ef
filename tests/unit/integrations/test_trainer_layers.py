"""Layers on a Hugging Face Trainer: taken out, taught, and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from sparsify.errors import RecipeError
from sparsify.export.checkpoint import load_model
from sparsify.manager import load_recipe
from sparsify.pruning.skip import skipped
from tests.helpers.models import examples, tiny_classifier, token_batch
from tests.matrix.world import assert_same

RECIPE = """
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}
  - !LayerPruningModifier {layers: [bert.encoder.layer.1]}
  - !PerLayerDistillationModifier
      student_layer_names: [bert.encoder.layer.0, bert.encoder.layer.0.intermediate]
      teacher_layer_names: [bert.encoder.layer.1, bert.encoder.layer.1]
  - !SparsificationLoggingModifier {update_frequency: 0.5}
  - !GMPruningModifier
      {params: ["re:.*query.weight"], init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0, end_epoch: 1}
"""


def make_trainer(out: Path, recipe: str = RECIPE, **args: Any) -> Trainer:
    options: dict[str, Any] = {"save_strategy": "no", "logging_steps": 1, "disable_tqdm": True, **args}
    training = TrainingArguments(
        str(out), per_device_train_batch_size=4, report_to=[], use_cpu=True, label_names=["labels"], **options
    )
    trainer = Trainer(model=tiny_classifier(dropout=0.1), args=training, train_dataset=examples(32))
    return load_recipe(recipe).wrap(trainer, tiny_classifier(seed=5))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_resume_with_a_projection_is_bit_exact(tmp_path: Path, accumulation: int) -> None:
    options = {"save_strategy": "steps", "save_steps": 4, "gradient_accumulation_steps": accumulation}
    whole = make_trainer(tmp_path / "a", **options)
    whole.train()
    again = make_trainer(tmp_path / "b", **options)
    again.train(resume_from_checkpoint=str(tmp_path / "a/checkpoint-4"))
    assert_same(whole.model.state_dict(), again.model.state_dict())
    assert_same(whole.optimizer.state_dict()["state"], again.optimizer.state_dict()["state"])


def test_what_is_saved_has_no_trace_of_the_teaching_and_loads(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train()
    assert list(skipped(trainer.model)) == ["bert.encoder.layer.1"]
    assert not any(m._forward_hooks for m in trainer.model.modules())
    looked = [row["recipe/layer_sparsity/bert.encoder.layer.0.attention.self.query.weight"] for row in _logs(trainer)]
    assert (looked[0], looked[-1]) == (0.0, 0.5)
    trainer.save_model(str(tmp_path))
    loaded = load_model(tmp_path)
    batch = {k: v for k, v in token_batch().items() if k != "labels"}
    assert torch.equal(loaded(**batch).logits, trainer.model.eval()(**batch).logits)
    assert set(loaded.state_dict()) == set(trainer.model.state_dict())
    assert not any("projection" in name for name in loaded.state_dict())


def test_wrap_refuses_what_is_not_available_and_leaves_the_model(tmp_path: Path) -> None:
    model = tiny_classifier()
    trainer = Trainer(model=model, args=TrainingArguments(str(tmp_path), report_to=[], use_cpu=True))
    recipe = RECIPE + "  - !SparseGPTModifier {sparsity: 0.5}\n"
    with pytest.raises(RecipeError, match="not available yet: SparseGPTModifier"):
        load_recipe(recipe).wrap(trainer, tiny_classifier(seed=5))
    assert not skipped(model)


def _logs(trainer: Trainer) -> list[dict[str, Any]]:
    return [row for row in trainer.state.log_history if "loss" in row]
