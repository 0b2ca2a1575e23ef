from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.tasks.token_classification.metrics import decode, entity_metrics


def test_an_entity_counts_only_whole() -> None:
    true = [["B-per", "I-per", "O", "B-loc"]]
    found = entity_metrics([["B-per", "O", "O", "B-loc"]], true)
    assert found == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "accuracy": 0.75})


def test_each_type_on_its_own() -> None:
    true = [["B-per", "O", "B-loc"], ["B-loc"]]
    found = entity_metrics([["B-per", "O", "O"], ["B-loc"]], true, per_entity=True)
    assert found["per_f1"] == 1.0
    assert found["loc_recall"] == 0.5
    assert found["loc_number"] == 2


def test_no_entity_at_all_is_no_error() -> None:
    assert entity_metrics([["O", "O"]], [["O", "O"]])["f1"] == 0.0
    assert entity_metrics([["O", "O"]], [["O", "O"]])["accuracy"] == 1.0
    assert entity_metrics([[]], [[]])["accuracy"] == 0.0


def test_tags_outside_any_chunk_scheme_count_token_by_token() -> None:
    found = entity_metrics([["NN", "VB", "NN"]], [["NN", "NN", "NN"]])
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_only_counted_positions_are_decoded() -> None:
    labels = np.array([[-100, 0, 1, -100], [-100, 1, -100, -100]])
    logits = np.zeros((2, 4, 2))
    logits[0, 2, 1] = 1
    expected = ([["O", "B-x"], ["O"]], [["O", "B-x"], ["B-x"]])
    assert decode(logits, labels, ["O", "B-x"]) == expected
    assert decode(logits.argmax(-1), labels, ["O", "B-x"]) == expected


ENTITIES = st.lists(
    st.tuples(st.sampled_from(["per", "loc"]), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=5
)
Entities = list[tuple[str, int, int]]


def written(entities: Entities, first: str, inside: str, last: str, alone: str) -> list[str]:
    """Entities (type, words, words between it and the next one) in a chunk scheme."""
    tags: list[str] = []
    for kind, length, gap in entities:
        marks = [alone] if length == 1 else [first, *[inside] * (length - 2), last]
        tags += [f"{mark}-{kind}" for mark in marks] + ["O"] * gap
    return tags


@given(ENTITIES)
def test_every_chunk_scheme_counts_the_same_entities(entities: Entities) -> None:
    for scheme in ("BIIB", "BIES", "BILU"):
        tags = [written(entities, *scheme)]
        found = entity_metrics(tags, tags, per_entity=True)
        assert found["f1"] == 1.0
        kinds = {kind for kind, _, _ in entities}
        assert {kind: found[f"{kind}_number"] for kind in kinds} == {
            kind: sum(one == kind for one, _, _ in entities) for kind in kinds
        }


@given(ENTITIES, st.data())
def test_a_missed_entity_costs_the_same_in_every_scheme(entities: Entities, data: st.DataObject) -> None:
    missed = data.draw(st.integers(0, len(entities) - 1))
    start = sum(length + gap for _, length, gap in entities[:missed])
    found = []
    for scheme in ("BIIB", "BIES", "BILU"):
        true = written(entities, *scheme)
        said = [*true[:start], *["O"] * entities[missed][1], *true[start + entities[missed][1] :]]
        found.append(entity_metrics([said], [true]))
    assert found[0] == found[1] == found[2]
    assert found[0]["recall"] == pytest.approx(1 - 1 / len(entities))
