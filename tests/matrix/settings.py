"""One recipe per registered modifier. Adding a modifier means adding an entry here: a test holds it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """A recipe in which the modifier starts, moves and ends inside the three epochs of the matrix."""

    body: str
    prunes: tuple[str, ...] = ()
    sparse_start: bool = False
    last: bool = True
    needs_gradients: bool = False

    @property
    def recipe(self) -> str:
        return (
            "num_epochs: 3\nmodifiers:\n" + "\n".join(f"  {line}" for line in self.body.strip("\n").splitlines()) + "\n"
        )


_GRADUAL = """
- !{name}
    params: ["re:fc[12].weight"]
    init_sparsity: 0.1
    final_sparsity: 0.75
    start_epoch: 0.5
    end_epoch: 2.0
    update_frequency: 0.5
"""
_UNITS = """
- !StructuredPruningModifier
    mask_type: filter
    init_sparsity: 0.0
    final_sparsity: 0.5
    start_epoch: 0.5
    end_epoch: 2.0
    update_frequency: 0.5
"""
_FC = ("fc1.weight", "fc2.weight")

SETTINGS: dict[str, Setting] = {
    "EpochRangeModifier": Setting("- !EpochRangeModifier {start_epoch: 0.0, end_epoch: 3.0}"),
    "SetLearningRateModifier": Setting(
        "- !SetLearningRateModifier {start_epoch: 0.5, learning_rate: 0.005}\n"
        "- !SetLearningRateModifier {start_epoch: 2.0, learning_rate: 0.001}"
    ),
    "LearningRateModifier": Setting(
        "- !LearningRateModifier\n"
        "    lr_class: StepLR\n"
        "    lr_kwargs: {step_size: 1, gamma: 0.5}\n"
        "    init_lr: 0.01\n"
        "    start_epoch: 0.5\n"
        "    end_epoch: 2.5"
    ),
    "LearningRateFunctionModifier": Setting(
        "- !LearningRateFunctionModifier\n"
        "    lr_func: cosine\n"
        "    init_lr: 0.01\n"
        "    final_lr: 0.0\n"
        "    start_epoch: 0.5\n"
        "    end_epoch: 2.5"
    ),
    "SetWeightDecayModifier": Setting("- !SetWeightDecayModifier {start_epoch: 1.0, weight_decay: 0.3}"),
    "TrainableParamsModifier": Setting(
        '- !TrainableParamsModifier {params: ["re:fc1.*"], trainable: false, start_epoch: 0.5, end_epoch: 2.0}'
    ),
    "ConstantPruningModifier": Setting(
        '- !ConstantPruningModifier {params: ["fc1.weight"], start_epoch: 0.0}',
        prunes=("fc1.weight",),
        sparse_start=True,
    ),
    "GMPruningModifier": Setting(_GRADUAL.format(name="GMPruningModifier"), prunes=_FC),
    "MagnitudePruningModifier": Setting(
        _GRADUAL.format(name="MagnitudePruningModifier") + "    mask_type: block4\n    inter_func: linear", prunes=_FC
    ),
    "GlobalMagnitudePruningModifier": Setting(_GRADUAL.format(name="GlobalMagnitudePruningModifier"), prunes=_FC),
    "MovementPruningModifier": Setting(
        _GRADUAL.format(name="MovementPruningModifier"), prunes=_FC, needs_gradients=True
    ),
    "WeightPruningModifier": Setting(
        _GRADUAL.format(name="WeightPruningModifier")
        + "    mask_type: 4x1\n    inter_func: exp\n    progressive: true",
        prunes=_FC,
        needs_gradients=True,
    ),
    "ACDCPruningModifier": Setting(
        "- !ACDCPruningModifier\n"
        '    params: ["re:fc[12].weight"]\n'
        "    compression_sparsity: 0.75\n"
        "    start_epoch: 0.0\n"
        "    end_epoch: 3.0\n"
        "    update_frequency: 1.0",
        prunes=_FC,
    ),
    "QuantizationModifier": Setting(
        "- !QuantizationModifier\n"
        "    start_epoch: 0.5\n"
        "    disable_quantization_observer_epoch: 1.5\n"
        "    freeze_bn_stats_epoch: 2.0"
    ),
    "PostTrainingQuantizationModifier": Setting(
        "- !PostTrainingQuantizationModifier {approach: static, num_calibration_samples: 8, observer: mse}"
    ),
    "SetParamModifier": Setting('- !SetParamModifier {params: ["fc1.bias"], val: 0.25, start_epoch: 1.0}'),
    "GradualParamModifier": Setting(
        "- !GradualParamModifier\n"
        '    params: ["fc1.bias"]\n'
        "    init_val: 0.0\n"
        "    final_val: 0.5\n"
        "    start_epoch: 0.5\n"
        "    end_epoch: 2.0\n"
        "    update_frequency: 0.5"
    ),
    "SparsificationLoggingModifier": Setting(
        "- !SparsificationLoggingModifier {start_epoch: 0.5, end_epoch: 2.0, update_frequency: 0.5}"
    ),
    "LayerPruningModifier": Setting("- !LayerPruningModifier {layers: [fc2]}"),
    "PerLayerDistillationModifier": Setting(
        "- !PerLayerDistillationModifier\n"
        "    student_layer_names: [fc1, conv, fc1]\n"
        "    teacher_layer_names: [fc1, conv, classifier]\n"  # the last is narrower: a projection is learned
        "    start_epoch: 0.5\n"
        "    end_epoch: 2.0"
    ),
    "OutputDistillationModifier": Setting(
        "- !OutputDistillationModifier\n"
        '    targets: ["re:fc[12]", [fc2, fc1]]\n'
        "    comparison: square_head\n"
        "    start_epoch: 0.5\n"
        "    end_epoch: 2.0"
    ),
    "HiddenStateDistillationModifier": Setting(
        "- !HiddenStateDistillationModifier {layer: fc2, gain: 2.0, task_weight: 0.5, start_epoch: 0.5, end_epoch: 2.0}"
    ),
    "StructuredPruningModifier": Setting(
        _GRADUAL.format(name="StructuredPruningModifier").replace("re:fc[12].weight", "fc1.weight")
        + "    mask_type: filter",
        prunes=_FC,
    ),
    "LayerThinningModifier": Setting(
        _UNITS + "- !LayerThinningModifier {start_epoch: 1.0, update_epochs: [2.0]}",
    ),
    "DistillationModifier": Setting(
        "- !DistillationModifier\n"
        "    hardness: 0.5\n"
        "    temperature: 2.0\n"
        "    distill_output_keys: [logits]\n"
        "    start_epoch: 0.5\n"
        "    end_epoch: 2.0"
    ),
}

PAIRS: dict[str, Setting] = {
    "prune, then learn step sizes": Setting(
        _GRADUAL.format(name="GMPruningModifier").replace("end_epoch: 2.0", "end_epoch: 1.5")
        + "- !QuantizationModifier\n"
        "    learned_step_size: true\n"
        "    start_epoch: 0.75\n"
        "    disable_quantization_observer_epoch: 2.0\n"
        "    freeze_bn_stats_epoch: 1.5",
        prunes=_FC,
    ),
    "4 bit weights in groups, learned": Setting(
        "- !QuantizationModifier\n"
        "    learned_step_size: true\n"
        "    ignore: [conv]\n"
        "    scheme: {weights: {num_bits: 4, strategy: group, group_size: 8}, input_activations: null}\n"
        "    start_epoch: 0.5",
    ),
    "4 bit weights, symmetric inputs, learned": Setting(
        "- !QuantizationModifier\n"
        "    learned_step_size: true\n"
        "    scheme: {weights: {num_bits: 4}, input_activations: {symmetric: true}, output_activations: {}}\n"
        "    start_epoch: 0.0",
    ),
    "prune then quantize with distillation": Setting(
        "- !LearningRateFunctionModifier {lr_func: linear, init_lr: 0.01, final_lr: 0.0, start_epoch: 0, end_epoch: 3}"
        + _GRADUAL.format(name="GMPruningModifier")
        + "- !QuantizationModifier {start_epoch: 1.5, disable_quantization_observer_epoch: 2.5}\n"
        + "- !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [logits]}",
        prunes=_FC,
    ),
    "prune while layers are taught": Setting(
        _GRADUAL.format(name="GMPruningModifier").strip("\n") + "\n- !PerLayerDistillationModifier\n"
        "    student_layer_names: [fc1, fc2]\n"
        "    teacher_layer_names: [fc1, classifier]\n"
        "    end_epoch: 3.0",
        prunes=_FC,
    ),
    "outputs and layers of one teacher": Setting(
        "- !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [logits]}\n"
        "- !PerLayerDistillationModifier {student_layer_names: [fc1], gain: 0.5}\n"
        "- !OutputDistillationModifier {targets: fc2, comparison: cosine_similarity}"
    ),
    "prune, then quantize after training": Setting(
        _GRADUAL.format(name="GMPruningModifier") + "- !PostTrainingQuantizationModifier {approach: dynamic}",
        prunes=_FC,
    ),
    "taylor scores over all layers": Setting(
        _UNITS + "    score_type: taylor\n    global_sparsity: true\n    inter_func: linear"
    ),
    "prune weights, prune units, shrink, then quantize": Setting(
        _GRADUAL.format(name="GMPruningModifier").replace("end_epoch: 2.0", "end_epoch: 1.0")
        + _UNITS.replace("0.5\n    end", "1.0\n    end")
        + "- !LayerThinningModifier {start_epoch: 2.0}\n"
        + "- !QuantizationModifier {start_epoch: 1.5, disable_quantization_observer_epoch: 2.5}"
    ),
}
