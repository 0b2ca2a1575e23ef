"""Tests of sparsify.cli.predict."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sparsify.cli.predict import main
from sparsify.export.answer import QuestionAnswerer
from sparsify.export.classify import TextClassifier
from sparsify.export.predict import TokenClassifier

TEXT = "Ada Lovelace met Charles Babbage in London."


def test_entities_as_a_person_reads_them(tiny_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_deployment), TEXT]) == 0
    out = capsys.readouterr().out
    expected = TokenClassifier(tiny_deployment)(TEXT)
    assert expected
    for entity in expected:
        line = next(line for line in out.splitlines() if f" {entity.start}-{entity.end}" in line)
        assert entity.text in line
        assert entity.label in line
        assert f"{entity.score:.2f}" in line


def test_json_is_one_object_a_text(tiny_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_deployment), TEXT, "in", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == [TEXT, "in"]
    for entity in rows[0]["entities"]:
        assert set(entity) == {"text", "label", "score", "start", "end"}
        assert TEXT[entity["start"] : entity["end"]] == entity["text"]


def test_files_and_standard_input(
    tiny_deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text(f"{TEXT}\n\nin paris\n")
    assert main([str(tiny_deployment), "--file", str(tmp_path / "texts.txt"), "--json"]) == 0
    from_file = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TEXT}\n\nin paris\n"))
    assert main([str(tiny_deployment), "--json"]) == 0
    assert capsys.readouterr().out == from_file
    assert [json.loads(row)["line"] for row in from_file.splitlines()] == [1, 3]


def test_text_in_brackets_is_no_markup(tiny_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_deployment), "[/bold] ada", "[red]paris"]) == 0
    assert "[/bold] ada" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["x", "--file", "y"], "not both"),
        (["--file", "nowhere.txt"], "nowhere.txt: no such file"),
        (["x", "--stride", "99"], "stride must be"),
        (["x", "--threads", "-4"], "threads must be from 0"),
        (["x", "--threads", "100000"], "to 1024, got 100000"),
    ],
)
def test_bad_input(tiny_deployment: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_deployment), *flags]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_the_onnx_file_in_place_of_its_folder(tiny_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_deployment / "model.onnx"), "x"]) == 2
    assert f"is a file; give the deployment folder it lies in, {tiny_deployment}." in capsys.readouterr().err


def test_without_anything_the_deployment_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "the following arguments are required: DEPLOYMENT\n" in capsys.readouterr().err


def test_nothing_to_read(tiny_deployment: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main([str(tiny_deployment)]) == 2
    assert "there is no text" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "sparsify-predict runs/ner/deployment" in capsys.readouterr().out


PAIR = ("ada met", "charles babbage")


def test_classes_as_a_person_reads_them(tiny_text_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_text_deployment), TEXT]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = TextClassifier(tiny_text_deployment)([TEXT])[0].scores
    shown = {line.split()[0]: line.split()[1] for line in lines if line.split()[0] in scores}
    assert shown == {name: f"{score:.4f}" for name, score in scores.items()}


def test_a_pair_as_a_flag_or_behind_a_tab(tiny_text_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_text_deployment), PAIR[0], "--text_pair", PAIR[1], "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["text"], row["text_pair"]) == PAIR
    assert row["scores"] == pytest.approx(TextClassifier(tiny_text_deployment)([PAIR])[0].scores)
    assert main([str(tiny_text_deployment), "\t".join(PAIR), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == row


@pytest.mark.parametrize(
    ("fixture", "flags", "message"),
    [
        ("tiny_text_deployment", ["--stride", "3"], "--stride is for models that tag words"),
        ("tiny_deployment", ["--text_pair", "b"], "--text_pair is for models that read two texts"),
        ("tiny_deployment", ["--n_best", "2"], "--n_best is for models that answer"),
        ("tiny_text_deployment", ["--n_best", "2"], "--n_best is for models that answer"),
    ],
)
def test_flags_of_the_other_task(
    fixture: str, flags: list[str], message: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(request.getfixturevalue(fixture)), "a", *flags]) == 2
    assert message in capsys.readouterr().err


CONTEXT = "ada lovelace met charles babbage in london"


def test_answers_as_a_person_reads_them(tiny_qa_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny_qa_deployment), "who met", "in paris", "--context", CONTEXT, "--n_best", "2"]) == 0
    shown = capsys.readouterr().out
    found = QuestionAnswerer(tiny_qa_deployment, n_best=2)([("who met", CONTEXT), ("in paris", CONTEXT)])
    for question, one in zip(("who met", "in paris"), found, strict=True):
        assert question in shown
        for candidate in one.candidates:
            assert f"{candidate.text or 'no answer'} " in shown
            assert f"{candidate.probability:.4f}" in shown


def test_a_context_as_a_flag_a_file_or_behind_a_tab(
    tiny_qa_deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text(CONTEXT)
    said = []
    for flags in (
        ["who met", "--context", CONTEXT],
        ["who met", "--context_file", str(tmp_path / "letter.txt")],
        [f"who met\t{CONTEXT}"],
    ):
        assert main([str(tiny_qa_deployment), *flags, "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] == said[2]
    assert (said[0]["question"], said[0]["context"]) == ("who met", CONTEXT)
    assert said[0]["answer"] in {one["text"] for one in said[0]["candidates"]}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "a question is about a text: give --context TEXT"),
        (["--context", "b", "--context_file", "c"], "both give the second text"),
        (["--context_file", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--context", "b", "--n_best", "0"], "--n_best must be at least 1, got 0"),
        (["--context", "b", "--stride", "99"], "stride must be"),
    ],
)
def test_a_question_without_its_text(
    tiny_qa_deployment: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_qa_deployment), "who met", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_form_feed_ends_no_line(tiny_deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("ada\x0clovelace\nparis\n")
    assert main([str(tiny_deployment), "--file", str(tmp_path / "texts.txt"), "--json"]) == 0
    assert [json.loads(row)["line"] for row in capsys.readouterr().out.splitlines()] == [1, 2]


def test_a_file_that_is_not_text(tiny_deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.bin").write_bytes(b"\xff\xfe\x00")
    assert main([str(tiny_deployment), "--file", str(tmp_path / "texts.bin")]) == 2
    assert "texts.bin: not UTF-8 text" in capsys.readouterr().err


def test_the_folder_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    assert main([str(run), TEXT]) == 2
    assert f"sparsify-export --model_path {run}" in capsys.readouterr().err
    (run / "deployment").mkdir()
    (run / "deployment" / "model.onnx").touch()
    assert main([str(run), TEXT]) == 2
    assert f"did you mean {run / 'deployment'}?" in capsys.readouterr().err
