from __future__ import annotations

import numpy as np
import pytest

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
