"""``sparsify-recipe``: check recipes, see what they do before they run, and write new ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sparsify.cli import (
    common,
    recipe_convert,
    recipe_diff,
    recipe_list,
    recipe_new,
    recipe_plan,
    recipe_schema,
    recipe_show,
    recipe_validate,
)
from sparsify.cli.recipe_problems import rendered
from sparsify.errors import RecipeError

COMMANDS = (
    recipe_validate,
    recipe_plan,
    recipe_show,
    recipe_list,
    recipe_diff,
    recipe_new,
    recipe_convert,
    recipe_schema,
)
"""Each module adds one sub-command with its ``add(commands)``."""

_EXAMPLE = """\
examples:
  sparsify-recipe validate *.yaml
  sparsify-recipe plan my.yaml --steps-per-epoch 128 --svg plan.svg
  sparsify-recipe show GMPruningModifier
  sparsify-recipe new --sparsity 0.8 --int8 --distill --output my.yaml
  sparsify-recipe convert prune.yaml -o my.yaml

A recipe is a path, a checkpoint folder or a zoo: stub.
Exit codes: 0 done, 1 a recipe contradicts itself (plan) or two differ (diff --exit-code), 2 bad input.
"""


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(
        "sparsify-recipe",
        description="Check recipes, see what they do before they run, and write new ones.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = p.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add(commands)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except RecipeError as error:
        for problem in error.problems:
            common.say(rendered(problem))
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
