"""The tutorial that the user gave: its commands, as they stand in the document, with only the program's name changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sparsify.cli import export, train, zoo
from tests.helpers import ner
from tests.helpers.seed import changed, commands, document, training

STUB = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"


def write_wnut(folder: Path) -> None:
    """The files that the seed's commands name, small."""
    for split in ("train", "validation"):
        rows = [{"tokens": row["tokens"], "named_ner_tags": row["ner_tags"]} for row in ner.rows(8)]
        ner.write_jsonl(folder / f"wnut_17-{split}.json", rows)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_as_written_each_command_stops_at_what_it_cannot_reach(
    shared: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wnut(tmp_path)
    assert train.main(["token_classification", *training(shared)[number]]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    named = ("zoo:nlp/masked_language_modeling/obert-base", "lhoestq/conll2003", "wnut_17", "conll2003/base-none")
    assert any(name in " ".join(said.split()) for name in named), said


@pytest.mark.parametrize("number", [0, 1, 2])
def test_with_local_data_and_model_each_runs_to_the_end_export_included(
    shared: Path, number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recipe,) = [b for b in re.findall(r"```yaml\n(.*?)```", document(shared), re.DOTALL) if "modifiers:" in b]
    (tmp_path / "recipe.yaml").write_text(recipe)  # unchanged
    files = {}
    for split in ("train", "validation"):
        rows = [{"tokens": r["tokens"], "named_ner_tags": r["ner_tags"]} for r in ner.rows(40, len(files))]
        files[f"{split}_file"] = str(ner.write_jsonl(tmp_path / f"{split}.json", rows))
    labels = ner.LABELS
    base = ner.model_folder(tmp_path / "base")
    teacher = ner.model_folder(tmp_path / "teacher", labels)
    argv = changed(
        training(shared)[number],
        model_name_or_path=str(base),
        recipe=str(tmp_path / "recipe.yaml"),
        dataset_name=None,
        output_dir=str(tmp_path / "out"),
        train_file=None,
        validation_file=None,
        text_column_name=None,
        label_column_name=None,
        **({"distill_teacher": str(teacher)} if number == 0 else {}),
    )
    for name, path in files.items():
        argv += [f"--{name}", path]
    argv += ["--text_column_name", "tokens", "--label_column_name", "named_ner_tags", "--report_to", "none"]
    assert train.main(["token_classification", *argv]) == 0, capsys.readouterr().err
    epochs = 13 if number != 1 else 12  # the second command's recipe_args say so
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["epoch"] == epochs
    ((export_argv),) = commands(shared, r"sparseml\.transformers\.export_onnx")
    export_argv = changed(export_argv, model_path=str(tmp_path / "out"))
    assert export_argv[-2:] == ["--task", "text_classification"]
    capsys.readouterr()
    assert export.main(export_argv) == 0
    assert "token_classification" in capsys.readouterr().err
    deployed = {p.name for p in (tmp_path / "out" / "deployment").iterdir()}
    assert {"model.onnx", "config.json", "tokenizer.json", "report.json"} <= deployed
    assert export.main([*export_argv, "--strict"]) == 2


def test_the_packaged_recipe_of_the_stub_loads(shared: Path) -> None:
    from sparsify.manager import load_recipe

    manager = load_recipe(STUB)
    assert manager.max_epochs == 13
    assert manager.needs_teacher


MODEL = "zoo:nlp/masked_language_modeling/obert-base/pytorch/huggingface/wikipedia_bookcorpus/pruned90-none"
TEACHER = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/base-none"


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with the model and the teacher that the document names."""
    root, results = tmp_path / "zoo", tmp_path / "figures.json"
    results.write_text(json.dumps({"eval_f1": 0.25}))
    for stub, folder in (
        (MODEL, ner.model_folder(tmp_path / "base")),
        (TEACHER, ner.model_folder(tmp_path / "teacher", ner.LABELS)),
    ):
        flags = ["--zoo", str(root), "--metrics", str(results), "--measured_by", "tests/e2e/test_seed.py"]
        assert zoo.main(["publish", str(folder), stub, *flags]) == 0
    monkeypatch.setenv("SPARSIFY_ZOO", str(root))
    return root


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_command_takes_its_stubs_as_written(
    shared: Path, number: int, own_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # the third command names its files without folder
    for seed, split in enumerate(("train", "validation")):
        rows = [{"tokens": r["tokens"], "named_ner_tags": r["ner_tags"]} for r in ner.rows(40, seed)]
        ner.write_jsonl(tmp_path / f"wnut_17-{split}.json", rows)
    argv = training(shared)[number]
    stubs = {argv[argv.index(f"--{flag}") + 1] for flag in ("model_name_or_path", "recipe")}
    assert stubs == {MODEL, STUB}
    assert argv[argv.index("--distill_teacher") + 1] == (TEACHER if number == 0 else "disable")
    columns = {"text_column_name": "tokens", "label_column_name": "named_ner_tags"}
    argv = changed(argv, dataset_name=None, train_file=None, validation_file=None, **dict.fromkeys(columns, None))
    argv += [
        "--train_file",
        "wnut_17-train.json",
        "--validation_file",
        "wnut_17-validation.json",
        "--report_to",
        "none",
    ]
    argv += [word for name, value in columns.items() for word in (f"--{name}", value)]
    assert train.main(["token_classification", *argv]) == 0, capsys.readouterr().err
    out = tmp_path / argv[argv.index("--output_dir") + 1]
    assert json.loads((out / "trainer_state.json").read_text())["epoch"] == (13 if number != 1 else 12)
    assert (out / "recipe.yaml").is_file()


def test_weights_that_are_nowhere_are_said_to_be(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wnut(tmp_path)
    assert train.main(["token_classification", *training(shared)[2]]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"no model found for {MODEL}" in said
    assert "its alias hf://neuralmagic/oBERT-12-upstream-pruned-unstructured-90" in said
    assert "--zoo or SPARSIFY_ZOO adds roots" in said
    assert "Traceback" not in said
