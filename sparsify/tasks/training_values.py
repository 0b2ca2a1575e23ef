"""Values of Hugging Face's flags that would fail, or do nothing, only after data and model are loaded."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from sparsify.errors import InputError, first_line
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.calibration import check_count

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)
_LEAST: dict[str, float] = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "num_train_epochs": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "adam_beta1": 0,
    "adam_beta2": 0,
    "adam_epsilon": 0,
    "label_smoothing_factor": 0,
    "dataloader_num_workers": 0,
    "seed": 0,
}
_BELOW: dict[str, float] = {"adam_beta1": 1, "adam_beta2": 1, "label_smoothing_factor": 1, "seed": 2**32}


def check_values(args: Arguments[Any]) -> None:
    """Refuse numbers that cannot be, and programs for ``--report_to`` that are not there.

    Raises:
        InputError: One of them; names the flag.
    """
    for name, least in _LEAST.items():
        value = getattr(args.training, name)
        most = _BELOW.get(name, math.inf)
        if not isinstance(value, int | float) or not least <= value < most:
            bounds = f"at least {least:g}" + (f" and below {most:.10g}" if math.isfinite(most) else "")
            raise InputError(f"--{name} must be {bounds}, got {value}")
    recipe = args.recipe
    if recipe.num_export_samples < 0:
        raise InputError(f"--num_export_samples must be at least 0, got {recipe.num_export_samples}")
    check_count(recipe.num_calibration_samples)
    if recipe.best_model_after_epoch is not None and not args.training.load_best_model_at_end:
        logger.warning(
            "--best_model_after_epoch %g has no effect without --load_best_model_at_end", recipe.best_model_after_epoch
        )
    _check_reporting(args.training)


def _check_reporting(training: TrainingArguments) -> None:
    from transformers.integrations import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks(training.report_to):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:
        named = " ".join(training.report_to)
        raise InputError(f"--report_to {named}: {first_line(error)} (none: nothing is reported)") from error
