"""Stubs that live on under another name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import ZooError
from sparsify.zoo import resolve
from sparsify.zoo.aliases import FILE, Alias, find_alias, read_aliases
from sparsify.zoo.registry import resolve_recipe
from sparsify.zoo.settings import current, packaged
from sparsify.zoo.stub import parse_stub
from tests.helpers.zoos import ENTRY, STUB

OLD = STUB.replace("pruned80", "pruned95")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration file, and a root with one entry."""
    entry = tmp_path / "zoo" / ENTRY
    entry.mkdir(parents=True)
    (entry / "recipe.yaml").write_text("modifiers: []\n")
    monkeypatch.setenv("SPARSIFY_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("SPARSIFY_CONFIG", str(tmp_path / "zoo.yaml"))
    return tmp_path / "zoo.yaml"


def test_the_packaged_list_is_sound() -> None:
    found = read_aliases(packaged() / FILE)
    assert found
    for stub, alias in found.items():
        assert parse_stub(stub).base == stub
        assert alias.to.startswith(("zoo:", "hf://"))
        assert alias.note or alias.checked, f"{stub} says nothing of where it comes from"


def test_the_users_own_goes_before_the_packaged_one(own: Path) -> None:
    stub = next(iter(read_aliases(packaged() / FILE)))
    own.write_text(f"aliases: {{'{stub.removeprefix('zoo:')}?recipe=x': /mine}}")
    assert find_alias(stub, current()) == Alias("/mine", checked=True, note="your configuration")
    assert find_alias(f"{STUB}x", current()) is None


@pytest.mark.parametrize(("name", "to"), [("nonsense", "hf://a/b"), (OLD, "zoo:nonsense"), ("zoo:a/b", STUB)])
def test_a_malformed_alias_names_its_file(own: Path, name: str, to: str) -> None:
    own.write_text(f"aliases: {{'{name}': '{to}'}}")
    with pytest.raises(ZooError, match=r"zoo\.yaml: aliases: not a zoo stub"):
        resolve(OLD)


def test_an_alias_that_leads_nowhere_is_among_what_was_searched(own: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    own.write_text(f"aliases: {{'{OLD}': '{gone}'}}")
    with pytest.raises(ZooError, match=f"searched: .*its alias {gone}"):
        resolve(OLD)
    own.write_text(f"aliases: {{'{OLD}': '{STUB}x'}}")
    with pytest.raises(ZooError, match=f"searched: .*its alias {STUB}x"):
        resolve(OLD)


def test_aliases_that_point_at_each_other_end(own: Path) -> None:
    own.write_text(f"aliases: {{'{OLD}': '{OLD}x', '{OLD}x': '{OLD}'}}")
    with pytest.raises(ZooError, match="no recipe found"):
        resolve_recipe(OLD)


def test_what_is_asked_for_goes_along(own: Path, tmp_path: Path) -> None:
    named = tmp_path / "zoo" / ENTRY / "recipe_other.yaml"
    named.write_text("modifiers: []\n")
    own.write_text(f"aliases: {{'{OLD}': '{STUB}'}}")
    assert resolve_recipe(f"{OLD}?recipe=other") == named
    assert resolve_recipe(OLD).name == "recipe.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "it has no aliases"),
        ("aliases: [a]", "it has no aliases"),
        (f"aliases: {{'{STUB}': hf://a/b}}", "an alias has to, checked and note"),
        (f"aliases: {{'{STUB}': {{to: 3}}}}", "an alias has to, checked and note"),
        (f"aliases: {{'{STUB}': {{to: x, url: y}}}}", "an alias has to, checked and note"),
        (f"aliases: {{'{STUB}': {{to: x, checked: 'no'}}}}", "checked is true or false"),
        (f"aliases: {{'{STUB}': {{to: 'zoo:x'}}}}", "not a zoo stub: 'zoo:x'"),
        ("aliases: {x: {to: y}}", "not a zoo stub: 'x'"),
    ],
)
def test_a_wrong_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / f"{abs(hash(text))}.yaml"
    file.write_text(text)
    with pytest.raises(ZooError, match=words) as caught:
        read_aliases(file)
    assert str(file) in str(caught.value)


def test_no_file_has_no_aliases(tmp_path: Path) -> None:
    assert read_aliases(tmp_path / "none.yaml") == {}
