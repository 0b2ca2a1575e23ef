"""The tutorial that the user gave: its commands, as they stand in the document, with only the program's name changed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from sparsify.cli import export, train
from tests.helpers import ner

SEED = "seeds/002_d4f4723b59018639.txt"
STUB = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"


def document(shared: Path) -> str:
    return (shared / SEED).read_text(encoding="utf-8")


def commands(shared: Path, program: str) -> list[list[str]]:
    """Arguments of each command of the document whose program's name matches ``program``."""
    text = document(shared).replace("\\\n", " ")
    return [shlex.split(m.group(1)) for m in re.finditer(rf"^{program}[ ]+(--.*)$", text, re.MULTILINE)]


def training(shared: Path) -> list[list[str]]:
    found = commands(shared, r"sparseml\.transformers\.(?:train\.)?token_classification")
    assert len(found) == 3
    return found


def changed(argv: list[str], **values: str | None) -> list[str]:
    """``argv`` with other values for some flags; None takes a flag away."""
    out: list[str] = []
    index = 0
    while index < len(argv):
        name = argv[index].removeprefix("--")
        has_value = index + 1 < len(argv) and not argv[index + 1].startswith("--")
        if name in values:
            new = values[name]
            out += [] if new is None else [argv[index], new]
        else:
            out += argv[index : index + 1 + has_value]
        index += 1 + has_value
    return out


@pytest.mark.parametrize("number", [0, 1, 2])
def test_as_written_each_command_stops_at_what_it_cannot_reach(
    shared: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation"):
        ner.write_jsonl(
            tmp_path / f"wnut_17-{split}.json",
            [{"tokens": r["tokens"], "named_ner_tags": r["ner_tags"]} for r in ner.rows(8)],
        )
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
