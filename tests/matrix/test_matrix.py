"""Every registered modifier, through everything that training does to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import sparsify.modifiers  # noqa: F401
from sparsify.errors import SparsifyError
from sparsify.modifiers import registry
from sparsify.phases import Phase
from sparsify.run import TrainingRun
from tests.matrix.settings import PAIRS, SETTINGS, Setting
from tests.matrix.world import STEPS_PER_EPOCH, TOTAL, World, assert_same, batch

ALL = {**SETTINGS, **PAIRS}


def settings() -> list[pytest.ParameterSet]:
    return [pytest.param(setting, id=name.replace(" ", "-")) for name, setting in ALL.items()]


def pruning() -> list[pytest.ParameterSet]:
    return [pytest.param(s, id=name.replace(" ", "-")) for name, s in ALL.items() if s.prunes]


def test_every_modifier_that_is_built_has_an_entry() -> None:
    known = {registry.get(name) for name in registry.names()}
    ours = {cls for cls in known if cls.__module__.startswith("sparsify.") and cls.available}
    assert ours == {registry.get(name) for name in SETTINGS}


def cuts(world: World) -> list[int]:
    """Steps at phase boundaries, one beside each, and the middle."""
    from sparsify.clock import Clock

    phases = [Phase(m, Clock(STEPS_PER_EPOCH, TOTAL)) for m in world.manager.modifiers]
    points = {TOTAL // 2}
    for phase in phases:
        for step in (phase.start, phase.end, *sorted(phase.updates)):
            if step is not None:
                points |= {step, step + 1}
    return sorted(p for p in points if 0 < p < TOTAL)


@pytest.mark.parametrize("setting", settings())
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resume_is_bit_exact_at_every_phase_boundary(setting: Setting, optimizer: str, tmp_path: Path) -> None:
    whole = World(setting.recipe, optimizer, setting.sparse_start)
    snapshots: dict[int, Path] = {}
    wanted = cuts(whole)

    def save(run: TrainingRun, step: int) -> None:
        if step + 1 in wanted:
            snapshots[step + 1] = tmp_path / str(step + 1)
            snapshots[step + 1].mkdir()
            whole.save(snapshots[step + 1], run.state_dict())

    end = whole.train(after=save)
    assert sorted(snapshots) == wanted
    for cut, folder in snapshots.items():
        again = World(setting.recipe, optimizer)
        state = again.load(folder)
        assert_same(end, again.train(first=cut, state=state), f"run, cut at {cut}")
        assert_same(whole.model.state_dict(), again.model.state_dict(), f"model, cut at {cut}")
        assert_same(whole.optimizer.state_dict()["state"], again.optimizer.state_dict()["state"], f"optimizer {cut}")
        for a, b in zip(whole.optimizer.param_groups, again.optimizer.param_groups, strict=True):
            assert (a["lr"], a["weight_decay"]) == (b["lr"], b["weight_decay"])


@pytest.mark.parametrize("setting", settings())
def test_accumulation_counts_optimizer_steps_only(setting: Setting) -> None:
    plain, accumulated = (
        World(setting.recipe, sparse_start=setting.sparse_start),
        World(setting.recipe, sparse_start=setting.sparse_start),
    )
    seen: dict[str, list[dict[str, float]]] = {"plain": [], "accumulated": []}
    plain.train(after=lambda run, step: seen["plain"].append(run.values()))
    accumulated.train(parts=2, after=lambda run, step: seen["accumulated"].append(run.values()))
    assert seen["plain"] == seen["accumulated"]
    assert len(seen["plain"]) == TOTAL


@pytest.mark.parametrize("setting", settings())
def test_bf16_autocast_trains_and_keeps_dtypes(setting: Setting) -> None:
    world = World(setting.recipe, sparse_start=setting.sparse_start)
    before = {name: p.dtype for name, p in world.model.state_dict().items()}
    state = world.train(autocast=True)
    assert state["clock"]["step"] == TOTAL
    assert all(torch.isfinite(p).all() for p in world.model.parameters())
    assert {name: p.dtype for name, p in world.model.state_dict().items()} == before


@pytest.mark.parametrize("setting", pruning())
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_what_is_pruned_stays_zero_under_momentum_and_decay(setting: Setting, optimizer: str, autocast: bool) -> None:
    world = World(setting.recipe, optimizer, setting.sparse_start)
    targets: list[float] = []

    def check(run: TrainingRun, step: int) -> None:
        weights = [world.model.get_parameter(name) for name in setting.prunes]
        zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
        targets.append(zeros)

    world.train(after=check, autocast=autocast)
    if "ACDC" not in setting.recipe:
        assert targets == sorted(targets)
    assert targets[-1] > 0.3
    if not setting.sparse_start:
        assert targets[-1] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("setting", settings())
def test_detach_leaves_a_clean_model(setting: Setting) -> None:
    world = World(setting.recipe, sparse_start=setting.sparse_start)
    world.train()
    assert not world.optimizer._optimizer_step_pre_hooks
    assert not world.optimizer._optimizer_step_post_hooks
    for module in world.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert all(p.requires_grad for p in world.model.parameters())
    assert all(not getattr(p, "_backward_hooks", None) for p in world.model.parameters())
    before = [p.clone() for p in world.model.parameters()]
    loss = world.model(**batch(0))["loss"]
    loss.backward()
    world.optimizer.step()
    if all(g["lr"] > 0 for g in world.optimizer.param_groups):
        assert any(not torch.equal(a, b) for a, b in zip(before, world.model.parameters(), strict=True))


@pytest.mark.parametrize("setting", settings())
def test_an_exception_in_the_loop_still_detaches(setting: Setting) -> None:
    world = World(setting.recipe, sparse_start=setting.sparse_start)

    def fail(run: TrainingRun, step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.train(after=fail)
    assert not world.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("setting", pruning())
def test_one_shot_reaches_the_final_sparsity(setting: Setting) -> None:
    world = World(setting.recipe, sparse_start=setting.sparse_start)
    data = [{"input_ids": batch(step)["input_ids"]} for step in range(3)]
    if setting.needs_gradients:
        with pytest.raises(SparsifyError, match="needs gradients"):
            world.manager.apply(world.model, data)
        return
    world.manager.apply(world.model, data)
    weights: list[nn.Parameter] = [world.model.get_parameter(name) for name in setting.prunes]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert zeros > 0.3
    if not setting.sparse_start:
        assert zeros == pytest.approx(0.75, abs=0.01)
