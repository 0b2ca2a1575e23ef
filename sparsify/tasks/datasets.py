"""Which splits a command needs, and their examples from files or the Hub."""

from __future__ import annotations

from typing import Any

from sparsify.errors import InputError
from sparsify.tasks import hub
from sparsify.tasks.arguments import Arguments, DataArguments, DataT
from sparsify.tasks.base import ExamplesT, Task
from sparsify.tasks.readers import Table

_FLAGS = {"train": "--train_file", "validation": "--validation_file", "test": "--test_file"}
_HUB_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "validation_matched"),
    "test": ("test", "test_matched"),
    "validation_mm": ("validation_mismatched",),
    "test_mm": ("test_mismatched",),
}


def load_splits(task: Task[DataT, ExamplesT, Any], args: Arguments[DataT]) -> dict[str, ExamplesT]:
    """Examples of each split, ``train`` first; labels are looked up over all of them.

    Raises:
        InputError: A needed split is missing, or its data cannot be used.
    """
    _consistent(args)
    task.check(args.data)
    tables = task.arrange(_from_hub(args) if args.data.dataset_name else _from_files(task, args.data), args.data)
    _require(args, tables)
    return {
        name: task.examples(table, args.data, labelled=not name.startswith("test")) for name, table in tables.items()
    }


def limited(args: Arguments[Any], splits: dict[str, ExamplesT]) -> dict[str, ExamplesT]:
    """The splits cut to ``--max_*_samples``."""
    counts = {
        "train": args.data.max_train_samples,
        "validation": args.data.max_eval_samples,
        "test": args.data.max_predict_samples,
    }
    return {name: split.first(counts[name.split("_")[0]]) for name, split in splits.items()}


def needed_splits(args: Arguments[Any]) -> dict[str, str]:
    """Splits that the flags ask for, with the flag that does."""
    training, needed = args.training, dict[str, str]()
    if training.do_train:
        needed["train"] = "--do_train"
    if training.do_eval:
        needed["validation"] = "--do_eval"
    if training.do_predict:
        needed["test"] = "--do_predict"
    return needed


def _consistent(args: Arguments[Any]) -> None:
    data = args.data
    files = [flag for flag, path in zip(_FLAGS.values(), _paths(data).values(), strict=True) if path]
    if data.dataset_name and files:
        raise InputError(f"--dataset_name and {files[0]} both name data: give one")
    for flag in ("max_train_samples", "max_eval_samples", "max_predict_samples"):
        count = getattr(data, flag)
        if count is not None and count < 1:
            raise InputError(f"--{flag} must be at least 1, got {count}")


def _paths(data: DataArguments) -> dict[str, str | None]:
    return {"train": data.train_file, "validation": data.validation_file, "test": data.test_file}


def _from_files(task: Task[DataT, Any, Any], data: DataT) -> dict[str, Table]:
    return {split: task.read_file(path, data) for split, path in _paths(data).items() if path}


def _from_hub(args: Arguments[Any]) -> dict[str, Table]:
    name = args.data.dataset_name or ""
    options = {"cache_dir": args.model.cache_dir, "token": args.model.token}
    found = hub.load_splits(name, args.data.dataset_config_name, **options)
    by_role = {role: next((found[n] for n in names if n in found), None) for role, names in _HUB_NAMES.items()}
    return {role: table for role, table in by_role.items() if table is not None}


def _require(args: Arguments[Any], tables: dict[str, Table]) -> None:
    for split, flag in needed_splits(args).items():
        if split not in tables:
            have = ", ".join(tables) or "none"
            raise InputError(f"{flag} needs {split} data: give {_FLAGS[split]} (splits there are: {have})")
