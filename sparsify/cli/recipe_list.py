"""``sparsify-recipe list``: the modifiers that recipes may use."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from sparsify.cli import common
from sparsify.cli.recipe_flags import Commands, command, print_json

if TYPE_CHECKING:
    from sparsify.modifiers.reference import Reference


def add(commands: Commands) -> None:
    """Add the sub-command."""
    p = command(commands, "list", "list the modifiers that recipes may use", "list --kind pruning")
    p.add_argument("--kind", metavar="KIND", help="only of this kind: training, pruning, quantization, ...")
    p.add_argument("--json", action="store_true", help="print them with all their fields as JSON")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    import sparsify.modifiers  # noqa: F401  (registers them)
    from sparsify.errors import InputError
    from sparsify.modifiers.reference import references

    found = references()
    kinds = sorted({about.kind for about in found})
    if args.kind is not None and args.kind not in kinds:
        raise InputError(f"--kind {args.kind}: no modifier is of that kind; kinds: {', '.join(kinds)}")
    chosen = [about for about in found if args.kind in (None, about.kind)]
    if args.json:
        print_json([asdict(about) for about in chosen])
    else:
        _show(chosen)
    return 0


def _show(found: list[Reference]) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [(a.name, a.kind, ("" if a.available else "[not available yet] ") + a.summary) for a in found]
    console = common.console()
    if not console.is_terminal:  # for grep and awk: a modifier a line, however long
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for name, kind, what in rows:
            print(f"{name:{widths[0]}}  {kind:{widths[1]}}  {what}")
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("name", "kind", "what"):
        table.add_column(column, no_wrap=column != "what")
    for name, kind, what in rows:
        table.add_row(name, kind, Text(what))
    console.print(table)
