"""``sparsify-recipe show``: a recipe with everything resolved, or what a modifier's fields mean."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.cli import common
from sparsify.cli.recipe_flags import Commands, add_recipe_args, command, load, print_json
from sparsify.errors import InputError, RecipeError

if TYPE_CHECKING:
    from sparsify.modifiers.base import Modifier
    from sparsify.modifiers.reference import Reference


def add(commands: Commands) -> None:
    """Add the sub-command."""
    summary = "print a recipe with its variables resolved, or the fields of a modifier"
    p = command(commands, "show", summary, "show my.yaml --all\n  sparsify-recipe show GMPruningModifier")
    p.add_argument("what", metavar="RECIPE|MODIFIER", help="a recipe, or the name of a modifier")
    add_recipe_args(p)
    p.add_argument("--all", action="store_true", help="the defaults of a recipe's modifiers, too, as comments")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    import sparsify.modifiers  # noqa: F401  (registers them)

    cls = _modifier(args.what)
    if cls is None:
        _show_recipe(args)
        return 0
    from sparsify.modifiers.reference import reference

    about = reference(cls)
    if args.json:
        print_json(asdict(about))
    else:
        _show_modifier(about)
    return 0


def _modifier(what: str) -> type[Modifier] | None:
    """The class that ``what`` names; None where it rather names a recipe."""
    from sparsify.modifiers import registry

    name = what.removeprefix("!")
    known = registry.classes()
    folded = {spelling.lower(): spelling for full in known for spelling in (full, full.removesuffix("Modifier"))}
    if name.lower() in folded and not Path(what).exists():
        spelling = folded[name.lower()]
        return known.get(spelling) or known[f"{spelling}Modifier"]
    if what.startswith("zoo:") or Path(what).suffix or "/" in what or Path(what).exists():
        return None
    try:
        return registry.get(name)
    except RecipeError as error:
        raise InputError(f"{what}: no file and no modifier is called so\n    {error.hint}") from error


def _show_recipe(args: argparse.Namespace) -> None:
    from sparsify.recipe.resolved import resolved

    manager = load(args.what, args)
    fields = {m.path: m.model_dump(by_alias=True, warnings=False) for m in manager.modifiers}
    if args.json:
        print_json({"recipe": args.what, "sha256": manager.recipe.sha256, "stages": _stages(manager, fields, args.all)})
        return
    print(f"# {manager.recipe.origin}, resolved; sha256 of its text: {manager.recipe.sha256}")
    given = {spec.path: spec.fields for spec in manager.recipe.modifiers}
    left_out = {path: {k: v for k, v in all_.items() if k not in given[path]} for path, all_ in fields.items()}
    print(resolved(manager.recipe, left_out if args.all else None), end="")


def _stages(manager: Any, fields: dict[str, dict[str, Any]], whole: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": stage.name,
            "modifiers": [
                {"path": spec.path, "type": spec.type, "fields": fields[spec.path] if whole else spec.fields}
                for spec in stage.modifiers
            ],
        }
        for stage in manager.recipe.stages
    ]


def _show_modifier(about: Reference) -> None:
    from rich.table import Table
    from rich.text import Text

    console = common.console()
    console.print(Text(about.name, style="bold"), Text(f"({about.kind})"))
    for name, value in (("also called", ", ".join(about.aliases)), ("source", about.paper)):
        if value:
            console.print(Text(f"{name}: {value}"))
    if not about.available:
        console.print(Text(f"not available yet{f': {about.instead}' if about.instead else ''}", style="bold yellow"))
    console.print(Text(f"\n{about.text}\n"))
    table = Table(box=None, pad_edge=False)
    for column in ("field", "value", "default", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "field")
    for field in about.fields:
        table.add_row(*map(Text, (field.name, field.type, field.default or "needed", field.meaning)))
    console.print(table)
