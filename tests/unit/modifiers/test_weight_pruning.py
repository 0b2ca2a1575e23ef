from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sparsify.clock import Clock
from sparsify.errors import RecipeError
from sparsify.modifiers.registry import get
from sparsify.modifiers.weight_pruning import WeightPruningModifier
from sparsify.run import TrainingRun
from tests.helpers.models import tiny_classifier
from tests.unit.modifiers.pruning_world import make_mlp, play, zero_share

N = {"fc1.weight": 64 * 32, "fc2.weight": 64 * 64, "classifier.weight": 4 * 64}


def pruning(**fields: Any) -> WeightPruningModifier:
    base: dict[str, Any] = {"final_sparsity": 0.75, "start_epoch": 0.0, "end_epoch": 2.0, "update_frequency": 0.5}
    return WeightPruningModifier(**(base | fields))


def chosen(model: nn.Module, **fields: Any) -> set[str]:
    return set(pruning(**fields).choose(model))


def total(model: nn.Module) -> float:
    return sum(zero_share(model, n) * size for n, size in N.items()) / sum(N.values())


def test_registered_with_neural_compressors_defaults() -> None:
    assert get("WeightPruningModifier") is WeightPruningModifier
    modifier = pruning()
    assert (modifier.criterion, modifier.scope, modifier.layer_bounds) == ("snip_momentum", "global", (0.0, 0.98))
    assert (modifier.reduction, modifier.init_sparsity) == ("mean", 0.0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"score_type": "snip_momentun"}, "a score is one of magnitude"),
        ({"score_type": "snip_momentum_progressive"}, "progressive: true"),
        ({"pruning_scope": "everywhere"}, "'global', 'layer' or 'local'"),
        ({"block_reduce": "median"}, "'mean', 'sum' or 'max'"),
        ({"min_layer_sparsity": 0.9, "max_layer_sparsity": 0.5}, "is above max_layer_sparsity"),
        ({"max_layer_sparsity": 0.5}, "final_sparsity 0.75 lies outside of what a layer may have: 0 to 0.5"),
        ({"group_lasso": 0.1, "mask_type": "2:4", "final_sparsity": 0.5}, "whole blocks"),
        ({"group_lasso": -1.0}, "greater than or equal to 0"),
        ({"power": 2.0}, "power is of inter_func polynomial, not of cubic"),
        ({"milestones": [[0.5, 0.5]]}, "milestones is of inter_func multi_step"),
        ({"inter_func": "multi_step"}, "needs milestones"),
        ({"inter_func": "multi_step", "milestones": [[0.5]]}, "list of pairs"),
        ({"inter_func": "multi_step", "milestones": [[0.5, 0.5], [0.2, 0.6]]}, "shares of the span rise"),
        ({"inter_func": "multi_step", "milestones": [[0.5, 0.9]]}, "rise to final_sparsity 0.75"),
        ({"on_misfit": "ignore"}, "'error', 'skip' or 'pad'"),
    ],
)
def test_refuses(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        pruning(**fields)
    assert caught.value.error_count() == 1


# what is pruned


def test_by_default_the_body_of_a_transformer_without_embeddings_head_and_pooler() -> None:
    model = tiny_classifier()
    found = chosen(model)
    assert all("encoder.layer" in name for name in found)
    assert len(found) == 6 * model.config.num_hidden_layers
    assert {"classifier.weight"} == chosen(model, prune_task_head=True) - found
    assert chosen(model, params=["__ALL_PRUNABLE__"]) == found


def test_what_a_recipe_names_is_pruned_even_in_the_head() -> None:
    model = tiny_classifier()
    assert chosen(model, params=["classifier.weight"]) == {"classifier.weight"}
    assert chosen(model, params=["re:.*word_embeddings.weight"]) == {"bert.embeddings.word_embeddings.weight"}


def test_exclude_takes_away() -> None:
    model = make_mlp()
    assert chosen(model) == set(N)  # no task head is known of a plain module
    assert chosen(model, exclude=["fc2.weight", "re:class.*"]) == {"fc1.weight"}
    with pytest.raises(RecipeError, match="fc3"):
        chosen(model, exclude=["fc3.weight"])


def test_misfits_are_refused_left_out_or_padded() -> None:
    model = nn.Sequential(nn.Linear(8, 9), nn.Linear(9, 8))
    named = {"params": ["0.weight", "1.weight"], "mask_type": "4x1"}
    with pytest.raises(RecipeError, match=r"0\.weight: \[4, 1\] blocks do not divide 9 x 8"):
        chosen(model, **named)
    assert chosen(model, **named, on_misfit="skip") == {"1.weight"}
    assert chosen(model, **named, on_misfit="pad") == {"0.weight", "1.weight"}
    assert chosen(model, mask_type="4x1") == {"1.weight"}


# how it is pruned


@pytest.mark.parametrize("score", ["magnitude", "gradient", "snip", "snip_momentum", "movement", "taylor", "random"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_every_score_reaches_the_sparsity(score: str, scope: str) -> None:
    model = make_mlp()
    play(pruning(score_type=score, pruning_scope=scope), model)
    assert total(model) == pytest.approx(0.75, abs=1e-3)
    shares = {round(zero_share(model, name), 3) for name in N}
    assert (shares == {0.75}) is (scope == "layer")


def test_bounds_hold_for_each_layer_on_the_way_and_at_the_end() -> None:
    model = make_mlp()
    with torch.no_grad():
        model.get_parameter("fc1.weight").mul_(100.0)  # would be kept whole
        model.get_parameter("classifier.weight").mul_(1e-6)  # would go whole
    modifier = pruning(score_type="magnitude", min_layer_sparsity=0.5, max_layer_sparsity=0.9)
    most: list[float] = []
    play(modifier, model, after=lambda step, run: most.append(zero_share(model, "classifier.weight")))
    assert zero_share(model, "fc1.weight") == pytest.approx(0.5, abs=0.001)
    assert max(most) <= 0.9 + 1 / 256
    assert total(model) == pytest.approx(0.75, abs=1e-3)


def test_blocks_and_schedule() -> None:
    model = make_mlp()
    modifier = pruning(mask_type="4x1", inter_func="exp", params=["re:fc.*weight"])
    seen: dict[int, float] = {}
    play(modifier, model, before=lambda step, run: seen.update({step: sum(modifier.mask_sparsity.values())}))
    for name in ("fc1.weight", "fc2.weight"):
        blocks = (model.get_parameter(name) == 0).view(16, 4, -1)
        assert torch.equal(blocks.all(1), blocks.any(1))
    weights = N["fc1.weight"] + N["fc2.weight"]
    held = sum(int((~m).sum()) for m in modifier._held.masks.values())
    assert held == pytest.approx(0.75 * weights, abs=4)
    assert modifier.values(1.0)["sparsity"] == pytest.approx(0.5)  # 1 - 0.25 ** 0.5


def test_polynomial_and_steps_are_schedules() -> None:
    assert pruning(inter_func="polynomial", power=2.0).values(1.0)["sparsity"] == pytest.approx(0.75 * 0.75)
    steps = pruning(inter_func="multi_step", milestones=[[0.25, 0.3], [0.5, 0.6]], score_type="magnitude")
    assert [steps.values(e)["sparsity"] for e in (0.0, 0.5, 1.0, 2.0)] == [0.0, 0.3, 0.6, 0.75]
    model = make_mlp()
    seen: dict[int, float] = {}
    play(steps, model, before=lambda step, run: seen.update({step: total(model)}))
    assert [seen[s] for s in (4, 5, 10, 20)] == [pytest.approx(v, abs=1e-3) for v in (0.0, 0.3, 0.6, 0.75)]


# progressive


def test_progressive_goes_in_quarters_and_reaches_the_schedule_on_time() -> None:
    model = make_mlp()
    modifier = pruning(
        mask_type="4x1",
        progressive=True,
        inter_func="linear",
        update_frequency=0.8,
        end_epoch=1.6,
        params=["fc2.weight"],
    )
    seen: dict[int, int] = {}
    play(modifier, model, after=lambda step, run: seen.update({step: modifier._held.zeros()}))
    aim = round(0.375 * N["fc2.weight"])
    assert [seen[s] for s in (1, 2, 4, 6)] == [0, *(round(aim * q) for q in (0.25, 0.5, 0.75))]
    assert seen[7] < aim == pytest.approx(seen[8], abs=4)
    assert seen[16] == seen[39] == pytest.approx(0.75 * N["fc2.weight"], abs=4)
    blocks = (model.get_parameter("fc2.weight") == 0).view(16, 4, -1)
    assert torch.equal(blocks.all(1), blocks.any(1))


def test_progressive_masks_only_grow_and_sub_steps_break_blocks() -> None:
    model = make_mlp()
    modifier = pruning(mask_type="4x1", progressive=True, params=["fc2.weight"])
    before: list[torch.Tensor] = [torch.ones(64, 64, dtype=torch.bool)]
    broken: list[int] = []

    def watch(step: int, run: TrainingRun) -> None:
        mask = modifier._held.masks.get("fc2.weight", before[0])
        assert not (mask & ~before[0]).any()
        before[0] = mask.clone()
        blocks = (~mask).view(16, 4, 64)
        if not torch.equal(blocks.all(1), blocks.any(1)):
            broken.append(step)

    play(modifier, model, after=watch)
    assert broken
    assert max(broken) < 20


def test_progressive_resumes_in_the_middle_of_a_move() -> None:
    straight, resumed = make_mlp(), make_mlp()
    fields: dict[str, Any] = {
        "mask_type": "2:4",
        "final_sparsity": 0.5,
        "progressive": True,
        "params": ["re:fc.*weight"],
    }
    play(pruning(**fields), straight)
    for cut in (7, 8, 10):
        resumed = make_mlp()
        state = play(pruning(**fields), resumed, last=cut)
        play(pruning(**fields), resumed, first=cut, state=copy.deepcopy(state))
        for (name, one), other in zip(straight.named_parameters(), resumed.parameters(), strict=True):
            assert torch.equal(one, other), (cut, name)


def test_progressive_steps_are_planned() -> None:
    modifier = pruning(progressive=True, update_frequency=0.8, end_epoch=1.6)
    modifier.place("default/WeightPruningModifier/0", 0.0)
    assert modifier.update_steps(Clock(10, 40)) == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert pruning(update_frequency=0.8, end_epoch=1.6).update_steps(Clock(10, 40)) == [0, 8, 16]


# group lasso


def test_group_lasso_shrinks_blocks_until_the_end() -> None:
    plain, shrunk = make_mlp(), make_mlp()
    fields: dict[str, Any] = {"mask_type": "4x1", "params": ["fc2.weight"], "final_sparsity": 0.25}
    play(pruning(**fields), plain)
    play(pruning(**fields, group_lasso=0.05), shrunk)

    def norm(model: nn.Module) -> float:
        return float(model.get_parameter("fc2.weight").detach().view(16, 4, 64).norm(dim=1).sum())

    assert norm(shrunk) < norm(plain) - 1.0
    late = make_mlp()
    before = norm(late)
    play(pruning(**fields, group_lasso=50.0, end_epoch=0.0, score_type="magnitude"), late)
    assert norm(late) > 0.5 * before  # ended before the first step


def test_layer_types_narrow_what_patterns_name() -> None:
    model = tiny_classifier("bert")
    with_types = chosen(model, params=["re:.*output"], layer_types=["Linear"])
    assert with_types
    assert all(name.endswith("dense.weight") for name in with_types)
    assert "bert.encoder.layer.0.output.LayerNorm.weight" in chosen(model, params=["re:.*output"])
    assert chosen(model, layer_types=["Linear", "Conv"]) == chosen(model)
    assert "classifier.weight" not in chosen(model, params=["re:.*"], layer_types=["Linear"])
    assert "classifier.weight" in chosen(model, params=["re:.*"], layer_types=["Linear"], prune_task_head=True)
    with pytest.raises(RecipeError, match="no weight of layer_types Conv is left to prune"):
        chosen(model, layer_types=["Conv"])


def test_excluded_patterns_may_match_nothing_but_names_must() -> None:
    model = make_mlp()
    assert chosen(model, exclude=["re:.*pooler", "re:fc1"]) == {"fc2.weight", "classifier.weight"}
    with pytest.raises(RecipeError, match=r"no parameter of the model matches 'fc9\.weight'"):
        chosen(model, exclude=["fc9.weight"])
    with pytest.raises(RecipeError, match="no weight is left to prune"):
        chosen(model, exclude=["re:.*"])


@pytest.mark.parametrize("mask_type", ["4x1", "filter", "channelx1", "unstructured"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_layer_without_elements_counts_as_nothing_to_prune(mask_type: str, scope: str) -> None:
    shares = {}
    for extra in (True, False):
        model = make_mlp()
        if extra:
            model.fc1.register_module("none", nn.Linear(0, 3))
        modifier = pruning(
            mask_type=mask_type,
            pruning_scope=scope,
            init_sparsity="__FROM_PARAM__",
            params=["re:fc.*weight"],
            group_lasso=0.01,
            progressive=True,
        )
        play(modifier, model)
        shares[extra] = modifier.mask_sparsity
    assert shares[True] == shares[False] | {"fc1.none.weight": 0.0}
    assert max(shares[False].values()) > 0.4
