"""Distillation, quantization, optimum-intel and recipes of another style."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.recipe.convert import convert
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.source import read_source
from tests.unit.recipe.convert.made import converted, fields

YAML = """\
version: 1.0
distillation:
  train:
    start_epoch: 0
    end_epoch: 3
    criterion:
      KnowledgeDistillationLoss: {temperature: 2.0, loss_types: [CE, KL], loss_weights: [0.2, 0.8]}
quantization:
  approach: quant_aware_training
tuning:
  accuracy_criterion: {relative: 0.01}
"""


def test_yaml_of_distillation_and_quantization() -> None:
    found = converted(YAML)
    (_, quantized), (_, taught) = fields(YAML)
    assert quantized == {"start_epoch": 0}
    assert taught == {"hardness": 0.8, "temperature": 2.0, "end_epoch": 3}
    assert found.lost == ("tuning: a search for settings that keep the accuracy has no equivalent",)
    assert "--distill_teacher" in found.text
    assert "weaker by the number of classes" in found.text


def test_weights_that_do_not_add_up_to_one() -> None:
    text = "distillation: {train: {criterion: {KnowledgeDistillationLoss: {loss_weights: [1, 3]}}}}\n"
    assert fields(text) == [("DistillationModifier", {"hardness": 0.75, "temperature": 1.0})]
    assert "here they add up to 1" in converted(text).text


def test_pruners_under_a_wrong_key_are_no_recipe() -> None:
    with pytest.raises(RecipeError, match="no configuration that is known"):
        converted("version: 1.0\npruners:\n  - !Pruner {prune_type: pattern_lock}\n")


def test_layers_of_teacher_and_student() -> None:
    text = """\
criterion:
  IntermediateLayersKnowledgeDistillationLoss:
    layer_mappings: [[a, b], [c, d]]
    loss_types: [MSE, MSE]
    loss_weights: [1.0, 1.0]
    add_origin_loss: true
"""
    body = converted(text).text
    assert "student_layer_names: [a, c]" in body
    assert "teacher_layer_names: [b, d]" in body
    with pytest.raises(RecipeError, match="layer_mappings is a list of pairs"):
        converted("criterion: {IntermediateLayersKnowledgeDistillationLoss: {layer_mappings: 3}}\n")


def test_python_of_all_three() -> None:
    text = """
p = WeightPruningConfig([{"op_names": ["encoder"], "pattern": "2:4"}], target_sparsity=0.5, end_step=90)
d = DistillationConfig(teacher_model=teacher, criterion=KnowledgeDistillationLossConfig(temperature=3.0))
q = QuantizationAwareTrainingConfig()
"""
    kinds = [kind for kind, _ in fields(text, "train.py")]
    assert dict(fields(text, "train.py"))["WeightPruningModifier"]["params"] == [r"re:.*encoder.*\.weight$"]
    assert kinds.count("QuantizationModifier") == kinds.count("DistillationModifier") == 1
    assert dict(fields(text, "train.py"))["DistillationModifier"]["temperature"] == 3.0
    assert (
        "teacher_model: teacher is known to the program only, its default is written"
        in converted(text, "train.py").lost
    )


def test_post_training_quantization() -> None:
    static = converted("quantization: {approach: post_training_static_quant, calibration: {sampling_size: 100}}\n")
    assert "--one_shot" in static.text
    assert static.lost == ("calibration.sampling_size 100: give --num_calibration_samples",)
    with pytest.raises(RecipeError, match="have no modifier"):
        converted("quantization: {approach: post_training_dynamic_quant}\n")


def test_inc_config_of_optimum_intel() -> None:
    config = {
        "neural_compressor_version": "2.6",
        "pruning": {"approach": ["magnitude"], "pattern": ["4x1"], "sparsity": 40.0},
        "distillation": {"teacher_model_name_or_path": "some/teacher", "temperature": 2.0},
        "quantization": {"is_static": True, "dataset_num_samples": 50},
    }
    found = dict(fields(config, "inc_config.json"))
    assert found["WeightPruningModifier"]["final_sparsity"] == 0.4
    assert found["DistillationModifier"]["temperature"] == 2.0
    assert "--distill_teacher some/teacher" in converted(config, "inc_config.json").text


def test_a_recipe_as_a_mapping() -> None:
    text = """\
final: 0.8
test_stage:
  pruning_modifiers:
    MagnitudePruningModifier:
      {init_sparsity: 0.0, final_sparsity: eval(final), start_epoch: 0, end_epoch: 2, update_frequency: 1, params: [a]}
"""
    body = converted(text).text
    assert "- !MagnitudePruningModifier" in body
    assert "final_sparsity: 0.8" in body
    assert "test_stage:" in body


def test_recipes_of_the_corpus_stay_what_they_are(shared: Path) -> None:
    count = 0
    for path in sorted((shared / "data" / "recipe_corpus").iterdir()):
        try:
            before = load_recipe(path).modifiers
        except RecipeError:
            continue
        after = ModifierManager(Recipe.from_text(convert(read_source(path)).text)).modifiers
        assert sorted((m.start, m.end, str(m)) for m in after) == sorted((m.start, m.end, str(m)) for m in before), path
        count += 1
    assert count >= 60
