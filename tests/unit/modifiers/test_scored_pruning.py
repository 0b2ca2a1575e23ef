from __future__ import annotations

from typing import Any

import pytest
import torch

from sparsify.clock import Clock
from sparsify.errors import SparsifyError
from sparsify.modifiers.registry import get
from sparsify.modifiers.scored_pruning import MovementPruningModifier
from sparsify.modifiers.weight_pruning import WeightPruningModifier
from sparsify.run import TrainingRun
from tests.unit.modifiers.pruning_world import make_mlp, play, zero_share

FC = ["re:fc.*weight"]


def movement(**fields: Any) -> MovementPruningModifier:
    base: dict[str, Any] = {
        "init_sparsity": 0.0,
        "final_sparsity": 0.75,
        "start_epoch": 1.0,
        "end_epoch": 2.0,
        "update_frequency": 0.5,
        "params": FC,
    }
    return MovementPruningModifier(**(base | fields))


def test_registered() -> None:
    assert get("MovementPruningModifier") is MovementPruningModifier


def test_scores_form_before_the_start() -> None:
    """The first update, at the start, prunes by what the steps before it showed."""
    model = make_mlp()
    modifier = movement(init_sparsity=0.5)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters() if name.startswith("fc")}
    before: dict[str, torch.Tensor] = {}

    def watch(step: int, run: TrainingRun) -> None:
        if step == 10:
            for name in ("fc1.weight", "fc2.weight"):
                held = modifier._held.masks[name]
                score = expected[name]
                assert score[~held].max() <= score[held].min()

    def remember(step: int, run: TrainingRun) -> None:
        before.update({n: p.detach().clone() for n, p in model.named_parameters()})

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    optimizer.register_step_pre_hook(
        lambda *_: (
            [
                expected[n].sub_(p.detach() * p.grad)
                for n, p in model.named_parameters()
                if n in expected and p.grad is not None
            ]
            and None
        )
    )
    play(modifier, model, optimizer, before=watch, after=remember)
    assert zero_share(model, "fc1.weight") == 0.75


def test_an_update_without_any_gradient_waits_for_the_next() -> None:
    model = make_mlp()
    seen: dict[int, float] = {}
    play(
        movement(start_epoch=0.0, init_sparsity=0.3),
        model,
        before=lambda step, run: seen.update({step: zero_share(model, "fc1.weight")}),
    )
    assert seen[0] == 0.0  # nothing to prune by yet, and weights must not go by their index
    assert seen[5] > 0.3
    assert zero_share(model, "fc1.weight") == 0.75


def test_a_run_without_gradients_is_an_error_not_a_dense_model() -> None:
    model = make_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)

    def step_without_backward(step: int, run: TrainingRun) -> None:
        model.zero_grad(set_to_none=True)

    modifier = WeightPruningModifier(
        final_sparsity=0.5, start_epoch=0.0, end_epoch=0.0, update_frequency=1.0, params=FC, init_sparsity=0.0
    )
    with pytest.raises(SparsifyError, match=r"scores by snip_momentum, which needs gradients"):
        play(modifier, model, optimizer, before=step_without_backward)


def test_scores_are_forgotten_at_the_end() -> None:
    model, modifier = make_mlp(), movement()
    play(modifier, model)
    assert modifier.state_dict()["scores"] == {}


def test_movement_differs_from_magnitude() -> None:
    """A weight that is large but on its way to zero goes."""
    model, modifier = make_mlp(), movement()
    play(modifier, model)
    held = modifier._held.masks["fc1.weight"]
    weight = make_mlp().get_parameter("fc1.weight").detach().abs()
    gone = weight[~held]
    assert float(gone.max()) > float(weight.median())


class FusedLike(torch.optim.Optimizer):
    """What torch's fused optimizers look like under a gradient scaler: grad_scale and found_inf come as attributes."""

    def step(self, closure: object = None) -> None:
        """Change nothing: only what the hooks see matters here."""

    grad_scale: torch.Tensor | None = None
    found_inf: torch.Tensor | None = None


def test_scaled_gradients_give_the_same_scores_and_skipped_steps_none() -> None:
    plain_model, scaled_model = make_mlp(), make_mlp()
    plain, scaled = movement(), movement()
    for modifier, model, scale in ((plain, plain_model, 1.0), (scaled, scaled_model, 256.0)):
        modifier.place("default/MovementPruningModifier/0", 0.0)
        optimizer = FusedLike(model.parameters(), {})
        run = TrainingRun([modifier], model, optimizer, Clock(10, 40))
        run.open()
        for step in range(3):
            hurt = scale != 1.0 and step == 1
            for p in model.parameters():
                p.grad = torch.full_like(p, float("inf")) if hurt else torch.full_like(p, scale * (step + 1))
            optimizer.grad_scale = torch.tensor(scale)
            optimizer.found_inf = torch.tensor(float(hurt))
            if not (scale == 1.0 and step == 1):
                optimizer.step()
        run.close()
    one, other = plain.state_dict()["scores"], scaled.state_dict()["scores"]
    assert set(one) == {"fc1.weight", "fc2.weight"}
    assert all(torch.equal(one[name], other[name]) for name in one)
