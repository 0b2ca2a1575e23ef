"""Modifiers whose names, fields and rules are known and whose behaviour is not built yet.

They validate, `plan` shows them, and attaching a recipe that has one is refused. To build one, move its class out of
here, drop ``PendingModifier`` from its bases and give it an entry in ``tests/matrix/settings.py``.
"""

from sparsify.modifiers.pending import distillation, oneshot, second_order, sparse_training

__all__ = ["distillation", "oneshot", "second_order", "sparse_training"]
