from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sparsify.errors import RecipeError, SparsifyError, StateError
from sparsify.modifiers.pruning import (
    ConstantPruningModifier,
    GlobalMagnitudePruningModifier,
    GMPruningModifier,
    GradualPruning,
    MagnitudePruningModifier,
)
from sparsify.modifiers.registry import get
from sparsify.select import names_of
from tests.unit.modifiers.pruning_world import make_mlp, play, train_step, zero_share

FC = ["re:fc.*weight"]
N1, N2 = 64 * 32, 64 * 64


def gradual(cls: type[GradualPruning] = MagnitudePruningModifier, **fields: Any) -> GradualPruning:
    base: dict[str, Any] = {
        "init_sparsity": 0.05,
        "final_sparsity": 0.8,
        "start_epoch": 0.5,
        "end_epoch": 2.0,
        "update_frequency": 0.5,
        "params": FC,
    }
    return cls(**(base | fields))


def refusal(cls: type[GradualPruning] = GMPruningModifier, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        gradual(cls, **fields)
    assert caught.value.error_count() == 1  # one mistake is told once
    return str(caught.value)


def test_registered_names() -> None:
    for cls in (ConstantPruningModifier, GMPruningModifier, MagnitudePruningModifier, GlobalMagnitudePruningModifier):
        assert get(cls.__name__) is cls
        assert cls.kind == "pruning"


# fields


def test_ints_are_numbers_and_defaults_are_the_fields() -> None:
    modifier = gradual(init_sparsity=0, start_epoch=1, end_epoch=2, update_frequency=-1)
    assert modifier.init_sparsity == 0.0
    assert isinstance(modifier.init_sparsity, float)
    assert (modifier.leave_enabled, modifier.inter_func, modifier.mask_type) == (True, "cubic", "unstructured")
    assert isinstance(gradual(GMPruningModifier), GMPruningModifier)


@pytest.mark.parametrize("bad", [-0.1, 1.0, "0.1", "FROM_PARAM", True, None, float("nan")])
def test_init_sparsity_refuses(bad: object) -> None:
    assert "__FROM_PARAM__" in refusal(init_sparsity=bad)


@pytest.mark.parametrize("bad", [0.0, 1.0, 1, -0.5, 90, True, "0.9", None, [0.9]])
def test_final_sparsity_refuses(bad: object) -> None:
    assert "between 0 and 1" in refusal(final_sparsity=bad)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({1.5: FC}, "1.5 is no sparsity"),
        ({"eval(s)": FC}, "'eval(s)' is no sparsity"),
        ({0.5: []}, "list of parameter selectors"),
        ({0.5: [1]}, "list of parameter selectors"),
        ({}, "give a sparsity"),
    ],
)
def test_final_sparsity_mapping_refuses(bad: object, said: str) -> None:
    assert said in refusal(final_sparsity=bad, params=[])


def test_final_sparsity_mapping_accepts_text_keys_and_single_selectors() -> None:
    modifier = gradual(final_sparsity={"0.8": "fc1.weight", 0.6: ["fc2.weight"]}, params=[])
    assert modifier.final_sparsity == {0.8: ["fc1.weight"], 0.6: ["fc2.weight"]}


def test_fields_that_contradict_each_other() -> None:
    assert "params must be left out" in refusal(final_sparsity={0.8: FC})
    assert "must be a number" in refusal(final_sparsity={0.8: FC}, params=[], global_sparsity=True)
    assert "must be a number" in refusal(GlobalMagnitudePruningModifier, final_sparsity={0.8: FC}, params=[])
    assert "gives exactly 0.5 zeros" in refusal(mask_type="2:4")
    assert "gives exactly 0.75 zeros" in refusal(mask_type="1:4", final_sparsity={0.75: ["a"], 0.5: ["b"]}, params=[])
    assert "allows 0.5 zeros" in refusal(mask_type="2:4", final_sparsity=0.5, init_sparsity=0.7)
    assert "cannot be -1" in refusal(end_epoch=-1)
    assert "before start_epoch" in refusal(end_epoch=0.1)
    assert "ACDCPruningModifier" in refusal(phased=True)
    assert "'magnitude' only" in refusal(score_type="movement")
    assert "'linear', 'cubic', 'inverse_cubic'" in refusal(inter_func="cubik")
    assert "'block4'" in refusal(mask_type="block5")
    assert "a mask type is a name" in refusal(mask_type=4)


