from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sparsify.clock import Clock
from sparsify.errors import RecipeError, StateError
from sparsify.modifiers.training import EpochRangeModifier, SetWeightDecayModifier, TrainableParamsModifier


def make_run(frozen: tuple[str, ...] = ()) -> SimpleNamespace:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(4, 4))
    model.add_module("fc2", nn.Linear(4, 2))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    groups = [{"params": model.fc1.parameters(), "weight_decay": 0.1}, {"params": model.fc2.parameters()}]
    return SimpleNamespace(model=model, optimizer=torch.optim.AdamW(groups, lr=0.1), clock=Clock(10, 60), teacher=None)


def flags(run: SimpleNamespace) -> dict[str, bool]:
    return {n: p.requires_grad for n, p in run.model.named_parameters()}


def train_step(run: SimpleNamespace) -> None:
    run.model(torch.ones(2, 4)).sum().backward()
    run.optimizer.step()
    run.optimizer.zero_grad()


class TestEpochRange:
    def test_only_says_how_long(self) -> None:
        modifier = EpochRangeModifier(start_epoch=0.0, end_epoch=5)
        modifier.place("default/EpochRangeModifier/0", 2.0)
        assert modifier.last_epoch() == 7.0
        assert modifier.state_dict() == {}
        assert modifier.values(1.0) == {}

    def test_needs_both_ends(self) -> None:
        with pytest.raises(ValidationError, match="end_epoch"):
            EpochRangeModifier(start_epoch=0.0)  # type: ignore[call-arg]


class TestSetWeightDecay:
    def test_every_group(self) -> None:
        run = make_run()
        SetWeightDecayModifier(weight_decay=0.0).on_start(run)
        assert [g["weight_decay"] for g in run.optimizer.param_groups] == [0.0, 0.0]

    def test_chosen_groups_stay_set_after_detach_and_in_the_optimizer_state(self) -> None:
        run, modifier = make_run(), SetWeightDecayModifier(weight_decay=0.25, param_groups=[1], start_epoch=1.0)
        modifier.on_attach(run)
        modifier.on_start(run)
        modifier.on_detach(run)
        other = make_run()
        other.optimizer.load_state_dict(run.optimizer.state_dict())
        assert [g["weight_decay"] for g in other.optimizer.param_groups] == [0.1, 0.25]
        assert modifier.values(0.9) == {}
        assert modifier.values(1.0) == {"weight_decay": 0.25}

    def test_unknown_group(self) -> None:
        modifier = SetWeightDecayModifier(weight_decay=0.1, param_groups=[0, 2])
        with pytest.raises(RecipeError, match=r"\[2\] do not exist: the optimizer has 2"):
            modifier.on_attach(make_run())

    @pytest.mark.parametrize("fields", [{"weight_decay": -0.1}, {"weight_decay": 0.1, "end_epoch": -2.0}, {}])
    def test_refuses(self, fields: dict[str, float]) -> None:
        with pytest.raises(ValidationError):
            SetWeightDecayModifier(**fields)  # type: ignore[arg-type]


class TestTrainableParams:
    @pytest.fixture
    def frozen(self) -> Iterator[tuple[SimpleNamespace, TrainableParamsModifier]]:
        run, modifier = make_run(), TrainableParamsModifier(params=["re:fc1.*"], trainable=False)
        modifier.on_attach(run)
        yield run, modifier
        modifier.on_detach(run)
        assert all(flags(run).values())

    def test_frozen_parameters_do_not_move_even_by_weight_decay_or_momentum(
        self, frozen: tuple[SimpleNamespace, TrainableParamsModifier]
    ) -> None:
        run, modifier = frozen
        train_step(run)
        run.model(torch.ones(2, 4)).sum().backward()  # as in a plain loop: the start comes between backward and step
        before = {n: p.clone() for n, p in run.model.named_parameters()}
        modifier.on_start(run)
        run.optimizer.step()
        after = dict(run.model.named_parameters())
        assert torch.equal(after["fc1.weight"], before["fc1.weight"])
        assert not torch.equal(after["fc2.weight"], before["fc2.weight"])
        assert flags(run) == {"fc1.weight": False, "fc1.bias": False, "fc2.weight": True, "fc2.bias": True}

    def test_end_restores_what_was(self) -> None:
        run = make_run(frozen=("fc1.bias",))
        modifier = TrainableParamsModifier(params="re:fc1.*", trainable=False, end_epoch=3.0)
        modifier.on_attach(run)
        modifier.on_start(run)
        modifier.on_end(run)
        assert flags(run) == {"fc1.weight": True, "fc1.bias": False, "fc2.weight": True, "fc2.bias": True}
        assert modifier.state_dict() == {"before": {}, "now": {}}

    def test_can_unfreeze(self) -> None:
        run = make_run(frozen=("fc1.weight", "fc1.bias"))
        modifier = TrainableParamsModifier(params=["fc1.weight"], trainable=1)
        modifier.on_attach(run)
        modifier.on_start(run)
        before = run.model.fc1.weight.clone()
        train_step(run)
        assert not torch.equal(run.model.fc1.weight, before)

    def test_says_when_the_optimizer_lacks_what_it_unfreezes(self, caplog: pytest.LogCaptureFixture) -> None:
        run = make_run()
        run.optimizer = torch.optim.SGD(run.model.fc1.parameters(), lr=0.1)
        TrainableParamsModifier(params="__ALL__", trainable=True).on_attach(run)
        assert "does not hold fc2.weight, fc2.bias" in caplog.text

    def test_resume_is_exact_while_active(self, frozen: tuple[SimpleNamespace, TrainableParamsModifier]) -> None:
        run, modifier = frozen
        modifier.on_start(run)
        other, again = make_run(), TrainableParamsModifier(params=["re:fc1.*"], trainable=False)
        again.on_attach(other)
        again.load_state_dict(modifier.state_dict(), other)
        assert flags(other) == flags(run)
        again.on_start(other)  # must not take the frozen state for the original one
        again.on_end(other)
        assert all(flags(other).values())

    def test_state_of_other_parameters(self) -> None:
        run, modifier = make_run(), TrainableParamsModifier(params=["fc1.bias"], trainable=False)
        modifier.on_attach(run)
        with pytest.raises(StateError, match="fc9"):
            modifier.load_state_dict({"before": {"fc9": True}, "now": {"fc9": False}}, run)

    def test_no_match(self) -> None:
        with pytest.raises(RecipeError):
            TrainableParamsModifier(params=["fc1.weight", "fc3.weight"], trainable=False).on_attach(make_run())
        run = make_run()
        lax = TrainableParamsModifier(params=["fc1.weight", "fc3.weight"], trainable=False, params_strict=False)
        lax.on_attach(run)
        lax.on_start(run)
        assert [n for n, learns in flags(run).items() if not learns] == ["fc1.weight"]

    def test_freezing_everything(self) -> None:
        with pytest.raises(RecipeError, match="freeze every parameter"):
            TrainableParamsModifier(params="__ALL__", trainable=False).on_attach(make_run())
