"""Help of ``sparsify-train``: our flags and the common ones, without importing transformers."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

from sparsify.tasks.arguments import ModelArguments, RecipeArguments
from sparsify.tasks.catalog import SPELLINGS, data_arguments
from sparsify.tasks.distillation_arguments import DistillationArguments
from sparsify.tasks.pruning_arguments import PruningArguments
from sparsify.tasks.quantization_arguments import QuantizationArguments

DEMO = "token_classification"
"""The task that has a demo."""
_COMMON = {
    "--output_dir DIR": "Where model, checkpoints and results go (required).",
    "--do_train, --do_eval, --do_predict": "Train; evaluate on validation data; write predictions for test data.",
    "--num_train_epochs N": "Epochs; a recipe's own hold where it has any.",
    "--learning_rate X": "Learning rate; a recipe's own holds where it has one.",
    "--per_device_train_batch_size N": "Also --per_device_eval_batch_size, --gradient_accumulation_steps.",
    "--eval_strategy, --save_strategy": "no, steps or epoch.",
    "--resume_from_checkpoint true|DIR": "Go on from the newest checkpoint in --output_dir, or from DIR.",
    "--report_to tensorboard": "Where losses and the recipe's values are logged.",
    "--seed N": "Random seed.",
}
_EXAMPLE = """sparsify-train {task} --model_name_or_path DIR --train_file train.jsonl \\
    --validation_file dev.jsonl --recipe recipe.yaml --distill_teacher DENSE_DIR \\
    --output_dir out --do_train --do_eval"""


def help_text(task: str) -> str:
    """The page that ``--help`` shows."""
    parts = [
        f"usage: sparsify-train {task} [flags]",
        "       sparsify-train TASK args.json|args.yaml",
        f"tasks: {', '.join(SPELLINGS)} (each has its own --help)",
        "",
        "Train a model; with --recipe it comes out sparse, quantized, distilled.",
        "",
        "Example:",
        f"  {_EXAMPLE.format(task=task)}",
    ]
    groups: dict[str, type[Any]] = {
        "Model": ModelArguments,
        "Data": data_arguments(task),
        "Recipe": RecipeArguments,
        "Pruning without a recipe file": PruningArguments,
        "Distillation without a recipe file": DistillationArguments,
        "Quantization without a recipe file": QuantizationArguments,
    }
    for title, group in groups.items():
        parts += ["", f"{title}:", *(_lines(*_described(field)) for field in dataclasses.fields(group))]
    parts += ["", "Training (a few of Hugging Face's; --help-all shows all):"]
    parts += [_lines(flag, text) for flag, text in _COMMON.items()]
    parts += ["", "Other:"]
    if task == DEMO:
        parts += [_lines("--demo", "Run the main job on a small generated corpus, without network.")]
    parts += [_lines("--traceback", "Show where an error came from.")]
    return "\n".join(parts)


def _described(field: dataclasses.Field[object]) -> tuple[str, str]:
    names = ", ".join([f"--{field.name}", *field.metadata.get("aliases", [])])
    preset = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    value = "" if isinstance(preset, bool) else f" {field.metadata.get('metavar') or _kind(str(field.type))}"
    default = "" if preset in (None, False, []) else f" [{preset}]"
    return names + value, field.metadata["help"] + default


def _kind(annotation: str) -> str:
    return "N" if "int" in annotation else "X" if "float" in annotation else "VALUE"


def _lines(flag: str, text: str) -> str:
    return f"  {flag}\n{textwrap.fill(text, 100, initial_indent=' ' * 8, subsequent_indent=' ' * 8)}"