def test_fields_of_one_class_are_unknown_to_the_other() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        gradual(MagnitudePruningModifier, global_sparsity=False)


def test_fields_of_the_corpus_are_accepted() -> None:
    modifier = gradual(GMPruningModifier, phased=0, score_type="magnitude", mask_type=[1, 4], global_sparsity=False)
    assert modifier.mask_type == [1, 4]
    assert gradual(mask_type="tensorrt", final_sparsity=0.5).mask_type == "tensorrt"
    assert gradual(params="__ALL_PRUNABLE__").params == ["__ALL_PRUNABLE__"]
    assert gradual(params=[["fc1.weight"], ["re:fc2", ["a"]]]).params == ["fc1.weight", "re:fc2", "a"]
    assert gradual(params=None).params == []


def test_fields_round_trip_through_json() -> None:
    for fields in (
        {},
        {"final_sparsity": {0.8: FC}, "params": []},
        {"mask_type": [4, 1]},
        {"init_sparsity": "__FROM_PARAM__"},
    ):
        modifier = gradual(GMPruningModifier, **fields)
        assert GMPruningModifier.model_validate_json(modifier.model_dump_json()).model_dump() == modifier.model_dump()
    assert GMPruningModifier.model_json_schema()["properties"]["final_sparsity"]


# running


def test_sparsity_rises_by_schedule_and_ends_exact() -> None:
    model, modifier = make_mlp(), gradual()
    seen: list[float] = []
    play(modifier, model, before=lambda step, run: seen.append(zero_share(model, "fc2.weight")))
    assert seen[:5] == [0.0] * 5
    targets = [modifier.values(epoch)["sparsity"] for epoch in (0.5, 1.0, 1.5, 2.0)]
    assert targets[-1] == 0.8
    assert [seen[s] for s in (5, 10, 15, 20)] == [round(N2 * t) / N2 for t in targets]
    assert seen[39] == zero_share(model, "fc2.weight") == round(N2 * 0.8) / N2
    assert zero_share(model, "fc1.weight") == round(N1 * 0.8) / N1
    assert zero_share(model, "classifier.weight") == 0.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_masked_weights_stay_zero_after_every_step(optimizer: str) -> None:
    model, modifier = make_mlp(), gradual()
    made: dict[str, torch.optim.Optimizer] = {
        "sgd": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
        "adamw": torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.5),
    }
    was = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool) for name in ("fc1.weight", "fc2.weight")}

    def after(step: int, run: Any) -> None:
        for name, gone in was.items():
            weight = model.get_parameter(name)
            assert (weight[gone] == 0).all(), (step, name)
            assert not torch.signbit(weight[weight == 0]).any()
            was[name] = weight == 0

    play(modifier, model, made[optimizer], after=after)
    assert int(was["fc2.weight"].sum()) == round(N2 * 0.8)


def test_bfloat16_weights() -> None:
    model = make_mlp().bfloat16()
    play(gradual(), model, torch.optim.AdamW(model.parameters(), lr=0.01))
    assert zero_share(model, "fc2.weight") == round(N2 * 0.8) / N2
    assert model.get_parameter("fc2.weight").dtype is torch.bfloat16


def test_final_value_is_reached_at_the_very_end_of_the_run() -> None:
    """Deviation from SparseML, whose last update never came when end_epoch was the run's last epoch."""
    model, modifier = make_mlp(), gradual(end_epoch=4.0)
    seen: list[float] = []
    play(modifier, model, before=lambda step, run: seen.append(zero_share(model, "fc1.weight")))
    assert seen[-1] < round(N1 * 0.8) / N1
    assert zero_share(model, "fc1.weight") == round(N1 * 0.8) / N1


def test_a_run_that_ends_early_still_reaches_the_final_value() -> None:
    model = make_mlp()
    play(gradual(end_epoch=10.0), model, epochs=2)
    assert zero_share(model, "fc1.weight") == round(N1 * 0.8) / N1


