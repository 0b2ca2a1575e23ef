"""Command lines as people wrote them -> what transformers takes today, with one line for each thing that changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsify.errors import InputError
from sparsify.zoo.names import expanded

_BOOLEANS = {"true": True, "1": True, "yes": True, "t": True, "y": True} | dict.fromkeys(
    ("false", "0", "no", "f", "n"), False
)


@dataclass
class Translated:
    """A translated command line.

    Attributes:
        argv: What to parse.
        notes: One line for each flag that became something else.
        environment: Variables that stand for flags that are gone.
    """

    argv: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def flags(self) -> frozenset[str]:
        """Names of the flags given, after translation."""
        return frozenset(name for token in self.argv if (name := flag_name(token)))


@dataclass
class _Flag:
    name: str
    values: list[str]

    @property
    def value(self) -> str | None:
        return self.values[0] if self.values else None

    @property
    def on(self) -> bool:
        """Whether a switch is on: given alone or with a true value."""
        return _BOOLEANS.get((self.value or "true").lower(), True)

    def __str__(self) -> str:
        return " ".join([f"--{self.name}", *self.values])


def flag_name(token: str) -> str | None:
    """Name of a ``--flag`` or ``--flag=value`` token with underscores; None for any other token."""
    if not token.startswith("--") or len(token) == 2:
        return None
    return token[2:].split("=", 1)[0].replace("-", "_")


def translate(argv: Sequence[str]) -> Translated:
    """Rewrite flags that transformers 5 dropped or renamed.

    Flag names may be written with ``-`` or ``_``, values after a space or ``=``. Flags it does not know are passed on.

    Raises:
        InputError: A dropped flag's value has no meaning today.
    """
    result = Translated()
    flags = _group(expand_file(argv), result)
    result.notes += _overruled(flags)
    given = {flag.name for flag in flags}
    for flag in flags:
        became = _one(flag, given, result)
        for new in became:
            result.argv += [f"--{new.name}", *new.values]
    if "LOCAL_RANK" in os.environ and not given & {"use_cpu", "no_cuda"} and not _has_accelerator():
        result.argv.append("--use_cpu")  # without it each process would train a model of its own
        result.notes.append("--use_cpu is set: several processes were started, and there is no GPU for them")
    return result


def expand_file(argv: Sequence[str]) -> list[str]:
    """A lone JSON or YAML file of flags as the command line that it stands for.

    Raises:
        InputError: The file does not exist or does not hold one mapping.
    """
    if len(argv) != 1 or not argv[0].lower().endswith((".json", ".yaml", ".yml")) or argv[0].startswith("-"):
        return list(argv)
    path = expanded(argv[0])
    if not path.is_file():
        raise InputError(f"no arguments file {path}")
    values = _mapping(path)
    found = []
    for name, value in values.items():
        if value is None:
            continue
        found += [f"--{name}", *_as_text(value)]
    return found


def _mapping(path: Path) -> dict[str, Any]:
    import yaml

    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected flag names with values, got {type(values).__name__}")
    return values


def _as_text(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(v) for v in value]
    if isinstance(value, bool | dict):
        return [json.dumps(value)]
    return [str(value)]


def _group(argv: Sequence[str], result: Translated) -> list[_Flag]:
    flags: list[_Flag] = []
    for token in argv:
        name = flag_name(token)
        if name is not None:
            flags.append(_Flag(name, token.split("=", 1)[1:]))
        elif flags:
            flags[-1].values.append(token)
        else:
            result.argv.append(token)  # the parser says what it thinks of it
    return flags


def _overruled(flags: Sequence[_Flag]) -> list[str]:
    """What is said of flags given more than once: of all but one that gathers values the last one holds."""
    last = {flag.name: flag for flag in flags}
    return [
        f"{flag} is ignored: {last[flag.name]} comes after it"
        for flag in flags
        if flag.name not in _GATHER and flag.values != last[flag.name].values
    ]


def _one(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    if flag.name in _RENAMED:
        return _renamed(flag, _RENAMED[flag.name], given, result)
    if flag.name in _GONE:
        if flag.on:
            result.notes.append(f"{flag} is ignored: {_GONE[flag.name]}")
        return []
    if flag.name in _SPECIAL:
        return _SPECIAL[flag.name](flag, given, result)
    return [flag]


def _renamed(flag: _Flag, name: str, given: set[str], result: Translated) -> list[_Flag]:
    if name in given:
        result.notes.append(f"{flag} is ignored: --{name} is given")
        return []
    new = _Flag(name, flag.values)
    result.notes.append(f"{flag} is {new} now")
    return [new]


def _warmup_ratio(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    try:
        ratio = float(flag.value or "")
    except ValueError:
        raise InputError(f"--warmup_ratio takes a number from 0 to 1, got {flag.value!r}") from None
    if not 0 <= ratio < 1:
        raise InputError(f"--warmup_ratio must be at least 0 and below 1, got {flag.value}")
    return _renamed(flag, "warmup_steps", given, result)


def _logging_dir(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    result.environment["TENSORBOARD_LOGGING_DIR"] = flag.value or ""
    result.notes.append(f"{flag} is the environment variable TENSORBOARD_LOGGING_DIR now")
    return []


def _switch(name: str, *values: str) -> Callable[[_Flag, set[str], Translated], list[_Flag]]:
    def become(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
        if not flag.on:
            return []
        new = _Flag(name, [*values])
        result.notes.append(f"{flag} is {new} now")
        return [new]

    return become


def _optim(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    new = _OPTIMIZERS.get(flag.value or "")
    if new is None:
        return [flag]
    result.notes.append(f"{flag} is --optim {new} now")
    return [_Flag("optim", [new])]


def _half(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    if not flag.on or (_has_gpu() and not given & {"use_cpu", "no_cuda"}):
        return [flag]
    result.notes.append(f"{flag} is ignored: there is no GPU in use, so everything runs in fp32")
    return []


def _bf16(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    if not flag.on or _has_gpu() or given & {"use_cpu", "no_cuda"}:
        return [flag]
    result.notes.append(f"{flag} runs on the CPU, in bf16: there is no GPU (transformers wants --use_cpu for that)")
    return [flag, _Flag("use_cpu", [])]


def _ipex(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    if flag.on and "bf16" in given:
        result.notes.append(
            f"{flag} with --bf16 is evaluation (and training) in bf16 by torch.autocast now, without IPEX"
        )
    elif flag.on:
        result.notes.append(f"{flag} is ignored: transformers 5 has no IPEX support; plain torch is used")
    return []


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_accelerator() -> bool:
    """Whether processes can train together on something other than the CPU (Apple's GPU is for one alone)."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return found is not None and found.type != "mps"


def _overwrite(flag: _Flag, given: set[str], result: Translated) -> list[_Flag]:
    if flag.on:
        result.notes.append(
            f"{flag} is ignored: an existing folder is written into, and training starts anew unless"
            " --resume_from_checkpoint is given"
        )
    return []


_RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "push_to_hub_token": "hub_token",
    "push_to_hub_model_id": "hub_model_id",
    "no_cuda": "use_cpu",
    # of scripts with a loop of their own (run_glue_no_trainer.py and the like)
    "num_train_epoch": "num_train_epochs",
    "num_warmup_steps": "warmup_steps",
    "max_train_steps": "max_steps",
}
_GATHER = {"set"}
_ORT_TRAINING = "training in ONNX Runtime is gone; --torch_compile and --optim adamw_torch_fused take its place"
_BACKEND = "transformers chooses the half precision backend itself (torch.autocast)"
_FAST = "tokenizers are always fast ones"
_GONE = {
    "save_safetensors": "weights are always saved as safetensors",
    "half_precision_backend": _BACKEND,
    "fp16_backend": _BACKEND,
    "fp16_opt_level": _BACKEND,
    "use_module_with_loss": _ORT_TRAINING,
    "save_onnx": _ORT_TRAINING,
    "onnx_prefix": _ORT_TRAINING,
    "onnx_log_level": _ORT_TRAINING,
    "use_mps_device": "an MPS device is used where there is one",
    "past_index": "transformers 5 dropped it",
    "jit_mode_eval": "transformers 5 dropped it",
    "tpu_num_cores": "transformers 5 dropped it",
    "tpu_metrics_debug": "transformers 5 dropped it",
    "mp_parameters": "transformers 5 dropped it",
    "sharded_ddp": "transformers 5 dropped it; see --fsdp",
    "ray_scope": "transformers 5 dropped it",
    "torchdynamo": "transformers 5 dropped it; see --torch_compile",
    "use_legacy_prediction_loop": "transformers 5 dropped it",
    "include_tokens_per_second": "transformers 5 dropped it; see --include_num_input_tokens_seen",
    "dispatch_batches": "transformers 5 dropped it; see --accelerator_config",
    "split_batches": "transformers 5 dropped it; see --accelerator_config",
    "use_fast_tokenizer": _FAST,
    "use_slow_tokenizer": _FAST,
    "use_teacher_tokenizer": "teacher and student read the same token ids",
    "ignore_mismatched_sizes": "a head of another size always starts anew",
    "with_tracking": "--report_to says where losses and metrics are logged",
}
_OPTIMIZERS = {
    "adamw_hf": "adamw_torch",
    "adamw_ort_fused": "adamw_torch_fused",
    "adamw_apex_fused": "adamw_torch_fused",
}
_SPECIAL: dict[str, Callable[[_Flag, set[str], Translated], list[_Flag]]] = {
    "warmup_ratio": _warmup_ratio,
    "logging_dir": _logging_dir,
    "overwrite_output_dir": _overwrite,
    "group_by_length": _switch("train_sampling_strategy", "group_by_length"),
    "adafactor": _switch("optim", "adafactor"),
    "include_inputs_for_metrics": _switch("include_for_metrics", "inputs"),
    "optim": _optim,
    "bf16": _bf16,
    "use_ipex": _ipex,
    "fp16": _half,
    "fp16_full_eval": _half,
}
