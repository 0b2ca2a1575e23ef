"""``sparsify-recipe plan``: what a recipe does at which step, and what in it contradicts itself."""

from __future__ import annotations

import argparse

from sparsify.cli import common
from sparsify.cli.recipe_flags import (
    Commands,
    add_length,
    add_recipe_args,
    checked_suffix,
    command,
    load,
    print_json,
    write,
)


def add(commands: Commands) -> None:
    """Add the sub-command."""
    example = "plan my.yaml --steps-per-epoch 128 --model my-model --svg plan.svg"
    p = command(commands, "plan", "show what a recipe does at which step", example)
    p.add_argument("recipe", metavar="RECIPE", help="a path, checkpoint folder or zoo: stub")
    add_length(p)
    add_recipe_args(p)
    p.add_argument(
        "--model", metavar="DIR", help="a model folder (its config.json is enough): lists matched parameters"
    )
    p.add_argument("--json", action="store_true", help="print the whole plan, every step, as JSON")
    p.add_argument("--svg", metavar="OUT", help="write a figure as SVG")
    p.add_argument("--png", metavar="OUT", help="write a figure as PNG")
    p.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    checked_suffix(args.svg, ".svg")
    checked_suffix(args.png, ".png")
    manager = load(args.recipe, args)
    from sparsify.analysis.plan import make_plan

    model = None
    if args.model:
        from sparsify.export.structure import empty_model

        model = empty_model(args.model)
    plan = make_plan(manager, args.steps_per_epoch, epochs=args.epochs, model=model)
    for path in filter(None, (args.svg, args.png)):
        from sparsify.analysis.figure import rendered_figure

        write(path, rendered_figure(plan, path.lower()[-3:]))
    if args.json:
        print_json(plan.to_dict())
    else:
        from sparsify.cli.recipe_text import show_plan

        show_plan(plan, common.console())
    return 1 if any(finding.refused for finding in plan.findings) else 0