def test_rounding_of_epochs_does_not_stop_short_of_the_final_value() -> None:
    model, modifier = (
        make_mlp(),
        gradual(start_epoch=0.0, end_epoch=0.1 + 0.2, final_sparsity=0.5001, mask_type=[64, 1]),
    )
    play(modifier, model, epochs=1, last=4)  # step 3 is epoch 0.3, a little before 0.1 + 0.2
    assert zero_share(model, "fc1.weight") == round(32 * 0.5001) / 32
    assert modifier.mask_sparsity["fc2.weight"] == round(64 * 0.5001) / 64


def test_start_at_end_is_one_jump() -> None:
    model = make_mlp()
    seen: list[float] = []
    play(
        gradual(start_epoch=1.0, end_epoch=1.0),
        model,
        before=lambda step, run: seen.append(zero_share(model, "fc1.weight")),
    )
    assert sorted(set(seen)) == [0.0, round(N1 * 0.8) / N1]
    assert seen.index(max(seen)) == 10


def test_gradual_two_of_four_reaches_its_ratio() -> None:
    """Deviation from SparseML, which has no N:M mask below its ratio."""
    model, modifier = make_mlp(), gradual(mask_type="2:4", final_sparsity=0.5, init_sparsity=0.0)
    seen: list[float] = []
    play(modifier, model, before=lambda step, run: seen.append(zero_share(model, "fc2.weight")))
    assert 0.0 < seen[10] < seen[15] < 0.5
    groups = (model.get_parameter("fc2.weight") != 0).view(-1, 4).sum(1)
    assert (groups == 2).all()


def test_blocks_are_pruned_whole() -> None:
    model = make_mlp()
    play(gradual(mask_type=[4, 1]), model)
    blocks = (model.get_parameter("fc1.weight") == 0).view(16, 4, 32)
    assert torch.equal(blocks.all(1), blocks.any(1))
    assert int(blocks.all(1).sum()) == round(16 * 32 * 0.8)


@pytest.mark.parametrize("cls", [GlobalMagnitudePruningModifier, GMPruningModifier])
def test_global_counts_over_all(cls: type[GradualPruning]) -> None:
    model = make_mlp()
    play(gradual(cls, **({"global_sparsity": True} if cls is GMPruningModifier else {})), model)
    zeros = zero_share(model, "fc1.weight") * N1 + zero_share(model, "fc2.weight") * N2
    assert zeros == round((N1 + N2) * 0.8)
    assert zero_share(model, "fc2.weight") != round(N2 * 0.8) / N2


def test_from_param_begins_where_each_parameter_is() -> None:
    model = make_mlp()
    with torch.no_grad():
        weight = model.get_parameter("fc1.weight")
        weight.mul_(weight.abs() > weight.abs().median())
    modifier = gradual(init_sparsity="__FROM_PARAM__", start_epoch=0.0)
    at_start: dict[str, float] = {}

    def before(step: int, run: Any) -> None:
        if step == 0:
            at_start.update(modifier.mask_sparsity)
            at_start["target"] = modifier.values(0.0)["sparsity"]

    play(modifier, model, before=before)
    assert at_start == {"fc1.weight": 0.5, "fc2.weight": 0.0, "target": pytest.approx(0.5 * N1 / (N1 + N2))}
    assert zero_share(model, "fc1.weight") == round(N1 * 0.8) / N1


def test_several_finals() -> None:
    model = make_mlp()
    modifier = gradual(final_sparsity={0.8: ["fc1.weight"], 0.6: ["re:fc2.*weight"]}, params=[])
    assert modifier.values(2.0) == {"sparsity": pytest.approx(0.7), "sparsity/0.8": 0.8, "sparsity/0.6": 0.6}
    play(modifier, model)
    assert zero_share(model, "fc1.weight") == round(N1 * 0.8) / N1
    assert zero_share(model, "fc2.weight") == round(N2 * 0.6) / N2
    assert modifier.values(2.0)["sparsity"] == pytest.approx((0.8 * N1 + 0.6 * N2) / (N1 + N2))


def test_a_parameter_in_two_groups_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"fc1\.weight two values: 0\.8 and 0\.6"):
        play(gradual(final_sparsity={0.8: ["fc1.weight"], 0.6: ["re:fc"]}, params=[]), make_mlp())


