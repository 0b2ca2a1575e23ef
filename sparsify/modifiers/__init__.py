"""Modifiers: the entries of a recipe. Importing this package registers all that sparsify brings."""

from sparsify.modifiers import (
    distillation,
    feature_distillation,
    hidden_state_distillation,
    layer_pruning,
    learning_rate,
    output_distillation,
    parameters,
    pending,
    pruning,
    quantization,
    reporting,
    scored_pruning,
    sparse_training,
    training,
    weight_pruning,
)

__all__ = [
    "distillation",
    "feature_distillation",
    "hidden_state_distillation",
    "layer_pruning",
    "learning_rate",
    "output_distillation",
    "parameters",
    "pending",
    "pruning",
    "quantization",
    "reporting",
    "scored_pruning",
    "sparse_training",
    "training",
    "weight_pruning",
]
