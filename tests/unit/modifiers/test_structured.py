"""Structured pruning and thinning inside a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparsify.errors import InputError, RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers.structured import StructuredPruningModifier
from sparsify.pruning.structures import find_structures
from sparsify.quantization.layers import quantizers
from sparsify.run import TrainingRun
from tests.helpers.models import tiny_classifier, token_batch
from tests.unit.modifiers.pruning_world import STEPS_PER_EPOCH, make_mlp, play

FIELDS: dict[str, Any] = {
    "init_sparsity": 0.0,
    "final_sparsity": 0.5,
    "start_epoch": 0.0,
    "end_epoch": 2.0,
    "update_frequency": 0.5,
}


def modifier(**fields: Any) -> StructuredPruningModifier:
    made = StructuredPruningModifier(**{**FIELDS, **fields})
    made.place("default/StructuredPruningModifier/0", 0.0)
    return made


def dead_rows(weight: nn.Parameter) -> int:
    return int((weight == 0).all(1).sum())


def test_units_go_along_the_schedule_with_rows_biases_and_columns() -> None:
    model = make_mlp()
    seen: list[int] = []
    play(
        modifier(params=["fc1.weight"], inter_func="linear"),
        model,
        after=lambda s, r: seen.append(dead_rows(model.fc1.weight)),
    )
    assert seen == sorted(seen)
    assert set(seen) == {0, 8, 16, 24, 32}
    gone = (model.fc1.weight == 0).all(1)
    assert (model.fc1.bias[gone] == 0).all()
    assert (model.fc2.weight[:, gone] == 0).all()
    assert dead_rows(model.fc2.weight) == 0


def test_the_smallest_units_go() -> None:
    model = make_mlp()
    with torch.no_grad():
        model.fc1.weight[10:42] *= 0.01
        model.fc2.weight[:, 10:42] *= 0.01
    play(modifier(params=["fc1.weight"], end_epoch=0.0), model, last=1)
    assert (model.fc1.weight == 0).all(1).nonzero().flatten().tolist() == list(range(10, 42))


def test_channel_means_columns_of_what_is_named() -> None:
    model = make_mlp()
    play(modifier(params=["fc2.weight"], mask_type="channel"), model)
    assert dead_rows(model.fc1.weight) == 32
    assert dead_rows(model.fc2.weight) == 0


def test_without_params_all_hidden_units_are_pruned() -> None:
    model = make_mlp()
    play(modifier(), model)
    assert (dead_rows(model.fc1.weight), dead_rows(model.fc2.weight)) == (32, 32)


def test_over_all_layers_the_weaker_one_loses_more_and_keeps_one() -> None:
    model = make_mlp()
    with torch.no_grad():
        model.fc1.weight *= 1e-3
        model.fc1.bias *= 1e-3
    play(modifier(global_sparsity=True, end_epoch=0.0), model, last=1)
    assert dead_rows(model.fc1.weight) == 63
    assert dead_rows(model.fc2.weight) == 1


def test_groups_lose_the_same_units() -> None:
    model = make_mlp()
    play(modifier(param_groups=[["fc1.weight", "fc2.weight"]]), model)
    assert torch.equal((model.fc1.weight == 0).all(1), (model.fc2.weight == 0).all(1))
    assert dead_rows(model.fc1.weight) == 32


def test_from_param_starts_where_the_model_is() -> None:
    model = make_mlp()
    with torch.no_grad():
        model.fc2.weight[:, :16] = 0
    entry = modifier(params=["fc1.weight"], init_sparsity="__FROM_PARAM__")
    sparsity: list[float] = []
    play(entry, model, after=lambda step, run: sparsity.append(entry.unit_sparsity["fc1"]))
    assert (sparsity[0], sparsity[-1]) == (0.25, 0.5)


def test_masks_go_at_the_end_unless_they_are_to_stay() -> None:
    model = make_mlp()
    entry = modifier(params=["fc1.weight"], leave_enabled=False)
    play(entry, model)
    assert not any(entry.mask_sparsity.values())
    assert not any(entry.unit_sparsity.values())


@pytest.mark.parametrize("scope", [False, True])
def test_taylor_keeps_the_units_that_the_loss_depends_on(scope: bool) -> None:
    model = make_mlp()
    with torch.no_grad():
        model.fc1.weight[:32] *= 10  # large, and read by nobody who matters
        model.fc2.weight[:32] *= 0.0
        model.fc2.bias[:32] = -1.0
        model.fc2.weight[:, :32] *= 1e-4
    play(modifier(params=["fc1.weight"], score_type="taylor", global_sparsity=scope), model)
    assert (model.fc1.weight == 0).all(1)[:32].float().mean() > 0.8


def test_taylor_without_training_is_an_error_not_a_dense_model() -> None:
    recipe = "modifiers:\n  - !StructuredPruningModifier {init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 1.0, score_type: taylor}\n"
    with pytest.raises(InputError, match="taylor scores need gradients: train"):
        load_recipe(recipe).apply(make_mlp())


BAD = {
    "no such kind": ({"mask_type": "heads"}, "has no heads that can be removed as a whole"),
    "the last layer": (
        {"params": ["classifier.weight"]},
        r"units of classifier.weight cannot be removed.*\n.*fc1.weight, fc2.weight",
    ),
    "a bias": ({"params": ["fc1.bias"]}, "units of fc1.bias cannot"),
    "columns of the first": (
        {"params": ["fc1.weight"], "mask_type": "channel"},
        r"fc1.weight cannot.*\n.*fc2.weight, classifier.weight",
    ),
    "no match": ({"params": ["fc9.weight"]}, "no parameter of the model matches 'fc9.weight'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_pruned_is_an_error(name: str) -> None:
    fields, message = BAD[name]
    with pytest.raises(RecipeError, match=message):
        play(modifier(**fields), make_mlp())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"end_epoch": -1.0}, "cannot be -1"),
        ({"inter_func": "cubist"}, "one of linear, cubic"),
        ({"final_sparsity": 1.0}, "less than 1"),
        ({"mask_type": "rows"}, "'filter', 'channel', 'heads' or 'neurons'"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modifier(**fields)


BOTH = """
num_epochs: 3
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !StructuredPruningModifier
    {mask_type: heads, init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.5}
  - !StructuredPruningModifier
    {mask_type: neurons, init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.5}
  - !LayerThinningModifier {start_epoch: 1.0}
