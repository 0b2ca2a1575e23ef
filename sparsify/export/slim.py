"""Remove dead heads and neurons just before export, and check that the model still says the same."""

from __future__ import annotations

import logging

import numpy as np

from sparsify.errors import CheckFailed
from sparsify.export.parity import FP32_TOLERANCE, torch_outputs
from sparsify.export.source import Source
from sparsify.pruning.shrink import Shrinkage, shrink

logger = logging.getLogger(__name__)


def shrink_source(source: Source) -> Shrinkage:
    """Shrink the model that is about to be exported (a copy, or loaded for it), in place.

    Raises:
        InputError: The model is of no family whose heads or neurons can be removed.
        CheckFailed: Its outputs changed (not looked at for int8, where the last bit of a sum may move a rounding).
    """
    inputs = source.example()
    names = tuple(source.task.outputs)
    before = torch_outputs(source.model, inputs, names)
    change = shrink(source.model)
    if change and source.precision == "fp32":
        after = torch_outputs(source.model, inputs, names)
        # numpy's max keeps NaN, Python's does not
        far = float(np.max([np.abs(a - b).max() for a, b in zip(before, after, strict=True)]))
        if not far <= FP32_TOLERANCE:
            raise CheckFailed(f"removing dead parts changed the model's outputs by {far:.2g}: export without --shrink")
    logger.info("%s", change)
    return change
