from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.parsing import parse


def parsed(tmp_path: Path, *flags: str) -> Arguments[Any]:
    argv = ["--output_dir", str(tmp_path), "--use_cpu", *flags]
    return parse("text_classification", argv, frozenset(f[2:] for f in argv if f.startswith("--")))


@pytest.mark.parametrize("flag", ["--max_length", "--max_seq_length"])
def test_either_name_of_the_length(tmp_path: Path, flag: str) -> None:
    assert parsed(tmp_path, flag, "64").data.max_seq_length == 64
    assert parsed(tmp_path).data.max_seq_length == 128


def test_a_task_of_glue_without_files_comes_from_the_hub(tmp_path: Path) -> None:
    data = parsed(tmp_path, "--task_name", "SST-2").data
    assert (data.dataset_name, data.dataset_config_name, data.task_name) == ("glue", "sst2", "sst2")
    data = parsed(tmp_path, "--dataset_name", "glue", "--dataset_config_name", "mrpc").data
    assert data.task_name == "mrpc"


def test_a_task_of_glue_with_files_reads_the_files(tmp_path: Path) -> None:
    data = parsed(tmp_path, "--task", "qnli", "--train_file", "x.jsonl").data
    assert (data.dataset_name, data.task_name) == (None, "qnli")


def test_columns_may_be_two(tmp_path: Path) -> None:
    assert parsed(tmp_path, "--input_column_names", "question, sentence").data.text_columns == ["question", "sentence"]
    assert parsed(tmp_path, "--text_column_name", "review").data.text_columns == ["review"]
    assert parsed(tmp_path).data.text_columns is None


def test_another_task_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GLUE has cola, mnli"):
        parsed(tmp_path, "--task_name", "imdb")
