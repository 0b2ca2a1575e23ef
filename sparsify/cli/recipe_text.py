"""A plan as text: a bar for each modifier over the run, sparklines, contradictions, matched parameters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from sparsify.analysis.findings import Finding
from sparsify.analysis.plan import Plan
from sparsify.analysis.tracks import Bar, Curve, bars, rate_curves, sparsity_curves
from sparsify.cli.common import counted
from sparsify.cli.recipe_problems import rendered

_NARROWEST, _WIDEST = 20, 72
_NAMES_SHOWN = 3


_BAR, _UPDATE, _FROZEN, _RULER, _LEVELS = "─", "┼", "═", "·", "▁▂▃▄▅▆▇█"
# For terminals that have none of these.
_PLAIN = str.maketrans(f"{_BAR}{_UPDATE}{_FROZEN}{_RULER}{_LEVELS}→×", "-+=._.-=+*%#>x")


def show_plan(plan: Plan, console: Console) -> None:
    """Print a plan."""
    tracks = bars(plan)
    moments = plan.moments(range(plan.steps)) if plan.steps <= 5000 else plan.sampled(5000)
    curves = [*rate_curves(plan, moments), *sparsity_curves(plan, moments)]
    margin = max([len(bar.label) for bar in tracks] + [len(curve.label) for curve in curves], default=0)
    margin = min(margin, 34)
    width = max(_NARROWEST, min(_WIDEST, console.width - margin - 26))
    _line(console, f"{plan.recipe.origin}  sha256 {plan.recipe.sha256[:12]}")
    _line(
        console,
        f"{counted(plan.epochs, 'epoch')} × {counted(plan.steps_per_epoch, 'step')} = {counted(plan.steps, 'step')}",
        "dim",
    )
    if plan.steps:
        _line(console, f"{'epoch':>{margin}}  {_ruler(plan, width)}", "dim")
    for bar in tracks:
        text = _bar(bar, plan, width) if plan.steps else "at once: the recipe names no time"
        _line(console, f"{_cut(bar.label, margin):>{margin}}  {text}", "" if bar.available else "dim")
    for curve in curves if plan.steps else []:
        _line(console, f"{_cut(curve.label, margin):>{margin}}  {_spark(curve, plan, width)}  {_range(curve)}")
    _show_matched(plan, console)
    for finding in plan.findings:
        _show_finding(finding, console)


def _line(console: Console, text: str, style: str = "") -> None:
    shown = text.translate(_PLAIN) if console.options.ascii_only else text
    console.print(Text(shown.rstrip(), style=style), soft_wrap=True)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 2]}.."


def _column(step: int, plan: Plan, width: int) -> int:
    return min(width, step * width // max(plan.steps, 1))


def _ruler(plan: Plan, width: int) -> str:
    """Epoch numbers above the columns where they begin, as many as fit."""
    line = [_RULER] * (width + 1)
    every = max(1, -(-plan.epochs * (len(str(plan.epochs)) + 1) // width))
    for epoch in range(0, plan.epochs + 1, every):
        label, at = str(epoch), epoch * width // plan.epochs
        line[at : at + len(label)] = label
    return "".join(line)


def _bar(bar: Bar, plan: Plan, width: int) -> str:
    first, last = (
        _column(bar.start, plan, width),
        max(_column(bar.end, plan, width), _column(bar.start, plan, width) + 1),
    )
    cells = [" "] * max(width, last)
    cells[first:last] = _BAR * (last - first)
    if bar.frozen is not None:
        frozen = _column(bar.frozen, plan, width)
        cells[frozen:last] = _FROZEN * (last - frozen)
    else:
        for step in bar.updates:
            cells[min(_column(step, plan, width), last - 1)] = _UPDATE
    note = f"steps {bar.start}-{bar.end}" + (f", frozen from {bar.frozen}" if bar.frozen is not None else "")
    return f"{''.join(cells)}  {note}" + ("" if bar.available else ", NOT AVAILABLE YET")


def _spark(curve: Curve, plan: Plan, width: int) -> str:
    top = max((v for v in curve.values if v is not None), default=0.0)
    cells = []
    for column in range(width):
        value = _value_at(curve, column * plan.steps // width)
        level = 0 if not value or top <= 0 else round(value / top * (len(_LEVELS) - 1))
        cells.append(" " if value is None else _LEVELS[max(level, 0)])
    return "".join(cells)


def _value_at(curve: Curve, step: int) -> float | None:
    index = bisect_right(curve.steps, step) - 1
    return curve.values[index] if index >= 0 else None


def _range(curve: Curve) -> str:
    known = [v for v in curve.values if v is not None]
    turns = [known[0], max(known), known[-1]] if max(known) > max(known[0], known[-1]) else [known[0], known[-1]]
    return " → ".join(f"{value:.3g}" for value in turns) if len(set(known)) > 1 else f"{known[0]:.3g}"


def _show_matched(plan: Plan, console: Console) -> None:
    for modifier in plan.modifiers:
        names: Sequence[str] = (plan.matched or {}).get(modifier.key, ())
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
            _line(console, f"{modifier.path} matches {len(names)}: {shown}")


def _show_finding(finding: Finding, console: Console) -> None:
    word, style = ("refused", "bold red") if finding.refused else ("warning", "bold yellow")
    console.print(Text(f"{word}: ", style=style), end="")
    console.print(rendered(finding.problem), markup=False, soft_wrap=True)
