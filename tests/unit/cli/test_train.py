from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sparsify.cli.summary import show
from sparsify.cli.train import main, split_task
from sparsify.cli.train_help import help_text
from sparsify.errors import InputError
from sparsify.tasks.arguments import ModelArguments, RecipeArguments
from sparsify.tasks.catalog import SPELLINGS, data_arguments
from tests.helpers import ner


@pytest.mark.parametrize("name", ["token_classification", "token-classification", "Token-Classification", "ner"])
def test_the_task_comes_first(name: str) -> None:
    assert split_task([name, "--do_train"]) == ("token_classification", ["--do_train"])


@pytest.mark.parametrize("name", ["text_classification", "text-classification", "glue", "mrpc", "sst2"])
def test_text_classification_and_the_tasks_of_glue(name: str) -> None:
    assert split_task([name, "--do_train"]) == ("text_classification", ["--do_train"])
    assert split_task(["--task", name]) == ("text_classification", ["--task", name])


@pytest.mark.parametrize("argv", [["--task", "ner", "--do_train"], ["--do_train", "--task=token-classification"]])
def test_or_stands_in_task(argv: list[str]) -> None:
    assert split_task(argv) == ("token_classification", argv)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--do_train"], "the task comes first"),
        (["tokens"], "unknown task 'tokens'"),
        (["text_generation"], "planned"),
        (["--task"], "unknown task ''"),
    ],
)
def test_no_task_or_an_unknown_one(argv: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        split_task(argv)


@pytest.mark.parametrize("argv", [[], ["--help"], ["ner"], ["ner", "-h"], ["ner", "--do_train", "--help"]])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert "usage: sparsify-train token_classification" in capsys.readouterr().out


@pytest.mark.parametrize("task", SPELLINGS)
def test_help_tells_every_flag_of_ours(task: str) -> None:
    page = help_text(task)
    assert f"sparsify-train {task} --model_name_or_path" in page
    for group in (ModelArguments, data_arguments(task), RecipeArguments):
        for field in dataclasses.fields(group):
            assert f"--{field.name}" in page
            assert " ".join(field.metadata["help"].split()[:3]) in page
    assert "--set PATH.FIELD=VALUE\n" in page
    assert "MISSING" not in page
    for other in SPELLINGS:
        assert other in page.split("Example:")[0]


def test_help_all_tells_hugging_faces_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ner", "--help-all"]) == 0
    page = capsys.readouterr().out
    assert "--recipe_args" in page
    assert "--gradient_accumulation_steps" in page


def test_the_demo_gets_the_other_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        return 1

    monkeypatch.setattr("sparsify.cli.demo.run", run)
    assert main(["ner", "--demo", "--output_dir", "x"]) == 1
    assert seen == [["--output_dir", "x"]]


def test_the_summary_names_metrics_both_sparsities_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparsify.tasks.base import Result

    (tmp_path / "all_results.json").write_text("{}")
    model = ner.model(ner.LABELS)
    model.classifier.weight.data.zero_()
    show(Result({"eval_f1": 0.5, "predict_f1": 0.25, "train_loss": 1.0}, tmp_path, model))
    page = capsys.readouterr().out
    for text in (
        "validation f1",
        "0.5000",
        "test f1",
        "sparsity of the prunable layers",
        "sparsity of the whole model",
    ):
        assert text in page
    assert "all_results.json" in page.replace("\n", "")
    assert "recipe.yaml" not in page
