"""A plan as a figure: bars of the modifiers, learning rate and sparsity over epochs; black and white is enough."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

from sparsify.analysis.plan import Plan
from sparsify.analysis.tracks import Bar, Curve, bars, rate_curves, sparsity_curves
from sparsify.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["svg", "png"]
_WIDTH = 6.3  # inches: the text width of a page
_MOST_MOMENTS = 600
_MOST_UPDATES = 60
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
_GREYS = ("0.0", "0.35", "0.0", "0.35", "0.55")
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched and takes the page's font size
    "svg.hashsalt": "sparsify",
}


def rendered_figure(plan: Plan, kind: Format) -> bytes:
    """The figure of a plan as a file's content.

    Args:
        plan: At least one epoch long.
        kind: ``svg`` (text kept as text) or ``png`` (300 dots per inch).

    Raises:
        InputError: The plan names no time, or matplotlib is not installed.
    """
    if plan.steps < 1:
        raise InputError("the recipe names no epoch, so there is nothing to draw: say how long the run is (--epochs)")
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("figures need matplotlib: pip install matplotlib") from error
    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, plan)
        stream = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=300, metadata=metadata)
    return stream.getvalue()


def _draw(figure: Figure, plan: Plan) -> None:
    tracks, moments = bars(plan), plan.sampled(_MOST_MOMENTS)
    curves = [("learning rate", rate_curves(plan, moments)), ("sparsity target", sparsity_curves(plan, moments))]
    curves = [(name, found) for name, found in curves if found]
    heights = [0.19 * len(tracks) + 0.1, *[1.15] * len(curves)]
    figure.set_size_inches(_WIDTH, sum(heights) + 0.75)
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _draw_bars(panels[0], tracks, plan)
    for panel, (name, found) in zip(panels[1:], curves, strict=True):
        _draw_curves(panel, name, found, plan)
    panels[-1].set_xlabel("epoch")
    panels[-1].set_xlim(0, plan.epochs)
    panels[-1].xaxis.get_major_locator().set_params(integer=plan.epochs > 2)
    per_epoch = plan.steps_per_epoch
    top = panels[0].secondary_xaxis("top", functions=(lambda e: e * per_epoch, lambda s: s / per_epoch))
    top.set_xlabel("optimizer step")
    figure.align_ylabels(list(panels[1:]))


def _draw_bars(panel: Axes, tracks: list[Bar], plan: Plan) -> None:
    scale = 1 / plan.steps_per_epoch
    for row, bar in enumerate(tracks):
        width = max(bar.end - bar.start, plan.steps / 200) * scale
        style: dict[str, Any] = {"height": 0.55, "edgecolor": "black", "linewidth": 0.6, "clip_on": False}
        built: dict[str, Any] = {"facecolor": "0.85"} if bar.available else {"facecolor": "white", "linestyle": "--"}
        panel.barh(row, width, left=bar.start * scale, **style, **built)
        if bar.frozen is not None and bar.frozen < bar.end:
            _draw_frozen(panel, row, bar.frozen * scale, bar.end * scale, style)
        elif len(bar.updates) <= _MOST_UPDATES:
            panel.vlines([s * scale for s in bar.updates], row - 0.27, row + 0.27, colors="black", linewidth=0.6)
    names = [bar.label if bar.available else f"{bar.label} (not available yet)" for bar in tracks]
    panel.set_yticks(range(len(tracks)), names)
    panel.set_ylim(len(tracks) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelbottom=False)


def _draw_frozen(panel: Axes, row: int, start: float, end: float, style: dict[str, Any]) -> None:
    panel.barh(row, end - start, left=start, **style, facecolor="0.65")
    if end - start > 0.08 * panel.dataLim.width:
        panel.text((start + end) / 2, row + 0.03, "frozen", ha="center", va="center", fontsize=6.5)


def _draw_curves(panel: Axes, name: str, curves: list[Curve], plan: Plan) -> None:
    for index, curve in enumerate(curves):
        known = [(s / plan.steps_per_epoch, v) for s, v in zip(curve.steps, curve.values, strict=True) if v is not None]
        panel.plot(
            [epoch for epoch, _ in known],
            [value for _, value in known],
            label=curve.label,
            color=_GREYS[index % len(_GREYS)],
            linestyle=_LINES[index % len(_LINES)],
            linewidth=1.0,
            drawstyle="steps-post",
        )
    panel.set_ylabel(name)
    panel.set_ylim(bottom=0)
    panel.spines["top"].set_visible(False)
    panel.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if name.startswith("sparsity"):
        panel.set_ylim(0, 1)
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if len(curves) > 1:
        panel.legend(fontsize=7, loc="best", handlelength=3)
