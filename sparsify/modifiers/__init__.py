"""Modifiers: the entries of a recipe. Importing this package registers all that sparsify brings."""

from sparsify.modifiers import (
    distillation,
    learning_rate,
    pending,
    pruning,
    quantization,
    scored_pruning,
    sparse_training,
    training,
    weight_pruning,
)

__all__ = [
    "distillation",
    "learning_rate",
    "pending",
    "pruning",
    "quantization",
    "scored_pruning",
    "sparse_training",
    "training",
    "weight_pruning",
]
