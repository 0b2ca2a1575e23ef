"""What two plans do differently."""

from __future__ import annotations

import json

from sparsify.analysis.difference import Difference, Span, difference
from sparsify.analysis.plan import make_plan
from sparsify.manager import load_recipe
from tests.unit.analysis.schedules import WHOLE


def between(first: str, second: str) -> Difference:
    return difference(*(make_plan(load_recipe(text), 10) for text in (first, second)))


def test_a_recipe_equals_itself_however_it_is_written() -> None:
    assert not between(WHOLE, WHOLE)
    assert not between(WHOLE, "# a comment\n" + WHOLE.replace("eval(num_epochs)", "6.0"))


def test_a_changed_field_shows_in_the_modifier_and_in_the_timeline() -> None:
    found = between(WHOLE, WHOLE.replace("final_sparsity: 0.8", "final_sparsity: 0.9"))
    (change,) = found.modifiers
    assert (change.key, change.what, change.steps) == ("default/GMPruningModifier/0", "changed", {})
    assert change.fields == {"final_sparsity": (0.8, 0.9)}
    (span,) = found.timeline
    assert span.name == "sparsity[default/GMPruningModifier/0]"
    assert (span.first, span.last) == (10, 59)
    assert (span.before, span.after) == (0.8, 0.9)


def test_another_length_is_told_once() -> None:
    found = between(WHOLE, WHOLE.replace("num_epochs: 6", "num_epochs: 7"))
    assert (found.epochs, found.steps) == ((6, 7), (60, 70))
    assert [span.name for span in found.timeline] == ["lr[0]"]
    assert found.timeline[0].last == 59


def test_modifiers_that_come_and_go() -> None:
    decay = "  - !SetWeightDecayModifier {start_epoch: 2.0, weight_decay: 0.01}\n"
    gone = between(WHOLE, WHOLE.replace(decay, ""))
    assert [(c.key, c.what) for c in gone.modifiers] == [("default/SetWeightDecayModifier/0", "removed")]
    assert gone.timeline == [Span("weight_decay[0]", 20, 59, 20, 0.01, None)]
    assert [c.what for c in between(WHOLE.replace(decay, ""), WHOLE).modifiers] == ["added"]


def test_as_json() -> None:
    document = json.loads(json.dumps(between(WHOLE, WHOLE.replace("hardness: 0.5", "hardness: 1.0")).to_dict()))
    assert document["modifiers"][0]["fields"] == {"hardness": [0.5, 1.0]}
    assert document["epochs"] == [6, 6]