"""
QUANTIZED = BOTH + "  - !QuantizationModifier {start_epoch: QAT, disable_quantization_observer_epoch: 2.5}\n"


def train(recipe: str, model: nn.Module, watch: Any = lambda run, step: None) -> TrainingRun:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with load_recipe(recipe).attach(model, optimizer, steps_per_epoch=4) as run:
        for step in range(12):
            out = model(**token_batch(step))
            run.loss(out.loss, inputs={}, outputs=out).backward()
            optimizer.step()
            optimizer.zero_grad()
            watch(run, step)
    return run


def widths(model: nn.Module) -> set[tuple[str, int]]:
    return {(s.kind, s.units) for s in find_structures(model)}


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_heads_and_neurons_are_masked_then_removed_in_mid_run(family: str) -> None:
    model = tiny_classifier(family)
    seen = []
    train(BOTH, model, lambda run, step: seen.append(widths(model)))
    assert seen[3] == {("heads", 2), ("neurons", 64)}
    assert seen[4] == seen[-1] == {("heads", 1), ("neurons", 32)}


@pytest.mark.parametrize("learned", ["false", "true"])
@pytest.mark.parametrize("start", ["0.5", "1.0", "1.5"])
def test_quantizers_before_at_and_after_the_shrink(start: str, learned: str) -> None:
    model = tiny_classifier("bert")
    train(QUANTIZED.replace("QAT", f"{start}, learned_step_size: {learned}"), model)
    assert widths(model) == {("heads", 1), ("neurons", 32)}
    assert all(fq.enabled and fq.calibrated for fq in quantizers(model).values())
    layer = model.bert.encoder.layer[0]
    if learned == "true":
        assert layer.intermediate.dense.weight_fq.clip_value.shape == (32,)
        assert layer.attention.self.query.weight_fq.clip_value.shape == (16,)
    assert layer.intermediate.dense.weight_fq.scale.shape == (32,)
    assert layer.output.dense.weight_fq.scale.shape == (32,)
    assert layer.attention.self.query.weight_fq.scale.shape == (16,)


def test_thinning_without_a_time_comes_after_the_last_step() -> None:
    model, seen = tiny_classifier("bert"), []
    train(BOTH.replace("{start_epoch: 1.0}", "{}"), model, lambda run, step: seen.append(widths(model)))
    assert seen[10] == {("heads", 2), ("neurons", 64)}
    assert widths(model) == {("heads", 1), ("neurons", 32)}


def test_pruning_that_goes_on_after_a_removal_counts_from_the_first_width() -> None:
    recipe = BOTH.replace("end_epoch: 1.0", "end_epoch: 2.0").replace(
        "{start_epoch: 1.0}", "{start_epoch: 1.0, update_epochs: [2.0]}"
    )
    model, seen = tiny_classifier("bert"), []
    run = train(recipe, model, lambda run, step: seen.append(widths(model)))
    assert len({frozenset(s) for s in seen}) == 3
    assert widths(model) == {("heads", 1), ("neurons", 32)}
    assert run.values()["removals"] == 2


def test_one_shot_recipes_shrink() -> None:
    model = load_recipe(BOTH).apply(tiny_classifier("bert"))
    assert widths(model) == {("heads", 1), ("neurons", 32)}


def test_other_pruners_hold_their_masks_on_what_is_left() -> None:
    recipe = BOTH.replace(
        "  - !LayerThinningModifier",
        "  - !WeightPruningModifier\n"
        "    {params: ['re:.*(classifier|output.dense).weight'], final_sparsity: 0.6, start_epoch: 1.0, end_epoch: 2.5, "
        "update_frequency: 0.25, progressive: true, score_type: snip_momentum, mask_type: unstructured}\n"
        "  - !LayerThinningModifier",
    ).replace("{start_epoch: 1.0}", "{start_epoch: 2.0}")
    model = tiny_classifier("bert")
    train(recipe, model)
    weights = [p for n, p in model.named_parameters() if n.endswith(("output.dense.weight", "classifier.weight"))]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert widths(model) == {("heads", 1), ("neurons", 32)}
    assert 0.2 < zeros < 0.7


def test_a_model_without_units_is_an_error_or_left_alone() -> None:
    recipe = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n  - !LayerThinningModifier {strict: STRICT}\n"
    with pytest.raises(InputError, match="can be removed as a whole"):
        load_recipe(recipe.replace("STRICT", "true")).apply(nn.Sequential(nn.Linear(2, 2)))
    load_recipe(recipe.replace("STRICT", "false")).apply(nn.Sequential(nn.Linear(2, 2)))


def test_fields_of_the_field_are_read() -> None:
    recipe = (
        "modifiers:\n  - !LayerThinningModifier\n    param_group_dependency_map: {'a,b': [c]}\n"
        "    structure_type: filter\n    start_epoch: 2.0\n    update_epochs: [3.0, 4.0]\n    strict: 1\n"
    )
    manager = load_recipe(recipe)
    assert manager.max_epochs == 4
    assert STEPS_PER_EPOCH


@pytest.mark.parametrize("name", ["thinned50-none", "thinned50_quant-none"])
def test_packaged_recipes_remove_half(name: str) -> None:
    stub = f"zoo:nlp/token_classification/minilm-l6/pytorch/huggingface/wnut17/{name}"
    times = {"pruning_end_epoch": 1.0, "lr_decay_start_epoch": 1.0, "num_epochs": 3}
    times |= {"qat_start_epoch": 1.5, "observer_epoch": 2.5} if "quant" in name else {}
    manager = load_recipe(stub, times, distillation=False)
    model = tiny_classifier("bert")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with manager.attach(model, optimizer, steps_per_epoch=4):
        for step in range(12):
            model(**token_batch(step)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert widths(model) == {("heads", 1), ("neurons", 32)}
    assert bool(quantizers(model)) == ("quant" in name)


def test_widths_of_one_model_are_not_kept_for_the_next() -> None:
    manager, states = load_recipe(BOTH), []
    for _ in range(2):
        model = tiny_classifier("bert")
        with manager.attach(model, torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=4) as run:
            states.append(run.state_dict()["modifiers"]["default/LayerThinningModifier/0"]["state"])
            model(**token_batch(0)).loss.backward()
            run.finish()
        assert widths(model) == {("heads", 1), ("neurons", 32)}
    assert states == [{"removals": 0, "widths": {}}] * 2
