"""Recipes that several tests plan."""

from __future__ import annotations

WHOLE = """\
num_epochs: 6
training_modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: 1e-3}
  - !LearningRateFunctionModifier
    {start_epoch: 3.0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: 1e-3, final_lr: 0.0}
  - !SetWeightDecayModifier {start_epoch: 2.0, weight_decay: 0.01}
pruning_modifiers:
  - !GMPruningModifier
    params: ['re:.*(query|key|value)\\.weight']
    init_sparsity: 0.0
    final_sparsity: 0.8
    start_epoch: 0.5
    end_epoch: 3.0
    update_frequency: 0.5
quantization_modifiers:
  - !QuantizationModifier {start_epoch: 4.0, disable_quantization_observer_epoch: 5.0, freeze_bn_stats_epoch: 5.5}
distillation_modifiers:
  - !DistillationModifier {start_epoch: 1.0, end_epoch: 5.0, hardness: 0.5, temperature: 2.0}
"""


def recipe(*modifiers: str) -> str:
    """A recipe of these modifiers, each one line."""
    return "modifiers:\n" + "".join(f"  - !{m}\n" for m in modifiers)


def rate(start: float, end: float, **fields: object) -> str:
    """A linear learning rate."""
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    span = f"start_epoch: {start}, end_epoch: {end}"
    return f"LearningRateFunctionModifier {{lr_func: linear, init_lr: 0.1, final_lr: 0.0, {span}{more}}}"


def pruner(start: float, end: float, params: str, frequency: float = 0.5) -> str:
    """Gradual magnitude pruning."""
    return (
        f"GMPruningModifier {{params: [{params}], init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: {start}, "
        f"end_epoch: {end}, update_frequency: {frequency}}}"
    )
