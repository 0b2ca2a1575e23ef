from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from sparsify.modifiers.registry import get
from sparsify.modifiers.sparse_training import ACDCPruningModifier
from tests.unit.modifiers.pruning_world import make_mlp, play, zero_share

N1, N2 = 64 * 32, 64 * 64


def acdc(**fields: Any) -> ACDCPruningModifier:
    base: dict[str, Any] = {
        "compression_sparsity": 0.9,
        "start_epoch": 0.0,
        "end_epoch": 5.0,
        "update_frequency": 1,
        "params": ["re:fc.*weight"],
    }
    return ACDCPruningModifier(**(base | fields))


def total_zeros(model: torch.nn.Module) -> float:
    return zero_share(model, "fc1.weight") * N1 + zero_share(model, "fc2.weight") * N2


def test_registered() -> None:
    assert get("ACDCPruningModifier") is ACDCPruningModifier


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"start_epoch": 0.5}, "whole epochs"),
        ({"update_frequency": 0.5}, "whole epochs"),
        ({"update_frequency": -1}, "at least 1"),
        ({"end_epoch": -1}, "cannot be -1"),
        ({"compression_sparsity": 1.0}, "less than 1"),
        ({"mask_type": "2:4"}, "gives exactly 0.5 zeros: compression_sparsity"),
    ],
)
def test_refuses(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        acdc(**fields)
    assert caught.value.error_count() == 1


def test_phases_alternate_and_the_last_is_compressed() -> None:
    model, modifier = make_mlp(), acdc()
    seen: list[int] = []
    play(modifier, model, epochs=6, after=lambda step, run: seen.append(round(total_zeros(model))))
    pruned = round((N1 + N2) * 0.9)
    assert [seen[s] == pruned for s in (0, 9, 10, 19, 20, 29, 30, 40, 50, 59)] == [
        *(False, False, True, True, False, False, True, True, True, True)
    ]
    assert [modifier.values(e).get("sparsity") for e in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0)] == [
        *(0.0, 0.9, 0.0, 0.9, 0.9, 0.9, 0.9)
    ]


def test_a_run_that_ends_in_a_dense_phase_is_compressed_at_its_end() -> None:
    model = make_mlp()
    play(acdc(end_epoch=9.0), model, epochs=3)
    assert total_zeros(model) == round((N1 + N2) * 0.9)


def test_layer_scope_and_pattern() -> None:
    model = make_mlp()
    play(acdc(global_sparsity=False, mask_type="2:4", compression_sparsity=0.5), model, epochs=5)
    assert (zero_share(model, "fc1.weight"), zero_share(model, "fc2.weight")) == (0.5, 0.5)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(("kind", "buffer"), [("sgd", "momentum_buffer"), ("adamw", "exp_avg")])
def test_momentum_is_reset_when_a_dense_phase_begins(reset: bool, kind: str, buffer: str) -> None:
    model = make_mlp()
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        if kind == "sgd"
        else torch.optim.AdamW(model.parameters(), lr=0.01)
    )
    quiet: list[bool] = []

    def before(step: int, run: Any) -> None:
        if step:
            values = [optimizer.state[model.get_parameter(n)][buffer] for n in ("fc1.weight", "fc2.weight")]
            quiet.append(all(not bool(v.any()) for v in values))
            assert optimizer.state[model.get_parameter("classifier.weight")][buffer].any()

    play(acdc(momentum_buffer_reset=reset), model, optimizer, epochs=5, before=before)
    assert [step + 1 for step, still in enumerate(quiet) if still] == ([20] if reset else [])


def test_masks_dropped_after_the_end() -> None:
    model = make_mlp()
    modifier = acdc(end_epoch=2.0, leave_enabled=False)
    play(modifier, model, epochs=3)
    assert total_zeros(model) < (N1 + N2) * 0.5
    assert modifier.values(2.5) == {}


@pytest.mark.parametrize("cut", [9, 10, 11, 20, 25, 40])
def test_resume_is_bit_exact(cut: int) -> None:
    whole, half, fresh = make_mlp(), make_mlp(), make_mlp(5)
    play(acdc(), whole, torch.optim.AdamW(whole.parameters(), lr=0.01), epochs=5)
    optimizer = torch.optim.AdamW(half.parameters(), lr=0.01)
    state = play(acdc(), half, optimizer, epochs=5, last=cut)
    fresh.load_state_dict(half.state_dict())
    resumed = torch.optim.AdamW(fresh.parameters(), lr=0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    play(acdc(), fresh, resumed, epochs=5, first=cut, state=state)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, fresh.state_dict()[name]), name
