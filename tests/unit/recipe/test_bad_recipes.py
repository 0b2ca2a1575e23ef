"""One bad recipe for each kind of mistake: the error is one, at the very token, word for word (bad_recipes.txt)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe

GOLDEN = Path(__file__).with_name("bad_recipes.txt").read_text()
CASES = re.findall(r"^=== (.*?)\n(.*?)^--> (.*?)\n(.*?)(?=\n=== |\Z)", GOLDEN, re.S | re.M)


def test_there_are_enough_and_none_twice() -> None:
    assert len(CASES) == len({name for name, *_ in CASES}) == GOLDEN.count("\n=== ") >= 40
    assert len({re.sub(r"'[^']*'|\d+", "", said.splitlines()[0]) for *_, said in CASES}) > 40


@pytest.mark.parametrize(("text", "token", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad(text: str, token: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("bad.yaml")
    (problem,) = caught.value.problems
    assert str(caught.value).replace(f"{tmp_path}/", "") == said.rstrip("\n")
    assert problem.line is not None
    assert problem.column is not None
    assert text.split("\n")[problem.line - 1][problem.column - 1 :].startswith(token)


def test_all_mistakes_of_a_file_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of several cases in one file: each says in it what it says alone."""
    monkeypatch.chdir(tmp_path)
    names = "field misspelt", "text for a number", "number out of range", "end before start", "field missing"
    bodies = [text.split("\n", 1)[1] for name, text, *_ in CASES if name in names]
    Path("bad.yaml").write_text("modifiers:\n" + "".join(bodies))
    with pytest.raises(RecipeError) as caught:
        load_recipe("bad.yaml")
    said = [said.split(": ", 1)[1].split(" (modifiers")[0] for name, _, _, said in CASES if name in names]
    assert sorted(p.message for p in caught.value.problems) == sorted(said)
