"""QuantizationModifier: its fields, and its phases step by step."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sparsify.analysis.report import model_report
from sparsify.clock import Clock
from sparsify.errors import RecipeError, StateError
from sparsify.modifiers import registry
from sparsify.modifiers.quantization import QuantizationModifier
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.layers import quantizers
from sparsify.quantization.qparams import ACTIVATION_SYMMETRIC, WEIGHT_AFFINE, WEIGHT_PER_TENSOR
from sparsify.quantization.schemes import DEFAULT, Scheme
from sparsify.recipe.recipe import Recipe
from sparsify.run import TrainingRun
from sparsify.select import select_parameters
from tests.helpers.models import tiny_classifier


class Mlp(nn.Module):
    """The oracle's model, with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.norm = nn.Linear(32, 64), nn.BatchNorm1d(64)
        self.fc2, self.classifier = nn.Linear(64, 64), nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.relu(self.fc2(torch.relu(self.norm(self.fc1(x))))))


def open_run(modifiers: list[Any], model: nn.Module, steps_per_epoch: int, total: int) -> TrainingRun:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    run = TrainingRun(modifiers, model, optimizer, Clock(steps_per_epoch, total))
    run.open()
    return run


def train_step(run: TrainingRun, seed: int) -> None:
    run.begin_step()
    run.model.train()
    generator = torch.Generator().manual_seed(seed)
    run.model(torch.randn(8, 32, generator=generator)).square().mean().backward()
    run.optimizer.step()
    run.optimizer.zero_grad()


def observe(run: TrainingRun) -> dict[str, bool]:
    """What is in force during the coming step, as the oracle names it."""
    fqs = list(quantizers(run.model).values())
    norms = [m for m in run.model.modules() if isinstance(m, nn.BatchNorm1d)]
    run.model.train()
    run.begin_step()
    before = norms[0].num_batches_tracked.item()
    train_step(run, run.clock.step)
    return {
        "qat_enabled": all(fq.enabled for fq in fqs),
        "observer_disabled": not any(fq.observing for fq in fqs),
        "bn_frozen": norms[0].num_batches_tracked.item() == before,
    }


@pytest.mark.parametrize("name", ["hand_quant_legacy", "hand_quant_scheme", "hand_prune_then_quant"])
def test_phases_of_every_step_as_in_sparseml(shared: Path, name: str) -> None:
    dump = json.loads(gzip.decompress((shared / "oracle/sparseml" / f"{name}.json.gz").read_bytes()))
    modifiers = registry.build(Recipe.load(shared / "oracle/recipes" / f"{name}.yaml"))
    run = open_run(modifiers, Mlp(), dump["steps_per_epoch"], len(dump["steps"]))
    quantization = next(m for m in modifiers if isinstance(m, QuantizationModifier))
    first, off = quantization.start, quantization.frozen_from
    for step in dump["steps"][:-1]:
        theirs, mine = step["quant"][0], observe(run)
        assert mine["qat_enabled"] == theirs["qat_enabled"], step["step"]
        assert mine["bn_frozen"] == theirs["bn_frozen"], step["step"]
        # Two deviations: before the start nothing observes (they said "not disabled"), and an observer of a leaf
        # listed in submodules does stop at its epoch (there it went on for ever).
        assert mine["observer_disabled"] == (step["epoch"] < first or (off is not None and step["epoch"] >= off))
        if name == "hand_quant_scheme" and step["epoch"] >= first:
            assert mine["observer_disabled"] == theirs["observer_disabled"], step["step"]


def test_frozen_means_scales_and_zero_points_stay() -> None:
    modifier = QuantizationModifier(start_epoch=0.0, disable_quantization_observer_epoch=1.0)
    run = open_run([modifier], Mlp(), 3, 9)
    for seed in range(4):
        train_step(run, seed)
    frozen = {k: v.clone() for k, v in run.model.state_dict().items() if "_fq" in k}
    for seed in range(4, 8):
        train_step(run, seed)
    assert all(torch.equal(run.model.state_dict()[k], v) for k, v in frozen.items())


