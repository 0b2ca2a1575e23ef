"""A recipe on a Hugging Face Trainer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from sparsify.errors import InputError, StateError
from sparsify.export.checkpoint import load_model
from sparsify.integrations.trainer import newest_complete
from sparsify.manager import load_recipe
from sparsify.quantization.layers import quantizers
from sparsify.state import STATE_FILE
from tests.helpers.models import examples, tiny_classifier, token_batch
from tests.matrix.world import assert_same

RECIPE = """
num_epochs: 4
lr: 1.0e-3
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: eval(lr), final_lr: 0.0}
  - !GMPruningModifier
      params: ["re:.*encoder.*(query|key|value|dense).weight"]
      init_sparsity: 0.0
      final_sparsity: 0.7
      start_epoch: 0.0
      end_epoch: 2.0
      update_frequency: 0.25
  - !QuantizationModifier {start_epoch: 2.5, disable_quantization_observer_epoch: 3.5, ignore: [classifier]}
"""
DISTIL = RECIPE + "  - !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [logits]}\n"


def make_trainer(out: Path, recipe: str = RECIPE, teacher: Any = None, dropout: float = 0.1, **args: Any) -> Trainer:
    options: dict[str, Any] = {
        "output_dir": str(out),
        "per_device_train_batch_size": 4,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        **args,
    }
    trainer = Trainer(
        model=tiny_classifier(dropout=dropout),
        args=TrainingArguments(**options),
        train_dataset=examples(),
        eval_dataset=examples(8),
    )
    return load_recipe(recipe).wrap(trainer, teacher)


def logged(trainer: Trainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


def encoder_sparsity(model: nn.Module) -> float:
    weights = [
        p
        for n, p in model.named_parameters()
        if "encoder" in n and n.endswith(("e.weight", "y.weight")) and p.ndim == 2
    ]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, ""),
        ({"learning_rate": 1e-3, "lr_scheduler_type": "linear"}, ""),
        ({"learning_rate": 2e-5, "warmup_steps": 3}, "learning_rate 2e-05, warmup_steps 3"),
        ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type cosine"),
    ],
)
def test_rates_of_the_training_arguments_that_the_recipe_overrules_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, given: dict[str, Any], told: str
) -> None:
    trainer = make_trainer(tmp_path, **given)
    trainer.create_optimizer_and_scheduler(num_training_steps=8)
    found = [record.getMessage() for record in caplog.records if "have no effect" in record.getMessage()]
    assert [message.split(": ", 1)[1] for message in found] == ([told] if told else [])


def test_the_recipe_sets_epochs_rates_sparsity_and_quantization(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train()
    assert trainer.state.global_step == 32
    rates = logged(trainer, "learning_rate")
    assert rates == pytest.approx([1e-3 * (1 - i / 32) for i in range(32)])
    sparsity = logged(trainer, "recipe/sparsity")
    assert sparsity == sorted(sparsity)
    assert sparsity[-1] == pytest.approx(0.7)
    assert all(q.enabled and not q.observing for q in quantizers(trainer.model).values())
    assert not trainer.optimizer.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("cut", [4, 16, 20, 24, 28])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_resume_from_a_checkpoint_is_bit_exact(tmp_path: Path, cut: int, accumulation: int) -> None:
    if accumulation == 2 and cut % 2:
        cut += 1
    options = {
        "save_strategy": "steps",
        "save_steps": cut // accumulation,
        "gradient_accumulation_steps": accumulation,
    }
    whole = make_trainer(tmp_path / "a", DISTIL, tiny_classifier(seed=5), **options)
    whole.train()
    checkpoint = tmp_path / "a" / f"checkpoint-{cut // accumulation}"
    again = make_trainer(tmp_path / "b", DISTIL, tiny_classifier(seed=5), **options)
    again.train(resume_from_checkpoint=str(checkpoint))
    assert_same(whole.model.state_dict(), again.model.state_dict())
    assert_same(whole.optimizer.state_dict()["state"], again.optimizer.state_dict()["state"])
    tail = [row["loss"] for row in whole.state.log_history if "loss" in row and row["step"] > cut // accumulation]
    assert [row["loss"] for row in again.state.log_history if "loss" in row][-len(tail) :] == tail


def test_resume_true_skips_checkpoints_that_are_not_whole(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=8)
    trainer.train()
    (tmp_path / "checkpoint-32" / STATE_FILE).unlink()
    assert newest_complete(tmp_path).name == "checkpoint-24"
    again = make_trainer(tmp_path)
    again.train(resume_from_checkpoint=True)
    assert_same(trainer.model.state_dict(), again.model.state_dict())


def test_a_named_checkpoint_that_is_not_whole_is_an_error_with_the_newest_whole_one(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=8)
    trainer.train()
    (tmp_path / "checkpoint-32" / STATE_FILE).unlink()
    with pytest.raises(StateError, match=r"newest complete one is .*checkpoint-24"):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-32"))


def test_an_edited_recipe_is_refused_on_resume(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_strategy="steps", save_steps=8).train()
    edited = RECIPE.replace("final_sparsity: 0.7", "final_sparsity: 0.8")
    with pytest.raises(StateError, match=r"with other fields: default/GMPruningModifier/0"):
        make_trainer(tmp_path, edited).train(resume_from_checkpoint=True)


def test_rotation_keeps_the_newest_checkpoint_whole(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_strategy="steps", save_steps=8, save_total_limit=1).train()
    (left,) = tmp_path.glob("checkpoint-*")
    assert (left / STATE_FILE).is_file()
    assert (left / "recipe.yaml").read_text() == RECIPE


def test_the_saved_folder_loads_as_the_same_model(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train()
    trainer.save_model()
    loaded = load_model(tmp_path)
    batch = token_batch(3)
    with torch.no_grad():
        assert torch.equal(trainer.model.eval()(**batch).logits, loaded(**batch).logits)
    assert encoder_sparsity(loaded) == pytest.approx(0.7, abs=0.01)


def test_plain_transformers_loads_the_weights_too(tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    trainer = make_trainer(tmp_path)
    trainer.train()
    trainer.save_model()
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert encoder_sparsity(plain) == pytest.approx(0.7, abs=0.01)


def test_a_recipe_without_quantization_at_the_first_phase_saves_a_loadable_checkpoint(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=8)
    trainer.train()
    early = load_model(tmp_path / "checkpoint-8")
    assert not any(q.enabled for q in quantizers(early).values())


def test_best_metric_of_an_earlier_phase_is_forgotten(tmp_path: Path) -> None:
    forgotten = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            forgotten.append((state.global_step, state.best_metric))

    trainer = make_trainer(
        tmp_path, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2,
        load_best_model_at_end=True, metric_for_best_model="loss",
    )  # fmt: skip
    trainer.add_callback(Watch())
    trainer.train()
    best = dict(forgotten)
    assert best[16] is not None
    assert best[17] is None  # pruning ended when step 17 (index 16) began
    assert best[21] is None  # quantization began
    assert int(str(trainer.state.best_model_checkpoint).rsplit("-", 1)[1]) > 20
    assert all(q.enabled for q in quantizers(trainer.model).values())


def test_a_callback_that_stops_training_early_is_answered_with_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 10

    trainer = make_trainer(tmp_path)
    trainer.add_callback(Stop())
    trainer.train()
    assert "training stopped at epoch 1.25 of 4" in caplog.text
    assert "GMPruningModifier (modifiers[2]) ends at epoch 2" in caplog.text
    assert "QuantizationModifier (modifiers[3]) begins at epoch 2.5" in caplog.text


def test_distillation_is_scaled_as_the_trainer_scales_its_loss(tmp_path: Path) -> None:
    """Half the batch twice gives the gradient of the whole batch, with the term that distillation adds."""

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        flat = nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return flat / num_items_in_batch

    ends = []
    for size, accumulation in ((8, 1), (4, 2)):
        recipe = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}\n"
        recipe += "  - !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [logits]}\n"
        trainer = make_trainer(
            tmp_path / str(size), recipe, tiny_classifier(seed=5), dropout=0.0, per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation, max_grad_norm=0, optim="sgd", learning_rate=0.1,
            lr_scheduler_type="constant",
        )  # fmt: skip
        trainer.compute_loss_func = loss
        trainer.train()
        ends.append(trainer.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_label_smoothing_still_gives_distillation_its_labels(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, DISTIL, tiny_classifier(seed=5), label_smoothing_factor=0.1)
    trainer.train()
    assert all(torch.isfinite(torch.tensor(logged(trainer, "loss"))))


def test_evaluation_does_not_distil(tmp_path: Path) -> None:
    class Refuses(nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
            raise AssertionError("the teacher was asked")

    trainer = make_trainer(tmp_path, DISTIL, Refuses())
    assert "eval_loss" in trainer.evaluate()
    with pytest.raises(AssertionError, match="the teacher was asked"):
        trainer.train()


def test_bf16_masks_hold(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, bf16=True)
    trainer.train()
    assert encoder_sparsity(trainer.model) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto_find_batch_size": True}, "auto_find_batch_size"),
        ({"ignore_data_skip": True}, "ignore_data_skip"),
        ({"save_only_model": True}, "save_only_model"),
        ({"num_train_epochs": 7}, "recipe runs for 4 epochs, the trainer's num_train_epochs is 7"),
    ],
)
def test_options_that_a_recipe_cannot_be_right_under_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path, **options)


def test_max_steps_that_end_before_the_recipe_are_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=10)
    with pytest.raises(InputError, match="the recipe needs 4"):
        trainer.train()


def test_a_distilling_recipe_needs_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="teacher"):
        make_trainer(tmp_path, DISTIL)


def test_a_checkpoint_holds_what_the_trainer_wrote_too(tmp_path: Path) -> None:
    make_trainer(tmp_path, save_strategy="steps", save_steps=16).train()
    state = json.loads((tmp_path / "checkpoint-16" / "trainer_state.json").read_text())
    assert state["global_step"] == 16
    shutil.rmtree(tmp_path / "checkpoint-16")
    assert newest_complete(tmp_path).name == "checkpoint-32"
    shutil.copytree(tmp_path / "checkpoint-32", tmp_path / "checkpoint-best")
    assert newest_complete(tmp_path).name == "checkpoint-32"


def test_a_second_recipe_on_one_trainer_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    with pytest.raises(InputError, match="has a recipe already"):
        load_recipe(RECIPE).wrap(trainer)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_scheduler_that_would_overrule_the_recipe_is_refused(tmp_path: Path, scheduled: bool) -> None:
    model = tiny_classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0) if scheduled else None
    args = TrainingArguments(
        output_dir=str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", logging_steps=1
    )
    trainer = Trainer(model=model, args=args, train_dataset=examples(), optimizers=(optimizer, schedule))
    if scheduled:
        with pytest.raises(InputError, match=r"optimizers=\(optimizer, None\)"):
            load_recipe(RECIPE).wrap(trainer)
        return
    load_recipe(RECIPE).wrap(trainer).train()
    assert logged(trainer, "learning_rate")[0] == pytest.approx(1e-3)


def test_train_takes_its_arguments_by_position_too(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=24)
    trainer.train(None, None)
    again = make_trainer(tmp_path)
    again.train(str(tmp_path / "checkpoint-24"), None)
    assert_same(trainer.model.state_dict(), again.model.state_dict())
