"""Modifiers that are not built yet: they validate, are planned and marked, and no run starts with one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.modifiers import registry
from sparsify.modifiers.pending.base import PendingModifier
from sparsify.plan import not_available, timeline
from tests.unit.modifiers.pending.settings import ENTRIES, GRADUAL, REFUSED


def manager_of(name: str, **changes: object) -> ModifierManager:
    fields = ENTRIES[name] | changes
    lines = [f"    {key}: {_yaml(value)}" for key, value in fields.items()]
    text = "\n".join(
        ["modifiers:", "  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 4.0}", f"  - !{name}", *lines]
    )
    return load_recipe(text + "\n")


def _yaml(value: object) -> str:
    """JSON is YAML, but for keys that are numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def net() -> nn.Sequential:
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(8, 8))
    model.add_module("fc2", nn.Linear(8, 8))
    return model


def test_every_pending_modifier_has_an_entry_here() -> None:
    classes = {registry.get(name) for name in registry.names()}
    assert {c for c in classes if not c.available} == {registry.get(name) for name in ENTRIES}
    assert all(issubclass(c, PendingModifier) for c in classes if not c.available)


@pytest.mark.parametrize("name", ENTRIES)
class TestEach:
    def test_validates_and_is_marked_at_its_place(self, name: str) -> None:
        manager = manager_of(name)
        (problem,) = not_available(manager.modifiers)
        assert problem.message == f"not available yet: {name}"
        assert (problem.line, problem.path) == (3, "modifiers[1]")
        assert manager.max_epochs == 4

    def test_is_planned(self, name: str) -> None:
        manager = manager_of(name)
        moments = timeline(manager.modifiers, 5)
        assert len(moments) == 20
        if name in GRADUAL:
            found = [next(iter(m.values.values()))["sparsity"] for m in moments]
            assert found == sorted(found)
            assert (found[0], found[-1]) == (0.1, pytest.approx(0.8, abs=0.02))

    def test_attach_refuses_before_anything_is_touched(self, name: str) -> None:
        manager, model = manager_of(name), net()
        before = [(n, type(m)) for n, m in model.named_modules()]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with (
            pytest.raises(RecipeError, match=f"not available yet: {name}") as raised,
            manager.attach(model, optimizer, 5, teacher=net()),
        ):
            pytest.fail("attached")
        assert raised.value.line == 3
        assert before == [(n, type(m)) for n, m in model.named_modules()]
        assert not optimizer._optimizer_step_pre_hooks

    def test_one_shot_refuses(self, name: str) -> None:
        with pytest.raises(RecipeError, match=f"not available yet: {name}"):
            manager_of(name).apply(net(), [torch.zeros(1, 8)])  # type: ignore[list-item]

    def test_the_class_itself_refuses(self, name: str) -> None:
        modifier = manager_of(name).modifiers[1]
        with pytest.raises(RecipeError, match=f"not available yet: {name}"):
            modifier.on_attach(None)  # type: ignore[arg-type]
        if modifier.structural:
            with pytest.raises(RecipeError, match="not available yet"):
                modifier.on_structure(net())
        else:
            modifier.on_structure(net())

    def test_every_field_says_what_it_is(self, name: str) -> None:
        inherited = {"start_epoch", "end_epoch", "update_frequency"}
        fields = registry.get(name).model_fields
        assert [n for n, field in fields.items() if not field.description and n not in inherited] == []
        assert registry.get(name).__doc__

    def test_an_unknown_field_is_refused(self, name: str) -> None:
        with pytest.raises(RecipeError, match=f"{name} has no field 'nonsense'"):
            manager_of(name, nonsense=1)


@pytest.mark.parametrize(("name", "changes", "told"), REFUSED)
def test_wrong_values_are_refused_in_one_line_at_their_place(name: str, changes: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError) as raised:
        manager_of(name, **changes)
    (problem,) = raised.value.problems
    assert told in problem.message
    assert problem.line is not None
    assert problem.line >= 3


def test_options_of_old_m_fac_recipes_are_its_fields() -> None:
    options = {"num_grads": {0.0: 64, 0.5: 128}, "fisher_block_size": 10000, "available_gpus": ["cuda:0"]}
    fields = {k: v for k, v in ENTRIES["MFACPruningModifier"].items() if k not in options}
    made = registry.get("MFACPruningModifier")(**fields, mfac_options=options)
    assert made.num_grads == {0.0: 64, 0.5: 128}  # type: ignore[attr-defined]
    assert made.fisher_block_size == 10000  # type: ignore[attr-defined]


def test_what_could_be_used_instead_is_said() -> None:
    (problem,) = not_available(manager_of("OBSPruningModifier").modifiers)
    assert problem.hint == "GlobalMagnitudePruningModifier follows the same schedule by magnitude"
    for name in ENTRIES:
        for word in (registry.get(name).instead or "").replace(",", " ").replace(":", " ").split():
            assert not word.endswith("Modifier") or registry.get(word).available


def test_the_docs_list_them_all() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs/compression.md").read_text(encoding="utf-8")
    section = page.split("## Not available yet")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+Modifier)`", section)) == set(ENTRIES)


@pytest.mark.parametrize("name", ["OBSPruningModifier", "MFACPruningModifier", "RigLPruningModifier"])
@pytest.mark.parametrize("field", ["start_epoch", "end_epoch"])
def test_what_its_schedule_needs_is_needed_though_it_is_not_built(name: str, field: str) -> None:
    fields = {key: value for key, value in ENTRIES[name].items() if key != field}
    with pytest.raises(RecipeError, match=f"{name} needs the field '{field}'"):
        load_recipe(f"modifiers: [{{{name}: {_yaml(fields)}}}]\n")