def test_values_before_the_start_and_after_the_end() -> None:
    assert gradual().values(0.4) == {}
    assert gradual().values(0.5) == {"sparsity": 0.05}
    assert gradual().values(9.0) == {"sparsity": 0.8}
    assert gradual(leave_enabled=False).values(9.0) == {}


def test_masks_dropped_after_the_end() -> None:
    model, modifier = make_mlp(), gradual(leave_enabled=False)
    seen: list[float] = []
    play(modifier, model, after=lambda step, run: seen.append(zero_share(model, "fc1.weight")))
    assert seen[19] > 0.5
    assert seen[20] < 0.8  # pruned to 0.8 before this step, then let go
    assert seen[-1] < seen[19]
    assert modifier.mask_sparsity == {"fc1.weight": 0.0, "fc2.weight": 0.0}


def test_no_params_means_all_prunable() -> None:
    model, modifier = make_mlp(), gradual(params=[])
    play(modifier, model, last=1)
    assert names_of(modifier) == ("fc1.weight", "fc2.weight", "classifier.weight")


def test_tied_parameters_have_one_mask() -> None:
    model = make_mlp()
    model.add_module("again", nn.Linear(4, 32))
    tied = nn.Linear(64, 64)
    tied.weight = model.get_parameter("fc2.weight")  # type: ignore[assignment]
    model.add_module("tied", tied)
    modifier = gradual(params=["fc2.weight", "tied.weight"])
    modifier.place("default/x/0", 0.0)
    modifier.on_attach(_Attached(model))
    assert names_of(modifier) == ("fc2.weight",)


