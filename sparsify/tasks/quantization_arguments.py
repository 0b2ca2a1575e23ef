"""Flags that stand for a recipe: quantization as the scripts of Neural Compressor and optimum-intel had it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sparsify.tasks.arguments import flag

AWARE, STATIC, DYNAMIC = "aware_training", "static", "dynamic"
APPROACHES = (DYNAMIC, STATIC, AWARE)
CALIBRATION_SAMPLES = 50
"""Training examples that static quantization is calibrated on, unless a number is given."""


@dataclass
class QuantizationArguments:
    """Quantization without a recipe file: these flags are compiled into a recipe, which is shown and saved."""

    apply_quantization: bool = flag(False, "Quantize weights and activations to int8.")
    quantization_approach: str | None = flag(
        None,
        "dynamic (ranges from each batch), static (calibrated on training data) or aware_training (default:"
        " aware_training with --do_train, else dynamic).",
    )
    calibration_observer: str | None = flag(
        None, "Ranges of static quantization: min_max, moving_average, percentile, mse or entropy."
    )
    tolerance_criterion: float | None = flag(
        None, "Largest relative loss of --metric, such as 0.01: layers are left in float until it is met."
    )
    metric: str | None = flag(
        None, "What --tolerance_criterion looks at (default: eval_f1, or eval_accuracy).", "--metric_name"
    )

    @property
    def asked(self) -> bool:
        """Whether there is a recipe to compile."""
        return self.apply_quantization

    def approach(self, training: bool) -> str:
        """Which of the three, where ``training`` says whether the run trains."""
        return self.quantization_approach or (AWARE if training else DYNAMIC)

    def one_shot(self, training: bool) -> bool:
        """Whether the model is quantized as it is: nothing trains, and nothing that needs training is asked for."""
        return not training and self.approach(training) != AWARE

    def idle(self, explicit: frozenset[str]) -> str | None:
        """What to say of flags that have no effect without another one; None: nothing."""
        of_any_recipe = _TOLERANCE if "recipe" in explicit else ()
        found = [name for name in FLAGS if name in explicit and name not in of_any_recipe]
        if self.asked or not found or "apply_quantization" in explicit:
            return None
        return f"without --apply_quantization nothing is quantized: --{', --'.join(found)} has no effect"


_TOLERANCE = ("tolerance_criterion", "metric")
FLAGS = tuple(field.name for field in dataclasses.fields(QuantizationArguments))
