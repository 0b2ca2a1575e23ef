"""``sparsify-recipe convert``: another tool's configuration as a commented recipe."""

from __future__ import annotations

import argparse

from sparsify.cli import common
from sparsify.cli.recipe_flags import Commands, command, print_json, write


def add(commands: Commands) -> None:
    """Add the sub-command."""
    p = command(commands, "convert", "turn another tool's configuration into a recipe", "convert prune.yaml -o my.yaml")
    p.add_argument(
        "config",
        metavar="FILE",
        help="YAML or JSON of Neural Compressor or optimum-intel, Python with a WeightPruningConfig, or a recipe",
    )
    p.add_argument("-o", "--output", metavar="OUT", help="file for the recipe (default: standard output)")
    p.add_argument("--json", action="store_true", help="print one JSON object: recipe, dialect, lost")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from sparsify.manager import ModifierManager
    from sparsify.recipe.convert import convert, file_source
    from sparsify.recipe.recipe import Recipe

    found = convert(file_source(args.config))
    if found.recipe is not None:
        ModifierManager(found.recipe)  # its own lines say more than those of what is made of it
    ModifierManager(Recipe.from_text(found.text, args.output or "<converted>"))
    if args.output:
        write(args.output, found.text)
    if args.json:
        print_json({"recipe": found.text, "dialect": found.dialect, "lost": list(found.lost)})
    elif not args.output:
        print(found.text, end="")
    for line in [] if args.json else found.lost:
        common.say(f"not in the recipe: {line}")
    return 0
