"""Which splits a command needs, and their sentences from files or the Hub."""

from __future__ import annotations

from sparsify.errors import InputError
from sparsify.tasks import hub
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.columns import Sentences, sentences
from sparsify.tasks.readers import Table, read_table

_FLAGS = {"train": "--train_file", "validation": "--validation_file", "test": "--test_file"}
_HUB_NAMES = {"train": ("train",), "validation": ("validation", "valid", "dev"), "test": ("test",)}


def load_sentences(args: Arguments) -> dict[str, Sentences]:
    """Sentences of each split, ``train`` first; labels are looked up over all of them.

    Raises:
        InputError: A needed split is missing, or its data cannot be used.
    """
    _consistent(args)
    tables = _from_hub(args) if args.data.dataset_name else _from_files(args)
    _require(args, tables)
    return {name: _sentences(args, table, labelled=name != "test") for name, table in tables.items()}


def limited(args: Arguments, splits: dict[str, Sentences]) -> dict[str, Sentences]:
    """The splits cut to ``--max_*_samples``."""
    counts = {
        "train": args.data.max_train_samples,
        "validation": args.data.max_eval_samples,
        "test": args.data.max_predict_samples,
    }
    return {name: split.first(counts[name]) for name, split in splits.items()}


def needed_splits(args: Arguments) -> dict[str, str]:
    """Splits that the flags ask for, with the flag that does."""
    training, needed = args.training, dict[str, str]()
    if training.do_train:
        needed["train"] = "--do_train"
    if training.do_eval:
        needed["validation"] = "--do_eval"
    if training.do_predict:
        needed["test"] = "--do_predict"
    return needed


def _consistent(args: Arguments) -> None:
    data = args.data
    both = data.text_column_name, data.input_column_names
    if None not in both and both[0] != both[1]:
        raise InputError(
            f"--text_column_name {both[0]} and --input_column_names {both[1]} name the same thing: give one"
        )
    if args.text_column and "," in args.text_column:
        raise InputError(f"--input_column_names {args.text_column}: token classification reads one column")
    files = [flag for flag, path in zip(_FLAGS.values(), _paths(args).values(), strict=True) if path]
    if data.dataset_name and files:
        raise InputError(f"--dataset_name and {files[0]} both name data: give one")
    for flag in ("max_train_samples", "max_eval_samples", "max_predict_samples"):
        count = getattr(data, flag)
        if count is not None and count < 1:
            raise InputError(f"--{flag} must be at least 1, got {count}")


def _paths(args: Arguments) -> dict[str, str | None]:
    data = args.data
    return {"train": data.train_file, "validation": data.validation_file, "test": data.test_file}


def _from_files(args: Arguments) -> dict[str, Table]:
    label = args.data.label_column_name or f"{args.data.task_name}_tags"
    return {
        split: read_table(path, text_column=args.text_column or "tokens", label_column=label)
        for split, path in _paths(args).items()
        if path
    }


def _from_hub(args: Arguments) -> dict[str, Table]:
    name = args.data.dataset_name or ""
    options = {"cache_dir": args.model.cache_dir, "token": args.model.token}
    found = hub.load_splits(name, args.data.dataset_config_name, **options)
    by_role = {role: next((found[n] for n in names if n in found), None) for role, names in _HUB_NAMES.items()}
    return {role: table for role, table in by_role.items() if table is not None}


def _require(args: Arguments, tables: dict[str, Table]) -> None:
    for split, flag in needed_splits(args).items():
        if split not in tables:
            have = ", ".join(tables) or "none"
            raise InputError(f"{flag} needs {split} data: give {_FLAGS[split]} (splits there are: {have})")


def _sentences(args: Arguments, table: Table, labelled: bool) -> Sentences:
    data = args.data
    return sentences(table, text=args.text_column, label=data.label_column_name, task=data.task_name, labelled=labelled)
