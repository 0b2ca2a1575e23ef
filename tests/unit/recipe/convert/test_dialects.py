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
    expected = {"hardness": 0.75, "temperature": 1.0, "comparison": "cross_entropy"}
    assert fields(text) == [("DistillationModifier", expected)]
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


def test_layers_of_several_weights_and_losses() -> None:
    text = """\
criterion:
  IntermediateLayersKnowledgeDistillationLoss:
    layer_mappings: [[a, b], [c, d], [[e, 0], [f, 1]], [g, h], [i, j]]
    loss_types: [MSE, MSE, MSE, L1, MSE]
    loss_weights: [1.0, 0.5, 1.0, 1.0, 0]
    add_origin_loss: true
"""
    (_, heavy), (_, light) = fields(text)
    assert (heavy["gain"], heavy["student_layer_names"], heavy["teacher_layer_names"]) == (1.0, ["a", "e"], ["b", "f"])
    assert (light["gain"], light["student_layer_names"]) == (0.5, ["c"])
    (line,) = converted(text).lost
    assert line.endswith("loss_types: L1 of g and h: only MSE has an equivalent")
    for wrong in ("layer_mappings: [[a, b, c]]", "layer_mappings: [[a, b]]\n    loss_weights: [1, 2]"):
        with pytest.raises(RecipeError, match="layer_mappings"):
            converted(f"criterion:\n  IntermediateLayersKnowledgeDistillationLoss:\n    {wrong}\n")


@pytest.mark.parametrize(("kind", "comparison"), [("CE", "cross_entropy"), ("KL", None), ("MSE", "squared_error")])
def test_the_soft_loss_is_carried_over(kind: str, comparison: str | None) -> None:
    text = f"criterion: {{KnowledgeDistillationLoss: {{loss_types: [CE, {kind}]}}}}\n"
    ((_, found),) = fields(text)
    assert found.get("comparison") == comparison
    assert ("logits are compared here" in converted(text).text) == (kind == "MSE")


@pytest.mark.parametrize("types", ["[]", "[CE]", "[CE, L1]", "[CE, CE, KL]"])
def test_loss_types_that_are_not_two(types: str) -> None:
    with pytest.raises(RecipeError, match="loss_types is two names"):
        converted(f"criterion: {{KnowledgeDistillationLoss: {{loss_types: {types}}}}}\n")


def test_nothing_of_distillation_is_dropped_in_silence() -> None:
    text = """\
distillation:
  train:
    frequency: 1
    optimizer: {SGD: {learning_rate: 0.1}}
    criterion: {KnowledgeDistillationLoss: {loss_weigths: [0, 1]}}
"""
    assert converted(text).lost == (
        "distillation.train.frequency: the training command's flags say it",
        "distillation.train.optimizer: the training command's flags say it",
        "distillation.train.criterion.KnowledgeDistillationLoss.loss_weigths: unknown, left out (did you mean"
        " loss_weights?)",
    )


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
    static = "quantization: {approach: post_training_static_quant, calibration: {sampling_size: '100, 200'}}\n"
    expected = {"approach": "static", "num_calibration_samples": 100}
    assert fields(static) == [("PostTrainingQuantizationModifier", expected)]
    assert "--one_shot" in converted(static).text
    assert converted(static).lost == (
        "quantization.calibration.sampling_size 100, 200: sizes to try in turn; the first is written",
    )
    dynamic = "quantization: {approach: post_training_dynamic_quant}\n"
    assert fields(dynamic) == [("PostTrainingQuantizationModifier", {"approach": "dynamic"})]


@pytest.mark.parametrize(
    ("call", "approach"), [("", "static"), ('approach="dynamic"', "dynamic"), ('approach="auto"', "static")]
)
def test_the_approach_of_a_post_training_config_is_its_own(call: str, approach: str) -> None:
    text = f"q = PostTrainingQuantConfig({call})\n"
    assert fields(text, "quantize.py") == [("PostTrainingQuantizationModifier", {"approach": approach})]


def test_quantization_while_training_begins_where_it_did() -> None:
    text = """\
quantization:
  approach: quant_aware_training
  train: {start_epoch: 2, end_epoch: 4, optimizer: {Adam: {learning_rate: 1e-3}}}
  op_wise: {conv1: {weight: {dtype: [fp32]}}}
  reduce_range: true
prunning: {}
"""
    assert fields(text) == [("QuantizationModifier", {"start_epoch": 2, "reduce_range": True})]
    lost = converted(text).lost
    assert "quantization.train.optimizer: the training command's flags say it" in lost
    assert any(line.startswith("quantization.op_wise: settings of single layers") for line in lost)
    assert "prunning: unknown, left out (did you mean pruning?)" in lost


def test_inc_config_of_optimum_intel() -> None:
    config = {
        "neural_compressor_version": "2.6",
        "pruning": {"approach": ["magnitude"], "pattern": ["4x1"], "sparsity": 40.0},
        "distillation": {"teacher_model_name_or_path": "some/teacher", "temperature": 2.0},
        "quantization": {"is_static": True, "dataset_num_samples": 50},
    }
    found = dict(fields(config, "inc_config.json"))
    assert found["PostTrainingQuantizationModifier"]["num_calibration_samples"] == 50
    assert found["WeightPruningModifier"]["final_sparsity"] == 0.4
    assert found["DistillationModifier"]["temperature"] == 2.0
    assert converted(config, "inc_config.json").lost == (
        "pruning.sparsity: there of the whole model, here of the layers that are pruned",
    )
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


def test_stages_keep_their_run_type_and_metadata_is_mentioned() -> None:
    text = """\
__metadata__: {note: hand-made}
first_stage:
  run_type: oneshot
  pruning_modifiers:
    - !ConstantPruningModifier {start_epoch: 0, params: __ALL_PRUNABLE__}
"""
    found = converted(text)
    assert [stage.run_type for stage in Recipe.from_text(found.text).stages] == ["oneshot"]
    assert found.lost == ("metadata: it says where the recipe came from, not what is done",)
    assert "# Not in this recipe:\n#   - metadata" in found.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pruning_modifiers: 5\n", "expected a list of modifiers"),
        ("modifiers:\n  - GMPruningModifier\n", "needs a tag"),
        ("modifiers:\n  - !EpochRangeModifier {start_epoch: eval(x), end_epoch: 1}\n", "unknown variable 'x'"),
    ],
)
def test_a_recipe_with_mistakes_is_told_them(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        converted(text)


@pytest.mark.parametrize("rows", [[{"text": "a", "label": 1}], [{}], []])
def test_a_table_is_no_configuration(rows: list[dict[str, object]]) -> None:
    with pytest.raises(RecipeError, match="no configuration that is known"):
        converted(rows)


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
