"""Pruning commands of the examples that these flags come from: what follows the script's name."""

from __future__ import annotations

import shlex

_MRPC = (
    "--model_name_or_path dense --task_name mrpc --max_length 128 --per_device_train_batch_size 16 --learning_rate 1e-3"
    " --num_train_epochs 15 --weight_decay 1e-3 --do_prune --output_dir out --cooldown_epochs 5 --sparsity_warm_epochs 1"
)
_MRPC_END = "--lr_scheduler_type constant --distill_loss_weight 5"
_SST2 = (
    "--model_name_or_path dense --task_name sst2 --max_length 128 --per_device_train_batch_size 16 --learning_rate 5e-5"
    " --distill_loss_weight 2.0 --num_train_epochs 15 --weight_decay 5e-5 --cooldown_epochs 5 --sparsity_warm_epochs 0"
    " --lr_scheduler_type constant --do_prune --output_dir out"
)
_OPTIMUM = "--model_name_or_path dense --dataset_name data --output_dir out --do_train --do_eval"

COMMANDS: dict[str, str] = {
    "mrpc_2in4": f"{_MRPC} --target_sparsity 0.5 --pruning_pattern 2:4 --pruning_frequency 50 {_MRPC_END}",
    "sst2_2in4": f"{_SST2} --target_sparsity 0.5 --pruning_pattern 2:4 --pruning_frequency 500",
    "mrpc_4x1": f"{_MRPC} --target_sparsity 0.9 --pruning_pattern 4x1 --pruning_frequency 50 {_MRPC_END}",
    "sst2_4x1": f"{_SST2} --target_sparsity 0.9 --pruning_pattern 4x1 --pruning_frequency 500",
    "mrpc_channel": f"{_MRPC} --target_sparsity 0.9 --pruning_pattern 1xchannel --pruning_frequency 50 {_MRPC_END}",
    "sst2_channel": f"{_SST2} --target_sparsity 0.9 --pruning_pattern 1xchannel --pruning_frequency 500",
    "mrpc_distilbert": (
        "--model_name_or_path dense --task_name mrpc --max_length 256 --per_device_train_batch_size 16"
        " --learning_rate 1e-4 --num_train_epochs 120 --weight_decay 0 --cooldown_epochs 40 --sparsity_warm_epochs 0"
        " --lr_scheduler_type constant --distill_loss_weight 2 --do_prune --output_dir out --target_sparsity 0.9"
        " --pruning_pattern 4x1 --pruning_frequency 50"
    ),
    "mrpc_mixed": f"{_MRPC} --target_sparsity 0.9 {_MRPC_END} --pruning_config mixed.txt",
    "ner_magnitude": f"{_OPTIMUM} --apply_pruning --target_sparsity 0.1 --num_train_epochs 4",
    "qa_pattern_lock": f"{_OPTIMUM} --apply_pruning --pruning_config prune_pattern_lock.yml --num_train_epochs 8",
    "approach_pattern_lock": f"{_OPTIMUM} --apply_pruning --pruning_approach pattern_lock --num_train_epochs 8",
    "steps": f"{_OPTIMUM} --apply_pruning --pruning_approach magnitude_progressive --start_step 10 --end_step 410",
}
"""By name of the golden recipe. The last two are not printed there: they use further flags of the same scripts."""

DENSE: dict[str, str] = {
    "mrpc": (
        "--model_name_or_path ./bert-mini --task_name mrpc --max_length 128 --per_device_train_batch_size 16"
        " --learning_rate 5e-5 --num_train_epoch 5 --weight_decay 5e-5 --output_dir out"
    ),
    "sst2": (
        "--model_name_or_path dense --task_name sst2 --max_length 128 --per_device_train_batch_size 32"
        " --learning_rate 5e-5 --num_train_epochs 10 --output_dir out"
    ),
}

_POST = "--model_name_or_path dense --dataset_name data --apply_quantization"
QUANTIZED: dict[str, str] = {
    "ner_static": (f"{_POST} --quantization_approach static --num_calibration_samples 50 --do_eval --output_dir out"),
    "qa_static": (f"{_POST} --quantization_approach static --num_calibration_samples 40 --do_eval --output_dir out"),
    "dynamic": f"{_POST} --quantization_approach dynamic --do_eval --output_dir out",
    "ner_aware_pruned": (
        f"{_POST} --apply_pruning --target_sparsity 0.1 --num_train_epochs 4 --max_train_samples 100 --do_train"
        " --do_eval --output_dir out"
    ),
}
"""Commands with quantization, by name of the golden recipe; without those that distil."""

MIXED = """\
pruning_configs=[
        {
            "op_names": [".*output", ".*intermediate"], # regular expressions
            "pattern": "1x1",
            "pruning_scope": "local",
            "pruning_type": "snip_momentum",
            "sparsity_decay_type": "exp",
            "pruning_op_types": ["Linear"]
        },
        {
            "op_names": [".*query", ".*key", ".*value"],
            "pattern": "4x1",
            "pruning_scope": "global",
            "pruning_type": "snip_momentum",
            "sparsity_decay_type": "exp",
            "max_sparsity_ratio_per_op": 0.98,
            "min_sparsity_ratio_per_op": 0.5,
            "pruning_op_types": ["Linear"]
        }
]
"""
PATTERN_LOCK = """\
version: 1.0
pruning:
  approach:
    weight_compression:
      start_epoch: 0
      pruners:
        - !Pruner
            prune_type: pattern_lock
"""
FILES = {"mixed.txt": MIXED, "prune_pattern_lock.yml": PATTERN_LOCK}


def argv(command: str) -> list[str]:
    """The command's tokens."""
    return shlex.split(command)
