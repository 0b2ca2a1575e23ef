"""Figures of plans, as files."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import pytest

from sparsify.analysis.figure import rendered_figure
from sparsify.analysis.plan import Plan, make_plan
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from tests.unit.analysis.schedules import WHOLE, pruner, recipe


@pytest.fixture
def plan() -> Plan:
    pytest.importorskip("matplotlib", reason="a dependency of the package; figures cannot be drawn without it")
    return make_plan(load_recipe(WHOLE), 10)


def test_svg_keeps_its_text(plan: Plan) -> None:
    svg = rendered_figure(plan, "svg")
    words = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"epoch", "optimizer step", "learning rate", "sparsity target", "GMPruning", "frozen"} <= set(words)


def test_svg_has_no_colour(plan: Plan) -> None:
    colours = set(re.findall(r"#([0-9a-f]{6})", rendered_figure(plan, "svg").decode()))
    assert colours
    assert all(colour[:2] == colour[2:4] == colour[4:] for colour in colours)


def test_png_is_fine_enough_for_print(plan: Plan) -> None:
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(rendered_figure(plan, "png")))
    assert image.format == "PNG"
    assert image.width == 1890
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_two_hundred_pruners_stay_readable(plan: Plan) -> None:
    text = recipe(*(pruner(0.0, 2.0, f"p{i}") for i in range(200)))
    svg = rendered_figure(make_plan(load_recipe(text), 10), "svg").decode()
    assert "GMPruning ×200" in svg


def test_a_recipe_without_times_cannot_be_drawn() -> None:
    timeless = make_plan(load_recipe(recipe("ConstantPruningModifier {params: __ALL_PRUNABLE__}")), 10)
    with pytest.raises(InputError, match="names no epoch"):
        rendered_figure(timeless, "svg")


def test_without_matplotlib_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        rendered_figure(make_plan(load_recipe(WHOLE), 10), "svg")
