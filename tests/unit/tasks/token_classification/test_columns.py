from __future__ import annotations

from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks.readers import Table
from sparsify.tasks.token_classification.columns import sentences


def table(*rows: dict[str, Any], **class_names: list[str]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return Table("data.jsonl", columns, list(rows), list(range(1, len(rows) + 1)), class_names)


def test_a_list_that_pandas_cut_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.jsonl:1: column tokens: an abbreviated list"):
        sentences(table({"tokens": "['a' 'b' ... 'z']", "ner_tags": "O O O"}), text=None, label=None)


def test_default_columns_are_those_documented() -> None:
    assert sentences(table({"words": ["a"], "labels": ["O"]}), text=None, label=None).tags == [["O"]]
    row = {"id": "7", "pos_tags": ["NN"], "tokens": ["a"], "ner_tags": ["O"]}
    assert sentences(table(row), text=None, label=None, task="pos").tags == [["NN"]]
    assert sentences(table(row), text=None, label=None).words == [["a"]]


def test_a_missing_column_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no column 'ner_tag' .*there are: tokens, ner_tags; did you mean ner_tags\?"):
        sentences(table({"tokens": ["a"], "ner_tags": ["O"]}), text=None, label="ner_tag")
    with pytest.raises(InputError, match=r"no column 'text' \(--text_column_name\)"):
        sentences(table({"tokens": ["a"], "ner_tags": ["O"]}), text="text", label=None)
    with pytest.raises(InputError, match=r"no column ner_tags; .*there are: tokens, other"):
        sentences(table({"tokens": ["a", "b"], "other": 3}), text=None, label=None)


def test_unlabelled_data_is_fine_where_labels_are_not_needed() -> None:
    assert sentences(table({"tokens": ["a"]}), text=None, label="ner_tags", labelled=False).tags is None
    assert sentences(table({"tokens": ["a"]}), text=None, label=None, labelled=False).tags is None
    for blank in ([], "", "[]", None):
        kept_back = table({"tokens": ["a"], "ner_tags": blank}, {"tokens": ["b"], "ner_tags": blank})
        assert sentences(kept_back, text=None, label=None, labelled=False).tags is None
        with pytest.raises(InputError, match=r"data\.jsonl:1"):
            sentences(kept_back, text=None, label=None)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((), "the split is empty"),
        (({"tokens": ["a", "b"], "ner_tags": ["O"]},), r"data\.jsonl:1: 2 tokens but 1 ner_tags"),
        (({"tokens": ["a"], "ner_tags": ["O"]}, {"tokens": ["a"]}), r"data\.jsonl:2: column ner_tags: expected a list"),
        (({"tokens": ["a"], "ner_tags": [None]},), "None is neither a tag nor a class id"),
        (({"tokens": ["a"], "ner_tags": [0.5]},), "0.5 is neither a tag nor a class id"),
        (({"tokens": [None], "ner_tags": ["O"]},), "None is not a word"),
        (({"tokens": ["a"], "ner_tags": ["O"]}, {"tokens": ["a"], "ner_tags": [1]}), "mixes tag names and class ids"),
        (({"tokens": [], "ner_tags": []},), "holds no tag at all"),
    ],
)
def test_bad_rows_name_their_place(rows: tuple[dict[str, Any], ...], told: str) -> None:
    with pytest.raises(InputError, match=told):
        sentences(table(*rows), text=None, label=None)


def test_numbers_among_the_words_are_words() -> None:
    assert sentences(table({"tokens": [1984, "x"], "ner_tags": ["O", "O"]}), text=None, label=None).words == [
        ["1984", "x"]
    ]


def test_class_ids_keep_the_names_that_the_source_knows() -> None:
    found = sentences(table({"tokens": ["a"], "ner_tags": [1]}, ner_tags=["O", "B-x"]), text=None, label=None)
    assert (found.has_ids, found.names) == (True, ["O", "B-x"])
