"""Pruning as pure tensor functions: scores, patterns, schedules, masks. Knows nothing of recipes or trainers."""

from sparsify.pruning.masks import compute_masks

__all__ = ["compute_masks"]
