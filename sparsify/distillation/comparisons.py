"""How far two models' logits are apart, by position or by class (Hinton et al., 2015, arXiv:1503.02531)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def kl_by_position(student: Tensor, teacher: Tensor, temperature: float, classes: Tensor | None = None) -> Tensor:
    """``KL(softmax(teacher / T) || softmax(student / T)) * T^2`` over the last dimension, in fp32.

    Args:
        student: Logits [..., C].
        teacher: Logits of the same shape.
        temperature: T, above 0.
        classes: Booleans [..., C], False for classes that must take no part.

    Returns:
        One value per position, [...].
    """
    log_student = _softened(student, temperature, classes).log_softmax(-1)
    log_teacher = _softened(teacher, temperature, classes).log_softmax(-1)
    terms = log_teacher.exp() * (log_teacher - log_student)
    if classes is not None:
        terms = terms.masked_fill(~classes, 0.0)
    return terms.sum(-1) * temperature**2


def kl_by_class(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``KL(sigmoid(teacher / T) || sigmoid(student / T)) * T^2`` of each class on its own, in fp32.

    Args:
        student: Logits.
        teacher: Logits of the same shape.
        temperature: T, above 0.

    Returns:
        One value per logit.
    """
    student, teacher = student.float() / temperature, teacher.float() / temperature
    chance = teacher.sigmoid()
    on = chance * (logsigmoid(teacher) - logsigmoid(student))
    off = (1 - chance) * (logsigmoid(-teacher) - logsigmoid(-student))
    return (on + off) * temperature**2


def cross_entropy_by_position(
    student: Tensor, teacher: Tensor, temperature: float, classes: Tensor | None = None
) -> Tensor:
    """``-sum(softmax(teacher / T) * log softmax(student / T)) * T^2``: the KL divergence and the teacher's entropy.

    Args and result are those of ``kl_by_position``, as are the gradients.
    """
    chance = _softened(teacher, temperature, classes).softmax(-1)
    terms = chance * _softened(student, temperature, classes).log_softmax(-1)
    return -(terms if classes is None else terms.masked_fill(~classes, 0.0)).sum(-1) * temperature**2


def squared_error_by_position(
    student: Tensor, teacher: Tensor, temperature: float, classes: Tensor | None = None
) -> Tensor:
    """``mean((student - teacher)^2)`` over the classes of logits, which T does not change.

    Args and result are those of ``kl_by_position``.
    """
    squares = (student.float() - teacher.float()).square()
    if classes is None:
        return squares.mean(-1)
    return squares.masked_fill(~classes, 0.0).sum(-1) / classes.sum(-1).clamp(min=1)


def cross_entropy_by_class(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Binary cross-entropy of each class against the teacher's sigmoid, times T^2; as ``kl_by_class``."""
    student, chance = student.float() / temperature, (teacher.float() / temperature).sigmoid()
    return -(chance * logsigmoid(student) + (1 - chance) * logsigmoid(-student)) * temperature**2


def _softened(logits: Tensor, temperature: float, classes: Tensor | None) -> Tensor:
    """In fp32, by the temperature, with classes that take no part out of the softmax."""
    logits = logits.float() / temperature
    return logits if classes is None else logits.masked_fill(~classes, torch.finfo(torch.float32).min / 2)


def _squares(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return (student.float() - teacher.float()).square()


BY_POSITION: dict[str, Callable[..., Tensor]] = {
    "kl_divergence": kl_by_position,
    "cross_entropy": cross_entropy_by_position,
    "squared_error": squared_error_by_position,
}
"""How far two tensors of logits are apart, by position, where classes exclude each other."""
BY_CLASS: dict[str, Callable[..., Tensor]] = {
    "kl_divergence": kl_by_class,
    "cross_entropy": cross_entropy_by_class,
    "squared_error": _squares,
}
"""The same where they do not."""
