"""Which examples static quantization is calibrated on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsify.distillation.teacher import NOT_FOR_TEACHERS
from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.manager import ModifierManager
    from sparsify.tasks.base import Job

SAMPLES = 512
"""Examples, where neither the recipe nor a flag says how many."""


def check_count(asked: int | None) -> None:
    """Refuse ``--num_calibration_samples`` below 1.

    Raises:
        InputError: It is.
    """
    if asked is not None and asked < 1:
        raise InputError(f"--num_calibration_samples must be at least 1, got {asked}")


def calibration_batches(job: Job, manager: ModifierManager) -> list[dict[str, Any]] | None:
    """Model inputs of the first training examples, on the device of the run; None where nothing is calibrated.

    Every process takes the same ones, so their ranges are the same.

    Raises:
        InputError: There is no training data, or flag and recipe ask for different numbers of examples.
    """
    after = manager.post_training
    if not any(m.kind == "quantization" for m in manager.modifiers) or (after and not any(m.needs_data for m in after)):
        return None
    if "train" not in job.reading.encoded:
        raise InputError(
            "static quantization is calibrated on training data, and there is none: give --train_file or --dataset_name"
        )
    return _inputs(job, "train", _samples(job, manager))


def first_inputs(job: Job, count: int) -> list[dict[str, Any]]:
    """Model inputs of the first ``count`` examples of training data, of validation data where there is none."""
    return _inputs(job, "train" if "train" in job.reading.encoded else "validation", count)


def _inputs(job: Job, split: str, count: int) -> list[dict[str, Any]]:
    features = job.reading.encoded[split].features[:count]
    size, collate = job.args.training.per_device_train_batch_size, job.task.collator(job.reading.tokenizer)
    batches = [collate([dict(f) for f in features[i : i + size]]) for i in range(0, len(features), size)]
    device = job.args.training.device
    return [{key: value.to(device) for key, value in batch.items() if key not in NOT_FOR_TEACHERS} for batch in batches]


def _samples(job: Job, manager: ModifierManager) -> int:
    asked = job.args.recipe.num_calibration_samples
    check_count(asked)
    own = [m.num_calibration_samples for m in manager.post_training if m.num_calibration_samples is not None]
    if asked is not None and (other := [count for count in own if count != asked]):
        raise InputError(
            f"--num_calibration_samples {asked}, but the recipe says {other[0]}: drop the flag, or give --set"
            f" PostTrainingQuantizationModifier.num_calibration_samples={asked}"
        )
    return asked or max(own, default=SAMPLES)