def test_at_the_runs_end_ranges_are_frozen_and_fit_the_final_weights() -> None:
    run = open_run([QuantizationModifier(start_epoch=0.0)], Mlp(), 2, 4)
    for seed in range(4):
        train_step(run, seed)
    run.close()
    fqs = quantizers(run.model).values()
    assert not any(fq.observing for fq in fqs)
    assert all(fq.enabled for fq in fqs)
    largest = run.model.fc1.weight.detach().abs().amax(1) / 127
    torch.testing.assert_close(run.model.fc1.weight_fq.scale, largest)


def test_observers_off_from_the_start_still_see_one_batch() -> None:
    run = open_run([QuantizationModifier(start_epoch=0.0, disable_quantization_observer_epoch=0.0)], Mlp(), 2, 6)
    train_step(run, 0)
    train_step(run, 1)
    counts = {fq.count.item() for fq in quantizers(run.model).values() if isinstance(fq, ActivationQuant)}
    assert counts == {1.0}
    assert all(fq.enabled and fq.calibrated for fq in quantizers(run.model).values())


def test_batch_norms_stay_frozen_through_model_train_and_are_given_back() -> None:
    modifier = QuantizationModifier(start_epoch=0.0, freeze_bn_stats_epoch=1.0)
    run = open_run([modifier], Mlp(), 1, 4)
    train_step(run, 0)
    assert run.model.norm.num_batches_tracked.item() == 1
    train_step(run, 1)
    train_step(run, 2)
    assert run.model.norm.num_batches_tracked.item() == 1
    run.close()
    run.model.train()(torch.randn(4, 32))
    assert run.model.norm.num_batches_tracked.item() == 2
    assert not run.model.norm._forward_pre_hooks


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 6])
def test_resume_is_bit_exact(cut: int) -> None:
    def made() -> TrainingRun:
        fields = {"start_epoch": 1.0, "disable_quantization_observer_epoch": 2.0, "freeze_bn_stats_epoch": 2.5}
        return open_run([QuantizationModifier(**fields)], Mlp(), 2, 8)

    whole, first, second = made(), made(), made()
    for seed in range(8):
        train_step(whole, seed)
    for seed in range(cut):
        train_step(first, seed)
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(first.state_dict())
    for seed in range(cut, 8):
        train_step(second, seed)
    mine, theirs = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_state_of_another_model_is_refused() -> None:
    run = open_run([QuantizationModifier(start_epoch=0.0)], Mlp(), 1, 2)
    state = run.phases[0].modifier.state_dict()
    with pytest.raises(StateError, match="has 0 activation quantizers"):
        run.phases[0].modifier.load_state_dict(state | {"enabled": []}, run)


