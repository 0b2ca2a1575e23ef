"""``sparsify-recipe diff``: what a second recipe does differently, in its modifiers and over the steps."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sparsify.cli.recipe_flags import Commands, add_length, add_recipe_args, command, load, print_json

if TYPE_CHECKING:
    from sparsify.analysis.difference import Difference, ModifierChange, Span


def add(commands: Commands) -> None:
    """Add the sub-command."""
    p = command(
        commands, "diff", "show what a second recipe does differently", "diff a.yaml b.yaml --steps-per-epoch 128"
    )
    p.add_argument("first", metavar="A", help="a recipe")
    p.add_argument("second", metavar="B", help="another recipe")
    add_length(p)
    add_recipe_args(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    p.add_argument("--exit-code", action="store_true", help="exit with 1 if they differ")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from sparsify.analysis.difference import difference
    from sparsify.analysis.plan import make_plan

    first, second = (
        make_plan(load(source, args), args.steps_per_epoch, epochs=args.epochs) for source in (args.first, args.second)
    )
    found = difference(first, second)
    if args.json:
        print_json(found.to_dict())
    else:
        print(f"--- {args.first}\n+++ {args.second}")
        for line in lines_of(found, args.steps_per_epoch):
            print(line)
    return 1 if found and args.exit_code else 0


def lines_of(found: Difference, steps_per_epoch: int) -> Iterator[str]:
    """A difference as lines of text."""
    if not found:
        yield "both do the same at every step"
        return
    if found.epochs[0] != found.epochs[1]:
        yield f"length: {_change(found.epochs)} epochs, {_change(found.steps)} steps"
    for change in found.modifiers:
        yield from _modifier(change)
    for span in found.timeline:
        yield _span(span, steps_per_epoch)


def _modifier(change: ModifierChange) -> Iterator[str]:
    yield f"{ {'added': '+', 'removed': '-', 'changed': '~'}[change.what] } {change.key}"
    for name, values in {**change.fields, **change.steps}.items():
        yield f"    {name}: {_change(values)}"


def _span(span: Span, steps_per_epoch: int) -> str:
    steps = f"step {span.first}" if span.first == span.last else f"steps {span.first}-{span.last}"
    epochs = f"epoch {span.first / steps_per_epoch:g}-{(span.last + 1) / steps_per_epoch:g}"
    return f"  {span.name} in {steps} ({epochs}), most at step {span.at}: {_change((span.before, span.after))}"


def _change(values: tuple[Any, Any]) -> str:
    return " -> ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values)
