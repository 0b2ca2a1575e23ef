"""Quantization within a tolerance: layers are left in float, the most sensitive first, until the metric holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sparsify.errors import InputError
from sparsify.manager import ModifierManager
from sparsify.quantization.insert import coverage_of
from sparsify.quantization.layers import enable_calibrated, set_enabled
from sparsify.quantization.remove import remove_quantizers
from sparsify.quantization.sensitivity import in_float, sensitivities
from sparsify.recipe.recipe import Recipe
from sparsify.tasks.calibration import calibration_batches, first_inputs

if TYPE_CHECKING:
    from transformers import Trainer

    from sparsify.tasks.base import Job

logger = logging.getLogger(__name__)
_IGNORE = "PostTrainingQuantizationModifier.ignore"
_USUAL = ("eval_f1", "eval_accuracy", "eval_f1_micro", "eval_pearson", "eval_loss")
_PROBES = 32


@dataclass(frozen=True)
class Trial:
    """One attempt: how many parts were in float, and the metric."""

    parts: int
    value: float


@dataclass(frozen=True)
class Goal:
    """What a metric must reach.

    Attributes:
        metric: Its name.
        dense: Its value before quantization.
        tolerance: Relative loss that is allowed.
    """

    metric: str
    dense: float
    tolerance: float

    @property
    def sign(self) -> int:
        """1 where more is better, -1 for a loss or an error."""
        return -1 if self.metric.rpartition("_")[2] in ("loss", "mse", "error", "perplexity") else 1

    @property
    def least(self) -> float:
        """The worst value that will do."""
        return self.dense - self.sign * self.tolerance * abs(self.dense)

    def met(self, value: float) -> bool:
        """Whether ``value`` will do."""
        return self.sign * (value - self.least) >= 0


def fewest(total: int, try_parts: Callable[[int], float], goal: Goal) -> tuple[Trial, list[Trial]]:
    """The fewest parts in float with which the goal is met: doubled until it is, then halved back.

    Args:
        total: Parts there are; one at least stays quantized.
        try_parts: From how many of the most sensitive parts are in float to the metric.
        goal: What to reach.

    Returns:
        The trial to keep (the best one where none meets the goal) and all trials, in order.
    """
    trials = [Trial(0, try_parts(0))]
    failed = 0
    while not goal.met(trials[-1].value) and trials[-1].parts < total - 1:
        failed = trials[-1].parts
        count = min(max(1, 2 * failed), total - 1)
        trials.append(Trial(count, try_parts(count)))
    if not goal.met(trials[-1].value):
        return max(trials, key=lambda t: (goal.sign * t.value, -t.parts)), trials
    good = trials[-1]
    while good.parts - failed > 1:
        trials.append(Trial((failed + good.parts) // 2, try_parts((failed + good.parts) // 2)))
        failed, good = (failed, trials[-1]) if goal.met(trials[-1].value) else (trials[-1].parts, good)
    return good, trials


def check_goal(job: Job, trainer: Trainer, manager: ModifierManager | None) -> None:
    """Refuse what ``--tolerance_criterion`` could not measure: before a training, not after it.

    A ``--metric`` that is named is looked for in one evaluation of the model as it is; random numbers are left as
    they were.

    Raises:
        InputError: There is no validation data, or no such metric.
    """
    flags = job.args.quantization
    if flags is None or flags.tolerance_criterion is None:
        return
    if manager is None or not manager.post_training:
        logger.warning("--tolerance_criterion has no effect: nothing is quantized after training")
        return
    if "validation" not in job.reading.encoded:
        raise InputError("--tolerance_criterion measures on validation data: give --validation_file or --dataset_name")
    if flags.metric is not None and not job.args.recipe.one_shot:
        with torch.random.fork_rng():
            _named(flags.metric, _measure(job, trainer))


def within_tolerance(job: Job, trainer: Trainer, manager: ModifierManager) -> ModifierManager:
    """Leave parts of a model that was quantized after training in float until ``--metric`` holds; says what it did.

    Args:
        job: Its model is quantized; changed in place.
        trainer: Evaluates it.
        manager: What quantized it.

    Returns:
        The manager of the recipe that names what stays float; ``manager`` itself where nothing has to.

    Raises:
        InputError: There is no such metric.
    """
    flags = job.args.quantization
    if flags is None or flags.tolerance_criterion is None:
        return manager
    goal = _goal(job, trainer, flags.metric, flags.tolerance_criterion)
    batches = calibration_batches(job, manager)
    order = sensitivities(job.model.eval(), first_inputs(job, _PROBES))
    names = list(order)

    def measured(count: int) -> float:
        with in_float(job.model, names[:count]):
            value = _measure(job, trainer)[goal.metric]
        logger.info(
            "%d of %d parts in float: %s %.4f (at least %.4f)", count, len(names), goal.metric, value, goal.least
        )
        return float(value)

    kept, trials = fewest(len(names), measured, goal)
    found = _leaving(job, manager, names[: kept.parts], batches) if kept.parts else manager
    logger.info("%s", summary(goal, order, kept, trials))
    if not goal.met(kept.value):
        logger.warning("the tolerance was not met; the best effort is kept: %s %.4f", goal.metric, kept.value)
    return found


def summary(goal: Goal, order: dict[str, float], kept: Trial, trials: Sequence[Trial]) -> str:
    """What was tried and what became of it, as a table."""
    lines = [
        f"{goal.metric} in float {goal.dense:.4f}, quantized {trials[0].value:.4f}, kept {kept.value:.4f}"
        f" with {kept.parts} of {len(order)} parts in float ({len(trials)} trials)"
    ]
    if kept.parts:
        width = max(len(name) for name in list(order)[: kept.parts])
        lines += [f"  {'left in float':{width}}  error of the outputs by itself"]
        lines += [f"  {name:{width}}  {error:.2e}" for name, error in list(order.items())[: kept.parts]]
    return "\n".join(lines)


def _goal(job: Job, trainer: Trainer, metric: str | None, tolerance: float) -> Goal:
    set_enabled(job.model, False)
    dense = _measure(job, trainer)
    enable_calibrated(job.model)
    name = _named(metric, dense)
    return Goal(name, float(dense[name]), tolerance)


def _named(metric: str | None, found: dict[str, Any]) -> str:
    """The name of a metric, or of the usual one, as evaluation gives it."""
    asked = [metric, f"eval_{metric}"] if metric else list(_USUAL)
    name = next((n for n in asked if n in found), None)
    if name is None:
        known = ", ".join(sorted(k for k, v in found.items() if isinstance(v, float) and "_per_second" not in k))
        raise InputError(f"--metric {metric}: evaluation gives no such metric; it gives {known}")
    return name


def _measure(job: Job, trainer: Trainer) -> dict[str, Any]:
    trainer.compute_metrics = job.task.measure(job.reading, "validation")
    found: dict[str, Any] = trainer.evaluate(job.reading.encoded["validation"].features, metric_key_prefix="eval")
    return found


def _leaving(job: Job, manager: ModifierManager, names: list[str], batches: Any) -> ModifierManager:
    """Quantize anew by a recipe that ignores ``names``: what is saved is what the recipe builds."""
    before = coverage_of(job.model).selection
    ignore = [*(before.ignore if before is not None else ()), *names]
    recipe, record = (
        Recipe.from_text(r.text, r.origin, set_fields={_IGNORE: ignore}) for r in (manager.recipe, manager.record)
    )
    found = ModifierManager(recipe)
    found.record = record
    remove_quantizers(job.model)
    found.calibrate(job.model, batches)
    return found
