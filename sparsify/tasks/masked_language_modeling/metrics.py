"""How well hidden tokens are guessed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparsify.distillation.losses import IGNORED

Array = np.ndarray[Any, Any]
_LARGEST = 700.0


def guesses(logits: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """What is kept of a batch's logits, which are too large to keep.

    Args:
        logits: [batch, length, vocabulary].
        labels: [batch, length], -100 where nothing is to be guessed.

    Returns:
        The likeliest token of each position, and minus the logarithm of the true one's probability (0 where nothing is to
        be guessed); both [batch, length].
    """
    scores, true = torch.as_tensor(logits).float(), torch.as_tensor(labels)
    surprise = F.cross_entropy(scores.flatten(0, 1), true.flatten(), ignore_index=IGNORED, reduction="none")
    return scores.argmax(-1), surprise.view(true.shape)


def mlm_metrics(found: Array, surprise: Array, labels: Array) -> dict[str, float]:
    """Perplexity and accuracy over all tokens that were to be guessed.

    Args:
        found: Likeliest tokens [examples, length].
        surprise: Minus log probability of the true ones, same shape.
        labels: True tokens, same shape, -100 where nothing was to be guessed.
    """
    counted = labels != IGNORED
    total = max(1, int(counted.sum()))
    mean = float(surprise[counted].astype(np.float64).sum()) / total
    right = int((found[counted] == labels[counted]).sum())
    return {"perplexity": math.exp(min(mean, _LARGEST)), "accuracy": right / total}
