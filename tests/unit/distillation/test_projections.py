from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from sparsify.distillation.projections import Projections
from sparsify.errors import InputError, StateError


def learn(projections: Projections, steps: int, first: int = 0, width: int = 6) -> list[float]:
    """Losses of mapping 4 features onto a fixed map of them."""
    target = torch.randn(4, width, generator=torch.Generator().manual_seed(99))
    losses = []
    for step in range(first, first + steps):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        loss = (projections(0, x, x @ target) - x @ target).square().mean()
        loss.backward()
        projections.step(0.05)
        losses.append(loss.item())
    return losses


def test_learns() -> None:
    losses = learn(Projections(), 100)
    assert losses[-1] < 0.1 * losses[0]


def test_images_are_mapped_by_channel() -> None:
    found = Projections()(0, torch.randn(2, 3, 5, 5), torch.randn(2, 7, 5, 5))
    assert found.shape == (2, 7, 5, 5)


def test_begins_the_same_whatever_the_global_random_state() -> None:
    x = torch.ones(1, 4)
    torch.manual_seed(1)
    first = Projections()(3, x, torch.ones(1, 2))
    torch.manual_seed(2)
    assert torch.equal(first, Projections()(3, x, torch.ones(1, 2)))
    assert not torch.equal(first, Projections()(4, x, torch.ones(1, 2)))


def test_resume_is_exact() -> None:
    whole, half, again = Projections(), Projections(), Projections()
    wanted = learn(whole, 20)
    learn(half, 10)
    again.load_state_dict(copy.deepcopy(half.state_dict()), "cpu")
    assert learn(again, 10, first=10) == wanted[10:]
    assert torch.equal(again.state_dict()["0"]["weight"], whole.state_dict()["0"]["weight"])


def test_gradients_that_are_not_finite_are_thrown_away() -> None:
    projections = Projections()
    learn(projections, 1)
    before = projections.state_dict()["0"]["weight"].clone()
    (projections(0, torch.ones(1, 4), torch.ones(1, 6)).sum() * float("inf")).backward()
    projections.step(0.1)
    assert torch.equal(projections.state_dict()["0"]["weight"], before)
    learn(projections, 1)
    assert not torch.equal(projections.state_dict()["0"]["weight"], before)


def test_nothing_to_learn() -> None:
    Projections().step(0.1)
    assert Projections().state_dict() == {}


@pytest.mark.parametrize(("ours", "theirs"), [((2, 4), (3, 6)), ((2, 4), (2, 4, 4)), ((1, 3, 5, 5), (1, 3, 4, 5))])
def test_other_differences_are_refused(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="in the student"):
        Projections()(0, torch.ones(ours), torch.ones(theirs))


def test_a_state_of_something_else() -> None:
    state: Any = {"0": {"moments": {}}}
    with pytest.raises(StateError, match="has no weight"):
        Projections().load_state_dict(state, "cpu")
