from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsify.errors import StateError
from sparsify.pruning.score_set import CRITERIA, ScoreSet


def world() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    return {"a": nn.Parameter(torch.randn(3, 4)), "b": nn.Parameter(torch.randn(5))}


def give_gradients(parameters: dict[str, nn.Parameter], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for weight in parameters.values():
        weight.grad = torch.randn(weight.shape, generator=generator)
    return {name: weight.grad.clone() for name, weight in parameters.items() if weight.grad is not None}


def test_snip_momentum_decays_the_past_and_adds_the_present_whole() -> None:
    """Neural Compressor's code (S = 0.9 S + |WG|), not the formula of its documentation."""
    parameters = world()
    kept = ScoreSet(parameters, "snip_momentum")
    expected = {name: torch.zeros_like(w) for name, w in parameters.items()}
    for step in range(3):
        grads = give_gradients(parameters, step)
        kept.observe()
        expected = {n: 0.9 * expected[n] + (w.detach() * grads[n]).abs() for n, w in parameters.items()}
    for name, score in kept.scores().items():
        torch.testing.assert_close(score, expected[name])


@pytest.mark.parametrize("criterion", ["gradient", "snip"])
def test_the_last_step_alone_counts(criterion: str) -> None:
    parameters = world()
    kept, fresh = ScoreSet(parameters, criterion), ScoreSet(parameters, criterion)
    give_gradients(parameters, 0)
    kept.observe()
    give_gradients(parameters, 1)
    kept.observe()
    fresh.observe()
    assert all(torch.equal(kept.scores()[n], fresh.scores()[n]) for n in parameters)


@pytest.mark.parametrize("criterion", ["movement", "taylor"])
def test_sums_over_steps(criterion: str) -> None:
    parameters = world()
    total = ScoreSet(parameters, criterion)
    terms = []
    for step in range(3):
        give_gradients(parameters, step)
        total.observe()
        one = ScoreSet(parameters, criterion)
        one.observe()
        terms.append(one.scores())
    for name in parameters:
        torch.testing.assert_close(total.scores()[name], sum(t[name] for t in terms))


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_ready_when_there_is_something_to_prune_by(criterion: str) -> None:
    parameters = world()
    kept = ScoreSet(parameters, criterion)
    assert kept.ready is (criterion in ("magnitude", "random"))
    give_gradients(parameters, 0)
    kept.observe()
    assert kept.ready
    assert {n: s.shape for n, s in kept.scores().items()} == {n: w.shape for n, w in parameters.items()}


def test_a_parameter_without_a_gradient_adds_nothing() -> None:
    parameters = world()
    give_gradients(parameters, 0)
    parameters["b"].grad = None
    kept = ScoreSet(parameters, "snip_momentum")
    kept.observe()
    assert kept.scores()["b"].tolist() == [0.0] * 5
    assert (kept.scores()["a"] > 0).all()


def test_scaled_gradients_are_unscaled() -> None:
    parameters = world()
    give_gradients(parameters, 0)
    plain = ScoreSet(parameters, "snip")
    plain.observe()
    for weight in parameters.values():
        assert weight.grad is not None
        weight.grad *= 1024.0
    scaled = ScoreSet(parameters, "snip")
    scaled.observe(1024.0)
    assert all(torch.equal(plain.scores()[n], scaled.scores()[n]) for n in parameters)


def test_state_goes_on_where_it_stopped_and_is_a_copy() -> None:
    parameters = world()
    straight = ScoreSet(parameters, "snip_momentum")
    give_gradients(parameters, 0)
    straight.observe()
    saved = straight.state_dict()
    give_gradients(parameters, 1)
    straight.observe()
    resumed = ScoreSet(parameters, "snip_momentum")
    resumed.load_state_dict(saved)
    resumed.observe()
    assert all(torch.equal(straight.scores()[n], resumed.scores()[n]) for n in parameters)


def test_state_of_other_parameters_is_refused() -> None:
    parameters = world()
    kept = ScoreSet(parameters, "snip")
    with pytest.raises(StateError, match=r"do not fit the parameters pruned now: b, c"):
        kept.load_state_dict({"a": torch.zeros(3, 4), "c": torch.zeros(5)})
    kept.load_state_dict({})
    assert not kept.ready


def test_clear_frees_the_scores() -> None:
    parameters = world()
    give_gradients(parameters, 0)
    kept = ScoreSet(parameters, "taylor")
    kept.observe()
    kept.clear()
    assert kept.state_dict() == {}
    assert not kept.ready