class _Attached:
    """As much of a run as on_attach needs."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"on_attach must not need {name}")


def test_unknown_parameters_are_told_before_the_first_step() -> None:
    with pytest.raises(RecipeError, match=r"'fc3\.weight'") as caught:
        play(gradual(params=["fc3.weight"]), make_mlp())
    assert caught.value.hint is not None
    assert "fc1.weight" in caught.value.hint


def test_misfits_that_the_recipe_names_are_errors_with_choices() -> None:
    with pytest.raises(RecipeError, match=r"mask_type does not fit fc1\.weight: \[3, 1\] blocks.*\[1, 4\]"):
        play(gradual(mask_type=[3, 1]), make_mlp())
    with pytest.raises(RecipeError, match="two or more dimensions"):
        play(gradual(mask_type="block4", params=["re:fc1"]), make_mlp())


def test_misfits_that_only_a_token_selected_are_left_out_and_listed(caplog: pytest.LogCaptureFixture) -> None:
    model, modifier = make_mlp(), gradual(mask_type=[8, 1], params=["__ALL_PRUNABLE__"])
    with caplog.at_level(logging.WARNING):
        play(modifier, model)
    assert "classifier.weight" in caplog.text
    assert names_of(modifier) == ("fc1.weight", "fc2.weight")
    with pytest.raises(RecipeError, match=r"\[7, 7\] fits none of fc1\.weight"):
        play(gradual(mask_type=[7, 7], params=[]), make_mlp())


def test_diverged_weights_are_an_error_not_a_mask() -> None:
    model = make_mlp()

    def after(step: int, run: Any) -> None:
        if step == 7:
            with torch.no_grad():
                model.get_parameter("fc1.weight")[0, 0] = float("nan")

    with pytest.raises(SparsifyError, match=r"not finite: fc1\.weight"):
        play(gradual(), model, after=after)


@pytest.mark.parametrize("cut", [0, 5, 6, 10, 13, 20, 21, 39])
@pytest.mark.parametrize(
    "fields", [{}, {"init_sparsity": "__FROM_PARAM__", "mask_type": "block4"}], ids=["plain", "from"]
)
def test_resume_is_bit_exact(cut: int, fields: dict[str, Any]) -> None:
    whole, half = make_mlp(), make_mlp()
    end = play(gradual(**fields), whole, torch.optim.AdamW(whole.parameters(), lr=0.01))
    optimizer = torch.optim.AdamW(half.parameters(), lr=0.01)
    state = play(gradual(**fields), half, optimizer, last=cut)
    fresh = make_mlp(seed=9)
    fresh.load_state_dict(half.state_dict())
    resumed = torch.optim.AdamW(fresh.parameters(), lr=0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    again = play(gradual(**fields), fresh, resumed, first=cut, state=state)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, fresh.state_dict()[name]), name
    (one,), (two,) = end["modifiers"].values(), again["modifiers"].values()
    assert one["state"]["from"] == two["state"]["from"]
    assert all(torch.equal(m, two["state"]["masks"][n]) for n, m in one["state"]["masks"].items())


def test_state_of_other_parameters_is_refused() -> None:
    modifier = gradual(params=["fc1.weight"])
    state = play(gradual(), make_mlp(), last=12)["modifiers"]["default/MagnitudePruningModifier/0"]["state"]
    modifier.on_attach(_Attached(make_mlp()))
    with pytest.raises(StateError, match=r"fc2\.weight"):
        modifier.load_state_dict(state, _Attached(make_mlp()))


def test_a_second_run_begins_anew() -> None:
    modifier, first, second = gradual(), make_mlp(0), make_mlp(1)
    play(modifier, first)
    seen: list[float] = []
    play(modifier, second, after=lambda step, run: seen.append(zero_share(second, "fc1.weight")))
    assert seen[0] == 0.0
    assert seen[-1] == round(N1 * 0.8) / N1


# constant


def sparse_mlp() -> nn.Sequential:
    model = make_mlp()
    with torch.no_grad():
        for name in ("fc1.weight", "fc2.weight"):
            weight = model.get_parameter(name)
            weight.mul_(weight.abs() > weight.abs().median())
    return model


def test_constant_holds_what_is_zero() -> None:
    model, modifier = sparse_mlp(), ConstantPruningModifier(params=["re:fc1"], start_epoch=0.0)
    gone = model.get_parameter("fc1.weight") == 0
    play(modifier, model, torch.optim.AdamW(model.parameters(), lr=0.05), epochs=1)
    weight = model.get_parameter("fc1.weight")
    assert torch.equal(weight == 0, gone)
    assert zero_share(model, "fc2.weight") < 0.1
    assert modifier.values(0.5) == {"sparsity": pytest.approx(0.5 * N1 / (N1 + 64))}


def test_constant_takes_what_is_zero_at_its_start_not_at_attach() -> None:
    model = make_mlp()

    def after(step: int, run: Any) -> None:
        if step == 8:
            with torch.no_grad():
                model.get_parameter("fc1.weight")[:32] = 0

    play(ConstantPruningModifier(params=["fc1.weight"], start_epoch=0.9), model, after=after)
    assert zero_share(model, "fc1.weight") == 0.5


def test_constant_on_a_dense_model_holds_no_mask() -> None:
    modifier = ConstantPruningModifier()
    state = play(modifier, make_mlp(), last=3)
    assert state["modifiers"]["default/ConstantPruningModifier/0"]["state"] == {"masks": {}}
    assert modifier.values(1.0) == {}


@pytest.mark.parametrize("leave", [None, True])
def test_constant_ends(leave: bool | None) -> None:
    model = sparse_mlp()
    fields: dict[str, Any] = {} if leave is None else {"leave_enabled": leave}
    modifier = ConstantPruningModifier(
        params=["fc1.weight"], start_epoch=0.0, end_epoch=1.0, update_frequency=-1, **fields
    )
    play(modifier, model, epochs=2)
    assert (zero_share(model, "fc1.weight") >= 0.5) is bool(leave)


def test_constant_resumes_with_the_mask_of_its_start() -> None:
    model = sparse_mlp()
    state = play(ConstantPruningModifier(params=["fc1.weight"]), model, last=4)
    with torch.no_grad():
        model.get_parameter("fc1.weight")[model.get_parameter("fc1.weight") != 0] = 0  # must not count any more
    modifier = ConstantPruningModifier(params=["fc1.weight"])
    play(modifier, model, first=4, last=6, state=state)
    assert modifier.mask_sparsity == {"fc1.weight": 0.5}


def test_detached_modifier_leaves_the_model_alone() -> None:
    model, modifier = sparse_mlp(), ConstantPruningModifier(params=["fc1.weight"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    play(modifier, model, optimizer, last=2)
    train_step(model, optimizer, 3)
    assert zero_share(model, "fc1.weight") < 0.5