def test_values_and_times() -> None:
    modifier = QuantizationModifier(start_epoch=1.0, disable_quantization_observer_epoch=3.0, freeze_bn_stats_epoch=4.5)
    assert [modifier.values(e)["quantization"] for e in (0.0, 1.0, 2.9, 3.0)] == [0.0, 1.0, 1.0, 2.0]
    assert modifier.last_epoch() == 4.5
    modifier.place("s/QuantizationModifier/0", 10.0)
    assert modifier.frozen_from == 13.0
    assert modifier.update_steps(Clock(2, 40)) == [22, 26, 29, 40]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"submodules": ["a"], "ignore": ["b"]}, "submodules and ignore"),
        ({"end_epoch": 3.0, "disable_quantization_observer_epoch": 4.0}, "4 is after end_epoch 3"),
        ({"start_epoch": 2.0, "disable_quantization_observer_epoch": 1.0}, "before start_epoch 2"),
        ({"freeze_bn_stats_epoch": 1.0, "start_epoch": 2.0}, "freeze_bn_stats_epoch 1 is before"),
        ({"weight_bits": 0}, "weight_bits: 1 to 16 bits"),
        ({"activation_bits": 17}, "activation_bits: 1 to 16 bits"),
        ({"scheme": "defualt"}, "did you mean default"),
        ({"scheme": {"weight": {}}}, "did you mean weights"),
        ({"scheme": {"weights": {"num_bits": 4.5}}}, "whole number from 1 to 16"),
        ({"scheme": {"weights": {"strategy": "row"}}}, "'tensor', 'channel' or 'group'"),
        ({"scheme": {"weights": {"strategy": "group"}}}, "group_size is a whole number"),
        ({"scheme": {"weights": {"group_size": 32}}}, "belongs to symmetric weights"),
        ({"scheme": {"weights": {"symmetric": "off"}}}, "weights: symmetric: write false, without quotes"),
        ({"scheme": {"weights": {"symmetric": 2}}}, "weights: symmetric is true or false, got 2"),
        ({"scheme": {"input_activations": {"strategy": "group", "group_size": 2}}}, "belongs to symmetric weights"),
        ({"scheme": {"output_activations": {"bits": 8}}}, "did you mean num_bits"),
        # What is not built must not hide a mistake further on.
        ({"scheme_overrides": {"a": {"weights": {"num_bits": 4}}, "b": {"weight": {}}}}, "did you mean weights"),
        ({"scheme": {"target_hardware": "tensort"}}, "did you mean tensorrt"),
        (
            {"scheme": {"target_hardware": "tensorrt", "input_activations": {"symmetric": False}}},
            "symmetric activations",
        ),
        ({"config_groups": {"a": {"targets": ["Linear"]}}, "scheme": "default"}, "use one of them"),
        ({"config_groups": {"a": {"targets": ["Linear"]}, "b": {"targets": ["Linear"]}}}, "two groups target 'Linear'"),
        ({"config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bit": 8}}}}, "num_bit"),
        ({"config_groups": {"a": {"weights": None}}}, "targets"),
        ({"config_groups": {"a": {"targets": ["x"], "weights": {"strategy": "group"}}}}, "needs a group_size"),
        ({"num_calibration_steps": 0}, "greater than 0"),
        ({"submodule": ["a"]}, "Extra inputs"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QuantizationModifier(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight_bits": 1}, "weight_bits 1"),
        ({"weight_bits": None}, "weight_bits None"),
        ({"activation_bits": 16}, "activation_bits 16"),
        ({"exclude_batchnorm": False}, "exclude_batchnorm false"),
        ({"custom_quantizable_module_types": ["SiLU"]}, "custom_quantizable_module_types SiLU"),
        ({"model_fuse_fn_name": "fuse_it"}, "model_fuse_fn_name fuse_it"),
        ({"weight_qconfig_kwargs": {"observer": "histogram"}}, "weight_qconfig_kwargs: observer 'histogram'"),
        ({"activation_qconfig_kwargs": {"quant_min": 3}}, "activation_qconfig_kwargs: quant_min 3"),
        ({"scheme": {"weights": {"num_bits": 16}}}, "weights: num_bits 16"),
        ({"scheme": {"input_activations": {"strategy": "channel"}}}, "input_activations: strategy 'channel'"),
        ({"scheme": {"output_activations": {"strategy": "channel"}}}, "output_activations: strategy 'channel'"),
        ({"scheme_overrides": {"Linear": {"weights": {"num_bits": 9}}}}, "weights: num_bits 9"),
        (
            {"config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 16}}}},
            r"16 bit int \(config_groups.g\)",
        ),
        ({"config_groups": {"g": {"targets": ["Linear"], "input_activations": {"dynamic": True}}}}, "dynamic ranges"),
        (
            {"config_groups": {"g": {"targets": ["Linear"], "output_activations": {"strategy": "token"}}}},
            "outputs by token",
        ),
        ({"config_groups": {"g": {"targets": ["x"], "weights": {"observer": "mse"}}}}, "the observer 'mse'"),
        ({"config_groups": {"g": {"targets": ["x"], "weights": {"strategy": "block"}}}}, "weights by block"),
        (
            {"config_groups": {"g": {"targets": ["x"], "weights": {"group_size": 8, "symmetric": False}}}},
            "weights by group with a zero point",
        ),
    ],
)
def test_formats_that_are_not_built_validate_and_are_refused_by_the_model(fields: dict[str, Any], message: str) -> None:
    modifier = QuantizationModifier(**fields)
    with pytest.raises(RecipeError, match=f"not available yet: QuantizationModifier with {message}"):
        modifier.on_structure(Mlp())


def test_module_types_that_are_excluded_need_no_quantizer() -> None:
    fields = {"custom_quantizable_module_types": ["SiLU"], "exclude_module_types": ["SiLU"]}
    assert QuantizationModifier(**fields).unavailable is None  # type: ignore[arg-type]


def test_groups_quantize_their_targets_only() -> None:
    form = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    inputs = {"num_bits": 8, "symmetric": False}
    groups = {
        "group_0": {"targets": ["fc1"], "weights": form, "input_activations": inputs, "output_activations": None},
        "group_1": {"targets": ["re:fc2"], "weights": form | {"strategy": "tensor"}, "input_activations": "None"},
    }
    modifier = QuantizationModifier(config_groups=groups)  # type: ignore[arg-type]
    assert modifier.unavailable is None
    model = Mlp()
    modifier.on_structure(model)
    assert {name.split(".")[0] for name in quantizers(model)} == {"fc1", "fc2"}
    selection = modifier.selection()
    assert selection.overrides["fc1"] == DEFAULT
    assert selection.overrides["re:fc2"] == Scheme(None, WEIGHT_PER_TENSOR)


def test_an_end_of_a_composed_recipe_freezes_and_quantization_lasts() -> None:
    modifier = QuantizationModifier(start_epoch=1.0, end_epoch=2.0)
    modifier.place("default/QuantizationModifier/0", 0.0)
    model = Mlp()
    modifier.on_structure(model)
    run = open_run([modifier], model, 2, 6)
    for step in range(6):
        train_step(run, step)
    assert [modifier.values(epoch)["quantization"] for epoch in (0.5, 1.0, 2.0, 2.5)] == [0.0, 1.0, 2.0, 2.0]
    assert all(fq.enabled and not fq.observing for fq in quantizers(model).values())


def test_the_seeds_fields_are_taken() -> None:
    modifier = QuantizationModifier(
        start_epoch=8.0,
        disable_quantization_observer_epoch=12.0,
        freeze_bn_stats_epoch=12.0,
        quantize_embeddings=1,
        quantize_linear_activations=0,
        exclude_module_types=["LayerNorm", "Tanh"],
        submodules=["bert.embeddings", "bert.encoder", "classifier"],
    )
    selection = modifier.selection()
    assert selection.embeddings
    assert selection.ignore == ("LayerNorm", "Tanh")


def test_bits_of_layers_and_reduced_range() -> None:
    def default(**fields: Any) -> Any:
        return QuantizationModifier(**fields).selection().default

    assert (default(weight_bits=4).weights.bits, default(weight_bits=4).inputs.bits) == (4, 8)
    assert (default(weight_bits=4).weights.qmin, default(weight_bits=4).weights.qmax) == (-7, 7)
    assert default(activation_bits=None).inputs is None
    assert default(activation_bits=6).inputs.qmax == 63
    reduced = default(reduce_range=1)
    assert (reduced.weights.bits, reduced.inputs.bits) == (7, 8)
    # A pair of products with uint8 stays within 16 bits: what CPUs without VNNI add them up in.
    assert 2 * reduced.weights.qmax * reduced.inputs.qmax < 2**15
    assert default(reduce_range=True, weight_bits=4).weights.bits == 4


def test_a_layers_own_width_and_format() -> None:
    overrides = {"fc2": {"weights": {"num_bits": 4}, "output_activations": {}}, "classifier": None}
    model = Mlp()
    QuantizationModifier(scheme_overrides=overrides).on_structure(model)
    assert (model.fc1.weight_fq.spec.bits, model.fc2.weight_fq.spec.bits) == (8, 4)
    assert model.fc2.output_fq is not None
    assert model.fc1.output_fq is None
    assert type(model.classifier) is nn.Linear
    assert "weight_fq" not in dict(model.classifier.named_modules())


def test_embeddings_keep_8_bits_unless_they_are_named() -> None:
    for fields, bits in (({}, 8), ({"Embedding": {"weights": {"num_bits": 4}}}, 4)):
        model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
        scheme = {"weights": {"num_bits": 4}}
        QuantizationModifier(scheme=scheme, scheme_overrides=fields).on_structure(model)  # type: ignore[arg-type]
        assert (model[0].weight_fq.spec.bits, model[1].weight_fq.spec.bits) == (bits, 4)


def test_matmuls_inside_attention_may_be_left_float() -> None:
    for wanted in (True, False):
        model = tiny_classifier()
        QuantizationModifier(quantize_attention=wanted).on_structure(model)
        assert any("attention_fq" in name for name in quantizers(model)) == wanted
        assert any("query" in name for name in quantizers(model))


def test_outputs_of_linears_are_never_quantized_whatever_quantize_linear_activations_says() -> None:
    names = []
    for value in (0, 1):
        model = Mlp()
        QuantizationModifier(quantize_linear_activations=value).on_structure(model)
        names.append(list(quantizers(model)))
    assert names[0] == names[1]


def test_schemes() -> None:
    def default(**fields: Any) -> Any:
        return QuantizationModifier(**fields).selection().default

    assert default(tensorrt=True).inputs == default(scheme="tensorrt").inputs == ACTIVATION_SYMMETRIC
    assert default(scheme={"weights": {"strategy": "tensor"}}).weights == WEIGHT_PER_TENSOR
    assert default(scheme={"input_activations": None}).inputs is None
    assert default(scheme={"weights": {"num_bits": 8}}).inputs is not None
    overrides = {"Embedding": {"input_activations": "null", "weights": {"symmetric": False}}, "ReLU": None}
    found = QuantizationModifier(scheme_overrides=overrides).selection().overrides
    assert found["Embedding"].weights == WEIGHT_AFFINE
    assert found["Embedding"].inputs is None
    assert found["ReLU"] is None


def test_the_averaging_constant_is_the_momentum() -> None:
    model = Mlp()
    QuantizationModifier(activation_qconfig_kwargs={"averaging_constant": 0.01}).on_structure(model)
    assert model.fc1.input_fq.momentum == 0.01


def test_structure_twice_is_structure_once_and_starts_switched_off() -> None:
    model = Mlp()
    modifier = QuantizationModifier(start_epoch=1.0)
    modifier.on_structure(model)
    names = list(quantizers(model))
    modifier.on_structure(model)
    assert list(quantizers(model)) == names
    assert not any(fq.enabled or fq.observing for fq in quantizers(model).values())


def test_a_module_the_model_lacks_is_an_error_at_its_place() -> None:
    text = "modifiers:\n  - !QuantizationModifier\n    start_epoch: 0.0\n    submodules: [fc3]\n"
    (modifier,) = registry.build(Recipe.from_text(text))
    with pytest.raises(RecipeError, match="no module 'fc3'"):
        modifier.on_structure(Mlp())


def learned_run(total: int = 6, lr: float = 1e-2, decay: float = 0.0, **fields: Any) -> TrainingRun:
    model = Mlp()
    modifier = QuantizationModifier(start_epoch=1.0, learned_step_size=True, **fields)
    modifier.on_structure(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    run = TrainingRun([modifier], model, optimizer, Clock(1, total))
    run.open()
    return run


def test_step_sizes_are_learned_from_the_second_step_until_they_are_frozen() -> None:
    run = learned_run(disable_quantization_observer_epoch=4.0)
    weight, inputs = run.model.fc1.weight_fq, run.model.fc1.input_fq
    seen = []
    for seed in range(6):
        train_step(run, seed)
        seen.append((weight.observing, weight.learning, weight.scale.clone(), inputs.scale.clone()))
    assert [(observing, learning) for observing, learning, *_ in seen] == [
        *((False, False), (False, True), (False, True), (False, True), (False, False), (False, False)),
    ]
    pairs = itertools.pairwise(seen[1:])
    moved = [not torch.equal(a[2], b[2]) and not torch.equal(a[3], b[3]) for a, b in pairs]
    assert moved == [True, True, False, False]
    assert all(fq.enabled and fq.calibrated for fq in quantizers(run.model).values())


class Branch(nn.Module):
    """Its second layer is not used by the first batches."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.later = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, both: bool) -> torch.Tensor:
        return self.later(self.always(x)) if both else self.always(x)


def test_a_layer_that_is_used_late_learns_its_step_size_too() -> None:
    model = Branch()
    modifier = QuantizationModifier(start_epoch=0.0, learned_step_size=True)
    modifier.on_structure(model)
    run = TrainingRun([modifier], model, torch.optim.SGD(model.parameters(), lr=0.1), Clock(1, 6))
    run.open()
    late, learning, state = model.later.input_fq, [], {}
    for step in range(6):
        run.begin_step()
        model(torch.randn(8, 4), both=step > 2).square().sum().backward()
        run.optimizer.step()
        run.optimizer.zero_grad()
        learning.append((model.always.input_fq.learning, late.learning))
        if step == 1:
            state = modifier.state_dict()
            modifier.load_state_dict(state, run)
            assert late.observing
    assert learning[:5] == [(True, False)] * 3 + [(True, True)] * 2
    assert late.enabled
    assert late.calibrated


def test_learned_step_sizes_are_spared_weight_decay() -> None:
    run = learned_run(lr=1e-4, decay=5e3)  # each step takes half of a weight
    for seed in range(3):
        train_step(run, seed)
    clip, weight = run.model.fc1.weight_fq.clip_value.detach().clone(), run.model.fc1.weight.detach().clone()
    for seed in range(3, 5):
        train_step(run, seed)
    torch.testing.assert_close(run.model.fc1.weight.detach(), weight / 4, rtol=0, atol=1e-3)
    torch.testing.assert_close(run.model.fc1.weight_fq.clip_value.detach(), clip, rtol=0, atol=1e-3)
    assert clip.min() > 0.01
    assert len(run.optimizer.param_groups) == 1


def test_an_optimizer_made_before_the_quantizers_gets_their_step_sizes() -> None:
    model = Mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    run = TrainingRun([QuantizationModifier(learned_step_size=True)], model, optimizer, Clock(1, 3))
    run.open()
    held = {id(p) for p in optimizer.param_groups[0]["params"]}
    assert all(id(fq.clip_value) in held for fq in quantizers(model).values())


def test_step_sizes_are_no_weights_of_the_model() -> None:
    model = Mlp()
    parameters = model_report(model).parameters
    QuantizationModifier(learned_step_size=True).on_structure(model)
    assert not [name for name in select_parameters(model, "__ALL__") if "clip_value" in name]
    assert list(select_parameters(model, "re:fc1.weight")) == ["fc1.weight"]
    assert model_report(model).parameters == parameters
    assert model.fc1.weight_fq.clip_value.shape == (64,)
    assert model.fc1.input_fq.clip_value.shape == (1,)


def test_what_is_ignored_by_a_broken_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        QuantizationModifier(ignore=["classifier", "re:(["])


def test_a_second_run_begins_before_its_first_phase() -> None:
    modifier = QuantizationModifier(start_epoch=1.0, freeze_bn_stats_epoch=1.0)
    modifier.place("default/QuantizationModifier/0", 0.0)
    states = []
    for _ in range(2):
        run = open_run([modifier], nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), 2, 4)
        states.append({k: v for k, v in modifier.state_dict().items() if k in ("phase", "norms_frozen")})
        run.model(torch.ones(2, 4))
        run.finish()
        run.close()
    assert states == [{"phase": 0, "norms_frozen": False}] * 2
