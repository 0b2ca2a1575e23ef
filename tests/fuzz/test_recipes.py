"""Whatever stands in a recipe, the loader either loads it or raises RecipeError.

``SPARSIFY_FUZZ=20000 pytest tests/fuzz`` tries that many mutated recipes, numbered, so that any can be tried again;
without it only a few are.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsify.clock import Clock
from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers.validate import UNCHECKED
from sparsify.phases import settle
from sparsify.recipe.recipe import Recipe
from tests.fuzz.mutate import mutated, seeds

ROOT = Path(__file__).resolve().parents[2]
COUNT = int(os.environ.get("SPARSIFY_FUZZ", "300"))
FIRST = int(os.environ.get("SPARSIFY_FUZZ_FIRST", "0"))
PARTS = 10


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "base.yaml").write_text(
        "n: 3\nmodifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: eval(n)}\n"
    )
    monkeypatch.chdir(tmp_path)
    yield
    assert [path.name for path in tmp_path.iterdir()] == ["base.yaml"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return seeds(ROOT)


def attempt(text: str, args: str | None, fields: str | None) -> bool:
    """Whether it loads; what loads also loads again from its own text, and can be settled and hashed."""
    try:
        manager = load_recipe(text, args, set_fields=None if fields is None else [fields])
    except RecipeError as error:
        if not error.problems or not all(problem.message for problem in error.problems):
            raise ValueError("a RecipeError that says nothing") from error
        if any(UNCHECKED in problem.message for problem in error.problems):
            raise ValueError("a modifier whose checks fail") from error
        return False
    again = load_recipe(manager.recipe.text)
    assert shown(again.recipe) == shown(manager.recipe)
    assert manager.max_epochs >= 0
    assert len(manager.recipe.sha256) == 64
    with contextlib.suppress(RecipeError):
        settle(manager.modifiers, Clock(10, 10 * max(manager.max_epochs, 1)))
    return True


def shown(recipe: Recipe) -> str:
    """What modifiers hold, as text: NaN equals itself there."""
    return repr([(m.stage, m.type, m.path, m.fields) for m in recipe.modifiers])


@pytest.mark.parametrize("part", range(PARTS))
def test_only_recipe_errors_leave_the_loader(part: int, texts: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR")
    outcomes = []
    for seed in range(FIRST + part, FIRST + COUNT, PARTS):
        text, args, fields = mutated(seed, texts)
        try:
            outcomes.append(attempt(text, args, fields))
        except Exception:
            pytest.fail(f"seed {seed}, args {args!r}, set {fields!r}:\n{text!r}\n{traceback.format_exc()}")
    assert False in outcomes  # mutations that break a recipe are among them


def test_seeds_are_mostly_recipes_that_load_and_mutations_change_them(
    texts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    plain = [text for text in texts if attempt(f"{text}\n", None, None)]
    assert len(plain) > 20
    changed = [mutated(seed, plain) for seed in range(100)]
    assert all(text not in plain for text, _, _ in changed)
    assert any(attempt(*change) for change in changed)
