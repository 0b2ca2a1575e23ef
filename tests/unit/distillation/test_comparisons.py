from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparsify.distillation.comparisons import BY_CLASS, BY_POSITION
from sparsify.distillation.losses import distance_over_counted

T = 2.0


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).unbind()
    return student.requires_grad_(), teacher


def test_cross_entropy_is_the_divergence_and_the_teachers_entropy() -> None:
    student, teacher = pair(4, 5)
    chance = (teacher / T).softmax(-1)
    entropy = -(chance * chance.log()).sum(-1) * T**2
    found = BY_POSITION["cross_entropy"](student, teacher, T)
    assert torch.allclose(found, BY_POSITION["kl_divergence"](student, teacher, T) + entropy, atol=1e-5)


def test_by_class_as_well() -> None:
    student, teacher = pair(4, 5)
    chance = (teacher / T).sigmoid()
    entropy = -(chance * chance.log() + (1 - chance) * (1 - chance).log()) * T**2
    found = BY_CLASS["cross_entropy"](student, teacher, T)
    assert torch.allclose(found, BY_CLASS["kl_divergence"](student, teacher, T) + entropy, atol=1e-5)


def test_both_have_one_gradient() -> None:
    student, teacher = pair(4, 5)
    found = [torch.autograd.grad(BY_POSITION[n](student, teacher, T).sum(), student)[0] for n in list(BY_POSITION)[:2]]
    assert torch.allclose(*found, atol=1e-6)


def test_squared_error_is_a_mean_over_classes_without_temperature() -> None:
    student, teacher = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 4.0, 0.0]])
    classes = torch.tensor([[True, True, False]])
    assert BY_POSITION["squared_error"](student, teacher, 7.0).tolist() == pytest.approx([(1 + 4 + 81) / 3])
    assert BY_POSITION["squared_error"](student, teacher, 7.0, classes).tolist() == [2.5]


@pytest.mark.parametrize("name", BY_POSITION)
def test_classes_out_of_the_softmax_have_no_part(name: str) -> None:
    student, teacher = pair(2, 6)
    classes = torch.tensor([[True] * 4 + [False] * 2] * 2)
    found = BY_POSITION[name](student, teacher, T, classes)
    assert torch.allclose(found, BY_POSITION[name](student[:, :4], teacher[:, :4], T), atol=1e-6)
    found.sum().backward()
    assert student.grad is not None
    assert student.grad[:, 4:].abs().max() == 0


@pytest.mark.parametrize("name", BY_POSITION)
def test_the_comparison_asked_for_is_used(name: str) -> None:
    student, teacher = pair(2, 3, 4)
    labels = torch.tensor([[0, -100, 1], [-100, 2, -100]])
    total, count = distance_over_counted("logits", student, teacher, T, {"labels": labels}, name)
    assert int(count) == 3
    assert torch.allclose(total, BY_POSITION[name](student, teacher, T)[labels != -100].sum())
    several = distance_over_counted("logits", student[:, 0], teacher[:, 0], T, {"labels": torch.zeros(2, 4)}, name)
    assert torch.allclose(several[0], BY_CLASS[name](student[:, 0], teacher[:, 0], T).sum())
