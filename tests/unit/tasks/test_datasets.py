from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks import hub
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.datasets import limited, load_splits
from sparsify.tasks.parsing import parse
from sparsify.tasks.token_classification.task import TASK
from tests.helpers import ner


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return ner.data_files(tmp_path / "data", train=5, other=3)


def arguments(tmp_path: Path, *flags: str) -> Arguments[Any]:
    return parse("token_classification", ["--output_dir", str(tmp_path), "--use_cpu", *flags], frozenset())


def test_splits_come_from_files_train_first(tmp_path: Path, files: dict[str, Path]) -> None:
    flags = [f for split, path in files.items() for f in (f"--{split}_file", str(path))]
    args = arguments(tmp_path, *flags, "--max_train_samples", "2", "--max_predict_samples", "1")
    found = load_splits(TASK, args)
    assert {name: len(split) for name, split in found.items()} == {"train": 5, "validation": 3, "test": 3}
    assert {name: len(s) for name, s in limited(args, found).items()} == {"train": 2, "validation": 3, "test": 1}


@pytest.mark.parametrize("flag", ["do_train", "do_eval", "do_predict"])
def test_a_split_that_is_needed_and_missing(tmp_path: Path, files: dict[str, Path], flag: str) -> None:
    split = {"do_train": "train", "do_eval": "validation", "do_predict": "test"}[flag]
    there = "validation" if split == "train" else "train"
    with pytest.raises(InputError, match=rf"--{flag} needs {split} data: give --{split}_file .*there are: {there}"):
        load_splits(TASK, arguments(tmp_path, f"--{flag}", f"--{there}_file", str(files[there])))


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("")
    with pytest.raises(InputError, match=r"empty\.json: the split is empty"):
        load_splits(TASK, arguments(tmp_path, "--train_file", str(tmp_path / "empty.json")))


def test_test_data_may_lack_labels(tmp_path: Path) -> None:
    path = ner.write_jsonl(tmp_path / "a.jsonl", [{"tokens": ["ada"]}])
    assert load_splits(TASK, arguments(tmp_path, "--test_file", str(path)))["test"].tags is None
    with pytest.raises(InputError, match="no column ner_tags"):
        load_splits(TASK, arguments(tmp_path, "--validation_file", str(path)))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--text_column_name", "a", "--input_column_names", "b"), "name the same thing"),
        (("--input_column_names", "a,b"), "reads one column"),
        (("--dataset_name", "x", "--train_file", "y"), "--dataset_name and --train_file both name data"),
        (("--max_eval_samples", "0"), "at least 1, got 0"),
    ],
)
def test_flags_that_contradict_each_other(tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_splits(TASK, arguments(tmp_path, *flags))


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A Hub that has one data set; what is asked of it."""
    import datasets

    asked: list[tuple[Any, ...]] = []
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-z", "B-a"])),
        }
    )
    rows = datasets.Dataset.from_list([{"tokens": ["ada", "met"], "ner_tags": [2, 0]}], features=features)

    def load(name: str, config: str | None = None, revision: str | None = None, **_: Any) -> Any:
        asked.append((name, config, revision))
        return datasets.DatasetDict({"train": rows, "dev": rows})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    return asked


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("conll2003", ("lhoestq/conll2003", None, None)),
        ("wnut_17", ("wnut_17", None, "refs/convert/parquet")),
        ("someone/data", ("someone/data", None, None)),
    ],
)
def test_names_lead_to_where_the_hub_keeps_data(
    tmp_path: Path, stored: list[tuple[Any, ...]], name: str, place: tuple[Any, ...]
) -> None:
    found = load_splits(TASK, arguments(tmp_path, "--dataset_name", name, "--do_train", "--do_eval"))
    assert stored == [place]
    assert list(found) == ["train", "validation"]
    assert found["train"].names == ["O", "B-z", "B-a"]
    assert found["train"].words == [["ada", "met"]]


def test_what_the_hub_says_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(*_: Any, **__: Any) -> Any:
        raise ValueError("Config name is missing.\nPlease pick one")

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    with pytest.raises(InputError, match=r"cannot load x/y: Config name is missing\.$"):
        load_splits(TASK, arguments(tmp_path, "--dataset_name", "x/y"))


def test_offline_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.reachable.cache_clear()
    assert hub.reachable() is False
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.reachable.cache_clear()
    assert hub.reachable() is False
    hub.reachable.cache_clear()
