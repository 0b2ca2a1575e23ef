"""Evaluation and prediction at the end of a run, in torch or in ONNX Runtime."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list

from sparsify.export.bound import choose_provider
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.base import Job, Measure
from sparsify.tasks.inference import Runtime, measured, runtime

if TYPE_CHECKING:
    from transformers import EvalPrediction, Trainer

TORCH = "torch"
logger = logging.getLogger(__name__)


def check_inference(args: Arguments[Any]) -> None:
    """Look at ``--inference_with_ort`` and ``--ort_provider`` before anything is trained.

    Raises:
        InputError: ONNX Runtime has no such provider.
    """
    training, recipe = args.training, args.recipe
    if not recipe.inference_with_ort:
        if recipe.ort_provider is not None:
            logger.warning("--ort_provider %s has no effect without --inference_with_ort", recipe.ort_provider)
        return
    choose_provider(training.device.type, recipe.ort_provider)
    if not (training.do_eval or training.do_predict):
        logger.warning("--inference_with_ort has no effect without --do_eval or --do_predict")


def measure_splits(job: Job, trainer: Trainer, recipe: str | None, folder: Path, metrics: dict[str, Any]) -> str:
    """Evaluate and predict as the flags ask for; ``metrics`` gets what is found, ``folder`` the predictions.

    Args:
        job: With the model as it is saved.
        trainer: Runs it in torch.
        recipe: Text of the recipe that made the model.
        folder: Of the predictions.
        metrics: By name.

    Returns:
        What gave the outputs.
    """
    training = job.args.training
    if not (job.args.recipe.inference_with_ort and (training.do_eval or training.do_predict)):
        return _in_torch(job, trainer, folder, metrics)
    first = trainer.is_world_process_zero()
    with runtime(job, recipe) if first else contextlib.nullcontext() as model:
        (exported,) = broadcast_object_list([model is not None])  # torch's evaluation needs all processes, or none
        if not exported:
            return _in_torch(job, trainer, folder, metrics)
        if model is None:
            return TORCH
        _in_onnx(job, model, folder, metrics)
        return model.name


def _in_onnx(job: Job, model: Runtime, folder: Path, metrics: dict[str, Any]) -> None:
    for split, prefix in _asked(job):
        found = measured(job, split, model, prefix)
        metrics |= {**found.metrics, f"{prefix}_samples": len(job.reading.splits[split])}
        if prefix.startswith("predict") or job.task.writes_validation:
            job.task.write_predictions(job.reading, split, found.prediction.predictions, folder)


def _asked(job: Job) -> list[tuple[str, str]]:
    """Splits with the prefix of their metrics."""
    training = job.args.training
    found = _prefixes(job, "validation", "eval") if training.do_eval else []
    return found + (_prefixes(job, "test", "predict") if training.do_predict else [])


def _in_torch(job: Job, trainer: Trainer, folder: Path, metrics: dict[str, Any]) -> str:
    if job.args.training.do_eval:
        metrics |= _evaluate(job, trainer, folder)
    if job.args.training.do_predict:
        metrics |= _predict(job, trainer, folder)
    return TORCH


def _evaluate(job: Job, trainer: Trainer, folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for split, prefix in _prefixes(job, "validation", "eval"):
        outputs: list[Any] = []
        trainer.compute_metrics = _keeping(job.task.measure(job.reading, split), outputs)
        metrics |= trainer.evaluate(job.reading.encoded[split].features, metric_key_prefix=prefix)
        metrics[f"{prefix}_samples"] = len(job.reading.splits[split])
        if job.task.writes_validation and outputs and trainer.is_world_process_zero():
            job.task.write_predictions(job.reading, split, outputs[-1], folder)
    return metrics


def _keeping(measure: Measure | None, outputs: list[Any]) -> Measure | None:
    """A measure that also keeps what it was given."""
    if measure is None:
        return None

    def measured(given: EvalPrediction) -> dict[str, float]:
        outputs.append(given.predictions)
        return measure(given)

    return measured


def _predict(job: Job, trainer: Trainer, folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for split, prefix in _prefixes(job, "test", "predict"):
        trainer.compute_metrics = job.task.measure(job.reading, split)
        found = trainer.predict(job.reading.encoded[split].features, metric_key_prefix=prefix)
        if trainer.is_world_process_zero():
            job.task.write_predictions(job.reading, split, found.predictions, folder)
        metrics |= {**(found.metrics or {}), f"{prefix}_samples": len(job.reading.splits[split])}
    return metrics


def _prefixes(job: Job, role: str, prefix: str) -> list[tuple[str, str]]:
    """Splits of a role with the prefix of their metrics: MNLI has two of each, the second is ``eval_mm``."""
    names = [split for split in job.reading.encoded if split.split("_")[0] == role]
    return [(name, name.replace(role, prefix)) for name in names]
