"""The pages in ``docs/modifiers``: one for each modifier, made from its class.

``python -m sparsify.cli.recipe_docs docs/modifiers`` (``make docs``) writes them; a test holds them up to date.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping

from sparsify.analysis.figure import rendered_figure
from sparsify.analysis.plan import Plan, make_plan
from sparsify.analysis.tracks import bars, rate_curves, sparsity_curves
from sparsify.errors import InputError
from sparsify.manager import ModifierManager
from sparsify.modifiers.base import Modifier
from sparsify.modifiers.reference import Reference, example_fields, reference
from sparsify.modifiers.registry import classes
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.resolved import entry_lines

_STEPS_PER_EPOCH = 100
_SHORTEST = 3  # epochs
_DRAWING = 1  # raise it when figures are drawn differently: then all of them are drawn anew
_NOTE = "<!-- Made from the class by `make docs`: change the class, not this page. -->"
_DIGEST = re.compile(rb"<!-- digest ([0-9a-f]{64}) -->")
_SHOWN = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_KINDS = {
    "training": "Training",
    "learning_rate": "Learning rate",
    "pruning": "Pruning",
    "quantization": "Quantization",
    "distillation": "Distillation",
}


def modifier_classes() -> list[type[Modifier]]:
    """The modifiers that sparsify itself brings, by name."""
    own = {cls for cls in classes().values() if cls.__module__.startswith("sparsify.")}
    return sorted(own, key=lambda cls: cls.__name__)


def pages() -> dict[str, str]:
    """Text of each page, by file name; ``README.md`` lists them."""
    about = [reference(cls) for cls in modifier_classes()]
    found = {f"{known.name}.md": _page(cls, known) for cls, known in zip(modifier_classes(), about, strict=True)}
    return {"README.md": _index(about), **found}


def example_recipe(cls: type[Modifier]) -> str:
    """A recipe with this modifier that loads, as short as can be."""
    fields = example_fields(cls)
    entry = entry_lines(cls.__name__, fields)
    if cls.__name__ == "EpochRangeModifier":
        return "\n".join(["modifiers:", *entry]) + "\n"
    last = max((float(v) for k in cls.epoch_fields if isinstance(v := fields.get(k), int | float)), default=0.0)
    length = float(max(_SHORTEST, math.ceil(last)))
    run = entry_lines("EpochRangeModifier", {"start_epoch": 0.0, "end_epoch": length})
    return "\n".join(["modifiers:", *run, *entry]) + "\n"


def example_plan(cls: type[Modifier]) -> Plan:
    """What the example does."""
    return make_plan(ModifierManager(Recipe.from_text(example_recipe(cls))), _STEPS_PER_EPOCH)


def plan_in(page: str) -> Plan:
    """What the first recipe that a Markdown page shows does.

    Raises:
        InputError: It shows none.
    """
    match = _SHOWN.search(page)
    if match is None:
        raise InputError("the page shows no recipe: a block that begins with ```yaml")
    return make_plan(ModifierManager(Recipe.from_text(match[1])), _STEPS_PER_EPOCH)


def digest(plan: Plan) -> str:
    """Hash of what a figure shows: equal for equal figures, whichever release of matplotlib draws them."""
    moments = plan.sampled(_STEPS_PER_EPOCH)
    curves = [*rate_curves(plan, moments), *sparsity_curves(plan, moments)]
    shown = [(c.label, c.steps, [None if v is None else f"{v:.6g}" for v in c.values]) for c in curves]
    return hashlib.sha256(repr((_DRAWING, bars(plan), shown)).encode()).hexdigest()


def figure_of(plan: Plan) -> bytes:
    """The figure as SVG, with its digest."""
    return rendered_figure(plan, "svg") + f"<!-- digest {digest(plan)} -->\n".encode()


def digest_in(svg: bytes) -> str | None:
    """Digest that ``figure_of`` wrote into a file."""
    match = _DIGEST.search(svg)
    return match[1].decode() if match else None


def _page(cls: type[Modifier], about: Reference) -> str:
    parts = [f"# {about.name}", _NOTE]
    if not about.available:
        instead = f" {about.instead[:1].upper()}{about.instead[1:]}." if about.instead else ""
        parts.append(f"**Not available yet**: recipes with it validate and can be planned, but not run.{instead}")
    parts.append(about.text)
    if about.aliases:
        parts.append(f"Also called {', '.join(f'`{alias}`' for alias in about.aliases)}.")
    parts.append(f"```yaml\n{example_recipe(cls)}```")
    parts.append(f"![What this recipe does]({about.name}.svg)\n\n*This recipe at {_STEPS_PER_EPOCH} steps per epoch.*")
    parts.append(_table(about))
    if about.paper:
        parts.append(f"Source: {_linked(about.paper)}")
    return "\n\n".join(parts) + "\n"


def _table(about: Reference) -> str:
    rows = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for field in about.fields:
        default = "needed" if field.default is None else f"`{_cell(field.default)}`"
        rows.append(f"| `{field.name}` | {_cell(field.type)} | {default} | {_cell(field.meaning)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _linked(paper: str) -> str:
    return re.sub(r"https://\S+", lambda match: f"<{match[0]}>", paper)


def _index(about: list[Reference]) -> str:
    by_kind: Mapping[str, list[Reference]] = {kind: [] for kind in _KINDS}
    for known in about:
        by_kind.setdefault(known.kind, []).append(known)  # type: ignore[attr-defined]
    parts = ["# Modifiers", _NOTE, "What may stand in a recipe. `sparsify-recipe show NAME` prints the same."]
    for kind, members in by_kind.items():
        if not members:
            continue
        lines = [f"## {_KINDS.get(kind, kind.replace('_', ' ').capitalize())}", ""]
        for known in members:
            missing = "" if known.available else "(not available yet) "
            lines.append(f"- [{known.name}]({known.name}.md): {missing}{known.summary}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
