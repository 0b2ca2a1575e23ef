"""The small parts of a run: folders, stopping, the best model, samples."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from sparsify.errors import InputError
from sparsify.tasks.best import BestAfter, KnownMetric
from sparsify.tasks.folders import NoRecipe, checkpoint_to_resume, move_into, writable
from sparsify.tasks.samples import save_samples
from sparsify.tasks.stop import StopAtStep, stops_cleanly
from sparsify.tasks.token_classification.encode import collator
from tests.helpers import ner


def test_an_output_folder_is_made(tmp_path: Path) -> None:
    assert writable(str(tmp_path / "a" / "b"), True).is_dir()
    with pytest.raises(InputError, match="--output_dir says"):
        writable("trainer_output", False)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        writable(str(tmp_path / "file"), True)


def test_which_checkpoint_a_resume_starts_from(tmp_path: Path) -> None:
    assert checkpoint_to_resume(None, tmp_path) is None
    assert checkpoint_to_resume("false", tmp_path) is None
    with pytest.raises(InputError, match="no checkpoint in"):
        checkpoint_to_resume("True", tmp_path)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-8").write_text("")
    with pytest.raises(InputError, match="no checkpoint in"):
        checkpoint_to_resume("True", tmp_path)
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert checkpoint_to_resume("True", tmp_path) is True
    with pytest.raises(InputError, match="there are: checkpoint-9, checkpoint-10"):
        checkpoint_to_resume(str(tmp_path / "checkpoint-7"), tmp_path)
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text("{}")
    assert checkpoint_to_resume(str(tmp_path / "checkpoint-9"), tmp_path) == str(tmp_path / "checkpoint-9")


def test_files_replace_those_of_the_same_name(tmp_path: Path) -> None:
    fresh = tmp_path / ".saving"
    fresh.mkdir()
    (fresh / "a").write_text("new")
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("kept")
    move_into(fresh, tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "new", "b": "kept"}


class FakeTrainer:
    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def remove_callback(self, callback: Any) -> None:
        self.callbacks.remove(callback)


def test_an_interrupt_asks_for_a_save_at_the_end_of_the_step() -> None:
    trainer: Any = FakeTrainer()
    before = signal.getsignal(signal.SIGINT)
    with stops_cleanly(trainer) as stop:
        control = TrainerControl()
        stop.on_step_end(None, None, control)
        assert (control.should_save, control.should_training_stop) == (False, False)
        signal.raise_signal(signal.SIGINT)
        stop.on_step_end(None, None, control)
        assert (control.should_save, control.should_training_stop) == (True, True)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert trainer.callbacks == []


def test_sigterm_asks_for_the_same_and_may_come_twice() -> None:
    trainer: Any = FakeTrainer()
    before = signal.getsignal(signal.SIGTERM)
    with stops_cleanly(trainer) as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        control = TrainerControl()
        stop.on_step_end(None, None, control)
        assert (control.should_save, control.should_training_stop) == (True, True)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    import threading

    seen: list[StopAtStep] = []

    def work() -> None:
        trainer: Any = FakeTrainer()
        with stops_cleanly(trainer) as stop:
            seen.append(stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not seen[0].asked


@pytest.mark.parametrize(("epoch", "kept"), [(1.0, None), (2.0, None), (2.5, 0.9)])
def test_the_best_model_is_one_after_the_epoch(epoch: float, kept: float | None) -> None:
    state = TrainerState(epoch=epoch, best_metric=0.9, best_model_checkpoint="x", best_global_step=3)
    BestAfter(2.0).on_step_begin(None, state, None)
    assert state.best_metric == kept


def test_samples_hold_inputs_outputs_and_labels(tmp_path: Path) -> None:
    model = ner.model(ner.LABELS).train()
    features = [{"input_ids": [2, 5, 6, 3], "attention_mask": [1] * 4, "labels": [-100, 1, 0, -100]}]
    save_samples(model, features, collator(ner.tokenizer()), tmp_path)
    inputs = np.load(tmp_path / "sample-inputs" / "inp-0000.npz")
    assert inputs["input_ids"].tolist() == [[2, 5, 6, 3]]
    assert "labels" not in inputs
    assert np.load(tmp_path / "sample-outputs" / "out-0000.npz")["logits"].shape == (1, 4, 5)
    assert np.load(tmp_path / "sample-labels" / "lab-0000.npz")["labels"].tolist() == [[-100, 1, 0, -100]]
    assert model.training


def test_samples_of_an_earlier_run_do_not_stay_beside_new_ones(tmp_path: Path) -> None:
    model, collate = ner.model(ner.LABELS), collator(ner.tokenizer())
    features = [{"input_ids": [2, 5, 6, 3], "attention_mask": [1] * 4, "labels": [-100, 1, 0, -100]}] * 3
    save_samples(model, features, collate, tmp_path)
    (tmp_path / "sample-inputs" / "notes.txt").write_text("mine")
    save_samples(model, features[:1], collate, tmp_path)
    assert sorted(p.name for p in tmp_path.glob("sample-*/*")) == [
        *("inp-0000.npz", "lab-0000.npz", "notes.txt", "out-0000.npz")
    ]


def test_a_checkpoint_without_a_recipe_keeps_none_of_an_earlier_run(tmp_path: Path) -> None:
    for folder in ("checkpoint-2", "checkpoint-4"):
        (tmp_path / folder).mkdir()
        for name in ("recipe.yaml", "sparsify_state.safetensors", "model.safetensors"):
            (tmp_path / folder / name).write_text("")
    NoRecipe().on_save(SimpleNamespace(output_dir=str(tmp_path)), TrainerState(global_step=2), None)
    assert [p.name for p in (tmp_path / "checkpoint-2").iterdir()] == ["model.safetensors"]
    assert len(list((tmp_path / "checkpoint-4").iterdir())) == 3


@pytest.mark.parametrize("asked", ["accurcy", "eval_accurcy"])
def test_a_best_metric_that_evaluation_does_not_give_is_told(asked: str) -> None:
    args, callback = SimpleNamespace(metric_for_best_model=asked), KnownMetric()
    metrics = {"eval_accuracy": 1.0, "eval_loss": 0.1, "eval_runtime": 2.0, "eval_samples_per_second": 3.0}
    callback.on_evaluate(args, None, None, metrics)  # outside of training nothing is compared
    callback.on_train_begin(args, None, None)
    with pytest.raises(InputError, match=rf"--metric_for_best_model {asked}: .*accuracy, loss; did you mean accuracy"):
        callback.on_evaluate(args, None, None, metrics)
    for known in ("loss", "eval_accuracy", None):
        callback.on_evaluate(SimpleNamespace(metric_for_best_model=known), None, None, metrics)
    callback.on_train_end(args, None, None)
    callback.on_evaluate(args, None, None, {"eval_mm_accuracy": 1.0})
