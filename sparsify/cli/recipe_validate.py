"""``sparsify-recipe validate``: every mistake of every file, with its line and a caret."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any

from sparsify.cli import common
from sparsify.cli.recipe_flags import Commands, add_recipe_args, command, load, print_json
from sparsify.cli.recipe_problems import rendered
from sparsify.errors import Problem, RecipeError, SparsifyError


@dataclass(frozen=True)
class Verdict:
    """What came of one recipe: problems, or how much it holds."""

    recipe: str
    problems: tuple[Problem, ...] = ()
    modifiers: int = 0
    epochs: int = 0
    not_available: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"valid": not self.problems, **asdict(self)}


def add(commands: Commands) -> None:
    """Add the sub-command."""
    p = command(commands, "validate", "report every mistake of recipes", "validate my.yaml other.md --json")
    p.add_argument("recipes", nargs="+", metavar="RECIPE", help="paths, checkpoint folders or zoo: stubs")
    add_recipe_args(p)
    p.add_argument("--json", action="store_true", help="print one JSON list")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    verdicts = [verdict(source, args) for source in args.recipes]
    if args.json:
        print_json([v.to_dict() for v in verdicts])
    else:
        for v in verdicts:
            _show(v)
    return 2 if any(v.problems for v in verdicts) else 0


def verdict(source: str, args: argparse.Namespace) -> Verdict:
    """Read and validate one recipe."""
    try:
        manager = load(source, args)
    except RecipeError as error:
        return Verdict(source, error.problems)
    except SparsifyError as error:
        return Verdict(source, (Problem(str(error), source),))
    missing = [m.unavailable for m in manager.modifiers if m.unavailable]
    return Verdict(
        source, (), len(manager.modifiers), manager.max_epochs, tuple(dict.fromkeys(missing)), tuple(manager.warnings)
    )


def _show(found: Verdict) -> None:
    console = common.console()
    for problem in found.problems:
        console.print(rendered(problem), markup=False, soft_wrap=True)
    if not found.problems:
        length = f", {common.counted(found.epochs, 'epoch')}" if found.epochs else ""
        console.print(
            f"{found.recipe}: valid, {common.counted(found.modifiers, 'modifier')}{length}",
            markup=False,
            soft_wrap=True,
        )
    if found.not_available:
        console.print(f"    not available yet: {', '.join(found.not_available)}", markup=False, soft_wrap=True)
