"""Quantization flags to entries of a recipe. Pure: arguments in, entries out."""

from __future__ import annotations

import difflib
from typing import Any

from sparsify.errors import InputError
from sparsify.quantization.range_observers import OBSERVERS
from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.tasks.quantization_arguments import APPROACHES, AWARE, CALIBRATION_SAMPLES, STATIC, QuantizationArguments


def quantization_draft(flags: QuantizationArguments, training: bool, samples: int | None = None) -> Draft:
    """The recipe's entry that the flags stand for.

    Args:
        flags: With ``apply_quantization``.
        training: Whether the run trains.
        samples: ``--num_calibration_samples``.

    Raises:
        InputError: Flags that contradict each other or have impossible values.
    """
    _check(flags, training)
    approach = flags.approach(training)
    if approach == AWARE:
        return Draft([Entry("QuantizationModifier", {"start_epoch": 0}, group="quantization")])
    fields: dict[str, Any] = {"approach": approach}
    if approach == STATIC:
        fields["num_calibration_samples"] = CALIBRATION_SAMPLES if samples is None else samples
    if flags.calibration_observer is not None:
        fields["observer"] = flags.calibration_observer
    return Draft([Entry("PostTrainingQuantizationModifier", fields, group="quantization")])


def check_tolerance(flags: QuantizationArguments) -> None:
    """Refuse a tolerance that is none, and a metric that nothing looks at.

    Raises:
        InputError: Either.
    """
    if flags.tolerance_criterion is None:
        if flags.metric is not None:
            raise InputError(f"--metric {flags.metric} is what --tolerance_criterion looks at: give that too")
    elif not 0 <= flags.tolerance_criterion < 1:
        raise InputError(
            f"--tolerance_criterion is a share from 0 to 1, such as 0.01, got {flags.tolerance_criterion:g}"
        )


def _check(flags: QuantizationArguments, training: bool) -> None:
    _one_of("quantization_approach", flags.quantization_approach, APPROACHES)
    _one_of("calibration_observer", flags.calibration_observer, tuple(OBSERVERS))
    approach = flags.approach(training)
    if approach == AWARE and not training:
        raise InputError("--quantization_approach aware_training quantizes while training: give --do_train")
    if approach != STATIC and flags.calibration_observer is not None:
        raise InputError(
            f"--calibration_observer finds ranges of static quantization, and this is {approach}: give"
            " --quantization_approach static, or leave it out"
        )
    if approach == AWARE and flags.tolerance_criterion is not None:
        raise InputError("--tolerance_criterion belongs to quantization after training: static or dynamic")


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(known)}"
        raise InputError(f"--{name} {value}: {hint}")
