"""Loss between two models' outputs over the positions that count (Hinton et al., 2015, arXiv:1503.02531)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsify.distillation.comparisons import BY_CLASS, BY_POSITION
from sparsify.errors import InputError

IGNORED = -100
"""Label of a position that does not count."""

SPAN_KEYS = ("start_logits", "end_logits")
"""Outputs [B, S] whose classes are the positions of the sequence: one softmax over S."""

_NOT_LOGITS = ("loss", "last_hidden_state", "pooler_output", "encoder_last_hidden_state")


def distance_over_counted(
    key: str,
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    inputs: Mapping[str, Any],
    comparison: str = "kl_divergence",
) -> tuple[Tensor, Tensor]:
    """A distance summed over the positions of one output that count, and how many those are.

    [B, S, C] counts where ``labels`` is not -100, without labels where ``attention_mask`` is 1; [B, C] counts every
    row; the [B, S] span outputs of question answering are one softmax over S, padding left out. Two outputs are no
    softmax: the one number of a regression, [B, 1], gives squared differences whatever the comparison, and classes that
    do not exclude each other (``labels`` are floats [B, C]) count each on its own.

    Args:
        key: Name of the output.
        student: Its logits in the student.
        teacher: Its logits in the teacher.
        temperature: T, above 0.
        inputs: The batch (``labels`` and ``attention_mask`` are read).
        comparison: One of ``BY_POSITION``.

    Returns:
        Sum and count, both scalars.

    Raises:
        InputError: The shapes differ.
    """
    if student.shape != teacher.shape:
        raise InputError(
            f"distillation: output {key!r} is {list(student.shape)} in the student and {list(teacher.shape)} in the "
            f"teacher; a teacher must have the student's classes and read the same tokens"
        )
    attended = inputs.get("attention_mask")
    attended = attended if isinstance(attended, Tensor) else None
    compare, labels = BY_POSITION[comparison], inputs.get("labels")
    if key in SPAN_KEYS:
        distances = compare(student, teacher, temperature, None if attended is None else _like(attended == 1, student))
    elif student.dim() == 2 and student.shape[-1] == 1:
        distances = BY_CLASS["squared_error"](student, teacher, temperature)
    elif isinstance(labels, Tensor) and labels.is_floating_point() and labels.shape == student.shape:
        distances = BY_CLASS[comparison](student, teacher, temperature)
    else:
        distances = compare(student, teacher, temperature)
        if (mask := _counted(distances, labels, attended)) is not None:
            return distances.masked_fill(~mask, 0.0).sum(), mask.sum()
    return distances.sum(), _count(distances)


def predicts_next_token(model: nn.Module) -> bool:
    """Whether a model is one of transformers' causal language models, whose logits at a position are of the next token."""
    auto = sys.modules.get("transformers.models.auto.modeling_auto")  # unless it is loaded, no model is one of its
    return auto is not None and type(model).__name__ in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()


def at_predictions(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A causal language model's batch with each label [B, S] where it is predicted, a position earlier."""
    labels = inputs.get("labels")
    if not isinstance(labels, Tensor) or labels.dim() != 2:
        return inputs
    return {**inputs, "labels": functional.pad(labels[:, 1:], (0, 1), value=IGNORED)}


def _counted(by_position: Tensor, labels: object, attended: Tensor | None) -> Tensor | None:
    """Where positions count; None if all do."""
    if isinstance(labels, Tensor) and by_position.dim() > 1 and labels.shape == by_position.shape:
        return _like(labels != IGNORED, by_position)
    if attended is not None and attended.shape == by_position.shape:
        return _like(attended == 1, by_position)
    return None


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.to(values.device)


def _count(values: Tensor) -> Tensor:
    return torch.tensor(values.numel(), device=values.device)


def named_outputs(outputs: Any) -> dict[str, Any]:
    """A model's outputs by name: a bare tensor is ``logits``, those of a tuple are ``0``, ``1``, ..."""
    if isinstance(outputs, Tensor):
        return {"logits": outputs}
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, Sequence):
        return {str(i): value for i, value in enumerate(outputs)}
    raise InputError(f"distillation: a model returned a {type(outputs).__name__}; wanted a tensor, a dict or a tuple")


def matching_keys(student: Mapping[str, Any], teacher: Mapping[str, Any], wanted: Sequence[str] | None) -> list[str]:
    """Names of the outputs to distill: ``wanted``, or else the logits that both models give.

    Raises:
        InputError: A wanted one is missing or no tensor of logits, or no output is shared.
    """
    if wanted is None:
        both = [k for k in student if k in teacher and is_logits(k, student[k]) and is_logits(k, teacher[k])]
        named = [k for k in both if k.endswith("logits")]
        if not both:
            raise InputError(
                f"distillation: student and teacher share no logits: the student gives {_listed(student)}, the teacher "
                f"{_listed(teacher)}; name the outputs in distill_output_keys"
            )
        return named or both
    for key in wanted:
        for who, outputs in (("student", student), ("teacher", teacher)):
            if key not in outputs:
                raise InputError(f"distillation: the {who} gives no output {key!r}; it gives {_listed(outputs)}")
            if not is_logits(key, outputs[key]):
                raise InputError(
                    f"distillation: output {key!r} of the {who} is {_kind(outputs[key])}; wanted floating logits "
                    f"[batch, ..., classes]"
                )
    return list(wanted)


def is_logits(key: str, value: object) -> bool:
    """Whether an output can be a tensor of logits: floats, [batch, ..., classes], and no hidden state by name."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 2 and key not in _NOT_LOGITS


def _kind(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _listed(outputs: Mapping[str, Any]) -> str:
    return ", ".join(k for k, v in outputs.items() if v is not None) or "nothing"
