"""A shrink in the middle of a Trainer's run: checkpoints on either side of it resume bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparsify.export.checkpoint import load_model
from sparsify.pruning.structures import find_structures
from sparsify.pruning.widths import read_widths
from tests.helpers.models import token_batch
from tests.matrix.world import assert_same
from tests.unit.integrations.test_trainer import make_trainer

RECIPE = """
num_epochs: 3
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !StructuredPruningModifier
    {mask_type: heads, init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.25}
  - !StructuredPruningModifier
    {mask_type: neurons, score_type: taylor, init_sparsity: 0.0, final_sparsity: 0.6, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.25, global_sparsity: true}
  - !LayerThinningModifier {start_epoch: 1.0}
  - !QuantizationModifier {start_epoch: 2.0, disable_quantization_observer_epoch: 2.5, ignore: [classifier]}
"""
OPTIONS = {"save_strategy": "steps", "save_steps": 4, "eval_strategy": "steps", "eval_steps": 4}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_resume_across_the_shrink(tmp_path: Path, accumulation: int) -> None:
    options = {**OPTIONS, "gradient_accumulation_steps": accumulation, "save_steps": 4 // accumulation}
    whole = make_trainer(tmp_path / "a", RECIPE, **options)
    whole.train()
    steps = sorted(int(p.name.split("-")[1]) for p in (tmp_path / "a").glob("checkpoint-*"))
    shrunk_at = 8 // accumulation
    assert steps[0] < shrunk_at < steps[-1]
    for step in (steps[0], shrunk_at, steps[2], steps[3]):  # before, on the eve of it, after, while quantizing
        again = make_trainer(tmp_path / f"b{step}", RECIPE, **options)
        again.train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{step}"))
        assert_same(whole.model.state_dict(), again.model.state_dict(), f"cut at {step}")
        assert_same(whole.optimizer.state_dict()["state"], again.optimizer.state_dict()["state"], f"cut at {step}")
        assert read_widths(again.model.config) == read_widths(whole.model.config)


def test_every_checkpoint_loads_and_the_best_one_is_of_the_last_phase(tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "save_total_limit": None}
    trainer = make_trainer(tmp_path, RECIPE, **OPTIONS, **best)
    trainer.train()
    widths = {}
    for folder in tmp_path.glob("checkpoint-*"):
        model = load_model(folder)
        widths[int(folder.name.split("-")[1])] = sum(s.units for s in find_structures(model))
    assert widths[4] == widths[8] == 2 * (2 + 64)  # the removal comes before the ninth step
    assert widths[12] == widths[24] < widths[8]
    assert int(str(trainer.state.best_model_checkpoint).rsplit("-", 1)[1]) > 16
    trainer.save_model(str(tmp_path / "end"))
    batch = {name: value for name, value in token_batch().items() if name != "labels"}
    expected = trainer.model.eval()(**batch).logits
    torch.testing.assert_close(load_model(tmp_path / "end")(**batch).logits, expected)


def test_training_goes_on_from_a_shrunk_folder_that_is_loaded_first(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, RECIPE, **OPTIONS)
    trainer.train()
    again = make_trainer(tmp_path / "b", RECIPE, **OPTIONS)
    again.model = again.model_wrapped = load_model(tmp_path / "checkpoint-12")
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-12"))
    assert_same(trainer.model.state_dict(), again.model.state_dict())
