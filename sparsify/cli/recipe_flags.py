"""Flags and answers that several sub-commands of ``sparsify-recipe`` share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.cli import common
from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.manager import ModifierManager

Commands = Any  # argparse's own type of sub-parsers is private
STEPS = 100


def command(
    commands: Commands, name: str, summary: str, example: str, program: str = "sparsify-recipe"
) -> argparse.ArgumentParser:
    """A sub-command's parser with an example."""
    p: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.",
        epilog=f"example:\n  {program} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return p


def add_recipe_args(p: argparse.ArgumentParser) -> None:
    """``--recipe_args`` and ``--set``."""
    p.add_argument(
        "--recipe_args", "--recipe-args", metavar="ARGS", help="variables' values: JSON, a file, or k=v,k2=v2"
    )
    field = "a modifier's field, as in GMPruningModifier.final_sparsity=0.8; may be given again"
    p.add_argument("--set", action="append", metavar="PATH=VALUE", help=field)


def add_length(p: argparse.ArgumentParser) -> None:
    """``--steps-per-epoch`` and ``--epochs``."""
    p.add_argument(
        "--steps-per-epoch",
        "--steps_per_epoch",
        type=int,
        default=STEPS,
        metavar="N",
        help=f"optimizer steps in one epoch, after gradient accumulation (default: {STEPS})",
    )
    p.add_argument(
        "--epochs",
        "--num_train_epochs",
        type=int,
        metavar="N",
        help="length of the run (default: what the recipe needs)",
    )


def load(source: str, args: argparse.Namespace) -> ModifierManager:
    """The validated recipe."""
    from sparsify.manager import load_recipe

    return load_recipe(source, args.recipe_args, set_fields=args.set)


def write(path: str, content: str | bytes) -> None:
    """Write a file, whole or not at all, and say so."""
    from sparsify.recipe.files import write_atomically

    write_atomically(path, content)
    common.say(f"wrote {path}")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def checked_suffix(path: str | None, suffix: str) -> None:
    """Refuse a file name that says it is something else.

    Raises:
        InputError: The name ends otherwise.
    """
    if path is not None and Path(path).suffix.lower() != suffix:
        raise InputError(f"--{suffix[1:]} {path}: the file's name must end in {suffix}")
