"""A new recipe from a few wishes: commented, with its numbers as variables on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparsify.errors import InputError
from sparsify.recipe.scalars import written

TASKS = {
    "token_classification": ("logits",),
    "text_classification": ("logits",),
    "question_answering": ("start_logits", "end_logits"),
    "masked_language_modeling": ("logits",),
}
"""Tasks, and the names of the outputs that a teacher is matched on."""

_MOST = 0.98  # of a layer, unless more is asked of all


@dataclass(frozen=True)
class Wishes:
    """What a new recipe is to do.

    Attributes:
        task: One of ``TASKS``.
        sparsity: Zeros in the encoder's Linear weights, above 0 and below 1; None: no pruning.
        pattern: Mask type of the pruning.
        int8: Whether weights and activations become int8.
        distill: Whether a teacher is listened to.
        epochs: Length of the run; None: what has worked for such a recipe.
        learning_rate: None: what has worked.
    """

    task: str = "token_classification"
    sparsity: float | None = None
    pattern: str = "unstructured"
    int8: bool = False
    distill: bool = False
    epochs: int | None = None
    learning_rate: float | None = None


def new_recipe(wishes: Wishes) -> str:
    """YAML of a recipe.

    Raises:
        InputError: A wish is out of range, or there is none.
    """
    _check(wishes)
    parts = [_head(wishes), _variables(wishes), _training(wishes)]
    if wishes.sparsity is not None:
        parts.append(_pruning(wishes))
    if wishes.int8:
        parts.append(_quantization())
    if wishes.distill:
        parts.append(_distillation(wishes))
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _check(wishes: Wishes) -> None:
    if wishes.task not in TASKS:
        raise InputError(f"task {wishes.task!r}: choose one of {', '.join(TASKS)}")
    if wishes.sparsity is not None and not 0 < wishes.sparsity < 1:
        raise InputError(
            f"sparsity must lie between 0 and 1, both excluded (0.8 for 80% zeros), got {wishes.sparsity:g}"
        )
    if wishes.sparsity is None and not wishes.int8 and not wishes.distill:
        raise InputError("nothing to do: ask for a sparsity, int8 or distillation")
    if wishes.epochs is not None and wishes.epochs < 1:
        raise InputError(f"epochs must be at least 1, got {wishes.epochs}")
    if wishes.learning_rate is not None and not 0 < wishes.learning_rate <= 1:
        raise InputError(f"the learning rate must lie above 0 and be at most 1, got {wishes.learning_rate:g}")


def _head(wishes: Wishes) -> list[str]:
    aims = []
    if wishes.sparsity is not None:
        aims.append(f"the encoder's Linear weights to {wishes.sparsity:.0%} zeros ({wishes.pattern}), step by step")
    if wishes.int8:
        aims.append("int8 by quantization aware training")
    if wishes.distill:
        aims.append("taught by a dense model")
    teacher = " --distill_teacher DENSE_MODEL" if wishes.distill else ""
    return [
        f"# {wishes.task.replace('_', ' ')}, from a dense fine-tuned model: {'; '.join(aims)}.",
        f"#   sparsify-train {wishes.task} --model_name_or_path DENSE_MODEL{teacher} --recipe THIS_FILE ...",
        "# See what it does before it runs:  sparsify-recipe plan THIS_FILE --steps-per-epoch N --model DENSE_MODEL",
        "version: 1.0.0",
    ]


def _variables(wishes: Wishes) -> list[str]:
    hard = (wishes.sparsity or 0) >= 0.7
    epochs = wishes.epochs or (8 if hard else 3)
    rate = wishes.learning_rate or (4e-4 if hard else 1e-4)
    lines = [f"num_epochs: {epochs}", f"init_lr: {written(rate)}", "final_lr: 0.0"]
    if wishes.sparsity is not None:
        lines += [
            "",
            "# zeros grow fast at first (cubic), then are held so that the rest can recover; the learning rate is held",
            "# until they have grown: what was pruned must be learnt back",
            "init_sparsity: 0.0",
            f"final_sparsity: {written(wishes.sparsity)}",
            "pruning_end_epoch: eval(num_epochs * 0.5)",
            "update_frequency: eval(num_epochs / 80)",
        ]
    if wishes.int8:
        start = "eval(pruning_end_epoch)" if wishes.sparsity is not None else "eval(num_epochs / 6)"
        lines += [
            "",
            "# rounding to int8 begins at qat_start_epoch; its ranges stand still from observer_epoch",
            f"qat_start_epoch: {start}",
            "observer_epoch: eval(num_epochs * 0.9)",
        ]
    if wishes.distill:
        lines += ["", "distill_hardness: 0.5   # share of the teacher in the loss", "distill_temperature: 2.0"]
    return lines


def _training(wishes: Wishes) -> list[str]:
    held = wishes.sparsity is not None
    return ["training_modifiers:", *_range(), *(_held_rate() if held else []), *_falling_rate(held)]


def _range() -> Iterator[str]:
    yield from ("  - !EpochRangeModifier", "    start_epoch: 0.0", "    end_epoch: eval(num_epochs)", "")


def _held_rate() -> Iterator[str]:
    yield from ("  - !SetLearningRateModifier", "    start_epoch: 0.0", "    learning_rate: eval(init_lr)", "")


def _falling_rate(held: bool) -> Iterator[str]:
    yield from (
        "  - !LearningRateFunctionModifier",
        f"    start_epoch: {'eval(pruning_end_epoch)' if held else '0.0'}",
        "    end_epoch: eval(num_epochs)",
        "    lr_func: linear",
        "    init_lr: eval(init_lr)",
        "    final_lr: eval(final_lr)",
    )


def _pruning(wishes: Wishes) -> list[str]:
    return [
        "pruning_modifiers:",
        "  - !WeightPruningModifier",
        "    params: []   # Linear weights of the encoder; embeddings, pooler and the task's head stay dense",
        "    score_type: snip_momentum   # |weight * gradient|, remembered over steps",
        "    pruning_scope: global   # one threshold: each layer gives what it can",
        f"    max_layer_sparsity: {'1.0' if (wishes.sparsity or 0) > _MOST else _MOST}",
        "    init_sparsity: eval(init_sparsity)",
        "    final_sparsity: eval(final_sparsity)",
        "    start_epoch: 0.0",
        "    end_epoch: eval(pruning_end_epoch)",
        "    update_frequency: eval(update_frequency)",
        "    inter_func: cubic",
        f"    mask_type: {written(wishes.pattern)}",
        "    leave_enabled: true   # the zeros stay zeros to the end",
    ]


def _quantization() -> list[str]:
    return [
        "quantization_modifiers:",
        "  - !QuantizationModifier",
        "    start_epoch: eval(qat_start_epoch)",
        "    disable_quantization_observer_epoch: eval(observer_epoch)",
        "    freeze_bn_stats_epoch: eval(observer_epoch)",
    ]


def _distillation(wishes: Wishes) -> list[str]:
    return [
        "distillation_modifiers:",
        "  - !DistillationModifier",
        "    hardness: eval(distill_hardness)",
        "    temperature: eval(distill_temperature)",
        f"    distill_output_keys: {written(list(TASKS[wishes.task]))}",
    ]
