"""What the README and the docs show is valid: recipes load, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparsify.manager import load_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def recipes() -> list[pytest.ParameterSet]:
    found = []
    for page in PAGES:
        for number, text in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            if re.search(r"^\w*modifiers:", text, re.MULTILINE):
                found.append(pytest.param(text, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("text", recipes())
def test_recipes_shown_are_valid(text: str) -> None:
    assert load_recipe(text).modifiers


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_readme_never_says_to_install_the_other_package() -> None:
    assert not re.search(r"pip install sparsify(?!-)", (ROOT / "README.md").read_text(encoding="utf-8"))
