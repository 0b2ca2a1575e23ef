from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from sparsify.errors import InputError
from sparsify.tasks.labels import label_list
from sparsify.tasks.token_classification.columns import Sentences
from sparsify.tasks.token_classification.tags import TAGS, inside_label


def split(*tags: list[str] | list[int], names: list[str] | None = None) -> Sentences:
    return Sentences("data", [["w"] * len(row) for row in tags], list(tags), names)  # type: ignore[arg-type]


def test_labels_come_from_all_splits_with_o_first() -> None:
    found = label_list({"train": split(["I-b", "B-b", "O"]), "validation": split(["B-a", "O"])}, TAGS)
    assert found == ["O", "B-a", "B-b", "I-b"]


def test_a_tag_that_training_lacks_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        label_list({"train": split(["O", "B-a"]), "test": split(["B-z", "O"])}, TAGS)
    assert "test has tags that no training example has: B-z" in caplog.text


def test_the_order_of_class_labels_holds() -> None:
    data = split([2, 0], names=["O", "B-z", "B-a"])
    assert label_list({"train": data}, TAGS) == ["O", "B-z", "B-a"]
    assert data.tags == [["B-a", "O"]]


def test_a_trained_model_keeps_its_own_order() -> None:
    own = ["B-a", "O", "I-a"]
    assert label_list({"train": split(["O", "B-a"])}, TAGS, model_labels=own) == own
    assert label_list({"train": split(["O", "B-c"])}, TAGS, model_labels=own) == ["O", "B-c"]
    assert label_list({"train": split(["O", "B-a"])}, TAGS, model_labels=["LABEL_0", "LABEL_1"]) == ["O", "B-a"]


def test_class_ids_without_names_take_the_models() -> None:
    data = split([1, 0])
    assert label_list({"train": data}, TAGS, model_labels=["O", "B-x"]) == ["O", "B-x"]
    assert data.tags == [["B-x", "O"]]


def test_class_ids_without_any_names_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert label_list({"train": split([1, 0])}, TAGS) == ["0", "1"]
    assert "--class_names" in caplog.text


def test_class_names_can_be_given_as_text_or_file(tmp_path: Path) -> None:
    assert label_list({"train": split([1, 0])}, TAGS, given="O, B-x") == ["O", "B-x"]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(["O", "B-y"]))
    assert label_list({"train": split([1, 0])}, TAGS, given=str(path)) == ["O", "B-y"]
    path.write_text('{"O": 0}')
    with pytest.raises(InputError, match="expected a JSON list"):
        label_list({"train": split([1, 0])}, TAGS, given=str(path))
    with pytest.raises(InputError, match="no file"):
        label_list({"train": split([1, 0])}, TAGS, given="nowhere.json")


@pytest.mark.parametrize("bad", [2, -1])
def test_a_class_id_without_a_name_is_refused(bad: int) -> None:
    with pytest.raises(InputError, match=f"class id {bad}, but there are names for 0 to 1 only"):
        label_list({"train": split([bad, 0], names=["O", "B-x"])}, TAGS)


def test_nothing_that_names_labels_is_refused() -> None:
    with pytest.raises(InputError, match="which labels there are"):
        label_list({"test": Sentences("data", [["w"]], None)}, TAGS, model_labels=["LABEL_0"])


def test_further_sub_tokens_are_inside() -> None:
    labels = ["O", "B-x", "I-x", "B-y"]
    assert [inside_label(name, labels) for name in labels] == ["O", "I-x", "I-x", "B-y"]


@pytest.mark.parametrize("as_file", [False, True])
def test_a_class_name_given_twice_is_refused(tmp_path: Path, as_file: bool) -> None:
    names = ["no", "yes", "no"]
    (tmp_path / "names.json").write_text(json.dumps(names))
    given = str(tmp_path / "names.json") if as_file else ",".join(names)
    with pytest.raises(InputError, match="'no' stands there twice"):
        label_list({"train": split([0, 2])}, TAGS, given=given)


def test_numbers_that_are_no_class_ids_make_no_giant_head() -> None:
    with pytest.raises(InputError, match=r"class ids up to 20260101, of which 2 occur"):
        label_list({"train": split([3], [20260101])}, TAGS)
    assert len(label_list({"train": split([3], [999])}, TAGS)) == 1000
