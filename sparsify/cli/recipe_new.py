"""``sparsify-recipe new``: a commented recipe from flags or answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sparsify.cli import common
from sparsify.cli.recipe_flags import Commands, command, write
from sparsify.errors import InputError
from sparsify.recipe.template import TASKS, Wishes, new_recipe

_FLAGS = ("task", "sparsity", "pattern", "int8", "distill", "epochs", "learning_rate")


def add(commands: Commands) -> None:
    """Add the sub-command."""
    example = "new --task token_classification --sparsity 0.8 --int8 --distill --output my.yaml"
    p = command(commands, "new", "write a new, commented recipe", f"{example}\n  sparsify-recipe new        # asks")
    p.add_argument("--task", choices=list(TASKS), help="what the model is for (default: token_classification)")
    p.add_argument(
        "--sparsity", type=float, metavar="X", help="zeros in the encoder's weights, 0.8 for 80%% (default: no pruning)"
    )
    p.add_argument("--pattern", metavar="P", help="unstructured (default), block4, 2:4, 4x1, ...")
    p.add_argument("--int8", action="store_true", default=None, help="quantization aware training")
    p.add_argument("--distill", action="store_true", default=None, help="listen to a teacher")
    p.add_argument("--epochs", type=int, metavar="N", help="length (default: 8 from 70%% zeros on, else 3)")
    p.add_argument(
        "--learning-rate", "--learning_rate", type=float, metavar="X", help="(default: 4e-4 or 1e-4, likewise)"
    )
    p.add_argument("--output", "-o", metavar="FILE", help="where to write it (default: print it)")
    p.add_argument("--force", action="store_true", help="write over an existing file")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    given = {name: value for name in _FLAGS if (value := getattr(args, name)) is not None}
    if args.output and Path(args.output).exists() and not args.force:
        raise InputError(f"{args.output} exists already: choose another name, or give --force")
    if not given and not sys.stdin.isatty():
        raise InputError(
            "say what the recipe is to do (--sparsity 0.8, --int8, --distill), or run it in a terminal to be asked"
        )
    wishes = Wishes(**given) if given else ask()
    text = checked(new_recipe(wishes))
    if args.output:
        write(args.output, text)
    else:
        print(text, end="")
    return 0


def ask() -> Wishes:
    """The wishes of whoever sits at the terminal."""
    from rich.prompt import Confirm, Prompt

    console = common.error_console()
    task = Prompt.ask("What is the model for", choices=list(TASKS), default="token_classification", console=console)
    share = Prompt.ask(
        "How much of the weights is to be zero (0.8 for 80%, nothing for none)", default="", console=console
    )
    pattern = "unstructured"
    if share:
        pattern = Prompt.ask("In which pattern (unstructured, block4, 2:4, 4x1)", default=pattern, console=console)
    int8 = Confirm.ask("Quantize to int8 (about twice as fast on a CPU)", default=True, console=console)
    distill = Confirm.ask("Is there a dense, fine-tuned model to learn from", default=True, console=console)
    return Wishes(task, _number(share), pattern, int8, distill)


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / (100 if text.endswith("%") else 1) if text else None
    except ValueError:
        raise InputError(f"a sparsity is a number such as 0.8, got {text!r}") from None


def checked(text: str) -> str:
    """The recipe, if it is one.

    Raises:
        InputError: What was wished for does not fit together (a pattern that allows no such sparsity).
    """
    from sparsify.errors import RecipeError
    from sparsify.manager import load_recipe

    try:
        load_recipe(text)
    except RecipeError as error:
        raise InputError("; ".join(problem.message for problem in error.problems)) from error
    return text
