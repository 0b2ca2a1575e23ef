from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sparsify import load_recipe
from sparsify.errors import InputError
from sparsify.modifiers.freezing import drop_gradient, learns, let_learn

RECIPE = """
modifiers:
  - !TrainableParamsModifier {params: ['re:0.*'], trainable: false, start_epoch: 1, end_epoch: 2}
  - !EpochRangeModifier {start_epoch: 0, end_epoch: 3}
"""


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def train(plain: nn.Sequential, model: nn.Module, begin: bool) -> list[dict[str, torch.Tensor]]:
    """Weights after each step; momentum and weight decay would move what is frozen, and clipping sees its gradients."""
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    data, seen = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), []
    with load_recipe(RECIPE).attach(model, optimizer, steps_per_epoch=2) as run:
        for _ in range(6):
            if begin:
                run.begin_step()
            model(data).square().sum().backward()
            if begin:
                nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
            seen.append(copy.deepcopy(plain.state_dict()))
    return seen


@pytest.mark.parametrize("begin", [True, False])
def test_freezing_in_the_middle_under_ddp_is_what_it_is_without(begin: bool, tmp_path: Path, group: None) -> None:
    wrapped = make()
    found = train(wrapped, DistributedDataParallel(wrapped), begin)
    assert all(learns(parameter) for parameter in wrapped.parameters())
    for before, after in ((1, 2), (2, 3)):
        assert torch.equal(found[before]["0.weight"], found[after]["0.weight"])
        assert not torch.equal(found[before]["2.weight"], found[after]["2.weight"])
    assert not torch.equal(found[3]["0.weight"], found[5]["0.weight"])
    dist.destroy_process_group()
    plain = make()
    expected = train(plain, plain, begin)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/again", rank=0, world_size=1)
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_outside_of_a_group_nothing_is_computed_for_what_is_frozen() -> None:
    parameter = nn.Parameter(torch.ones(2))
    let_learn(parameter, False)
    assert not parameter.requires_grad
    let_learn(parameter, True)
    assert learns(parameter)


def test_the_last_switch_counts(group: None) -> None:
    parameter = nn.Parameter(torch.ones(2))
    let_learn(parameter, False)
    let_learn(parameter, False)
    parameter.sum().backward()
    assert parameter.grad is not None
    assert (parameter.grad == 0).all()
    drop_gradient(parameter)
    assert parameter.grad is None
    let_learn(parameter, True)
    parameter.sum().backward()
    drop_gradient(parameter)
    assert parameter.grad is not None
    assert (parameter.grad == 1).all()


def test_ranks_average_no_gradient_of_what_was_frozen_when_they_were_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsify.modifiers.training.several_ranks", lambda: True)
    model = make()
    model[0].bias.requires_grad_(False)
    recipe = "modifiers:\n- !TrainableParamsModifier {params: ['0.bias'], trainable: true, end_epoch: 1}\n"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.raises(InputError, match=r"let 0\.bias learn, frozen when the model was wrapped.*trainable: false"),
        load_recipe(recipe).attach(model, optimizer, steps_per_epoch=2),
    ):
        pass


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [((0, 1), (1, 2), "ffffll"), ((0, 2), (1, 2), "ffffll"), ((0, 2), (1, 3), "ffffff"), ((1, 2), (0, 3), "ffffff")],
)
def test_several_that_freeze_one_parameter(first: tuple[int, int], second: tuple[int, int], expected: str) -> None:
    entries = "".join(
        f"  - !TrainableParamsModifier {{params: [0.weight], trainable: false, start_epoch: {a}, end_epoch: {b}}}\n"
        for a, b in (first, second)
    )
    text = f"modifiers:\n{entries}  - !EpochRangeModifier {{start_epoch: 0, end_epoch: 3}}\n"
    for cut in range(1, 6):
        model, seen, state = make(), "", None
        for begin, end in ((0, cut), (cut, 6)):  # a fresh model goes on from the state of the first
            model = model if state is None else make()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            with load_recipe(text).attach(model, optimizer, steps_per_epoch=2) as run:
                if state is not None:
                    run.load_state_dict(state)
                for _ in range(begin, end):
                    run.begin_step()
                    seen += "l" if learns(model[0].weight) else "f"
                    model(torch.ones(1, 4)).sum().backward()
                    optimizer.step()
                state = copy.deepcopy(run.state_dict())
            assert model[0].weight.requires_grad
        assert seen == expected


def test_the_one_that_began_last_is_heard_while_it_lasts() -> None:
    text = """
modifiers:
  - !TrainableParamsModifier {params: [__ALL__], trainable: true, start_epoch: 1, end_epoch: 2}
  - !TrainableParamsModifier {params: ['re:0.*'], trainable: false, start_epoch: 0, end_epoch: 3}
"""
    model, seen = make(), ""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with load_recipe(text).attach(model, optimizer, steps_per_epoch=2) as run:
        for _ in range(6):
            run.begin_step()
            seen += "l" if learns(model[0].weight) else "f"
            model(torch.ones(1, 4)).sum().backward()
            optimizer.step()
    assert seen == "ffllff"
    assert model[0].weight.requires_grad
