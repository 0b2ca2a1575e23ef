"""``sparsify-recipe schema``: a JSON Schema of recipe files, for completion and checks in an editor."""

from __future__ import annotations

import argparse
import json

from sparsify.cli.recipe_flags import Commands, command, write


def add(commands: Commands) -> None:
    """Add the sub-command."""
    p = command(commands, "schema", "print a JSON Schema of recipes for editors", "schema --output recipe.schema.json")
    p.add_argument("--output", "-o", metavar="FILE", help="write it to a file")
    p.add_argument(
        "--vscode",
        metavar="SCHEMA",
        help="print .vscode/settings.json instead: tags of all modifiers, and the schema saved at this path",
    )
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    import sparsify.modifiers  # noqa: F401  (registers them)
    from sparsify.modifiers.schema import editor_settings, recipe_schema

    document = recipe_schema() if args.vscode is None else editor_settings(args.vscode)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if args.output:
        write(args.output, text)
    else:
        print(text, end="")
    return 0
