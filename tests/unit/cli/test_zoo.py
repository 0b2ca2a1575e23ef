"""The command that finds, fetches, publishes and verifies entries."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from sparsify.cli import benchmark, export, predict, zoo
from tests.helpers.zoos import STUB, flip

RECIPE = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: 1}\n"
COMMAND = "sparsify-train token_classification ... --do_eval"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSIFY_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("SPARSIFY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "zoo"


@pytest.fixture
def trained(ner_copy: Path) -> Path:
    (ner_copy / "recipe.yaml").write_text(RECIPE)
    (ner_copy / "all_results.json").write_text(json.dumps({"eval_f1": 0.5, "eval_runtime": 3.0, "train_loss": 1.0}))
    (ner_copy / "training_args.bin").write_bytes(b"")
    return ner_copy


def publish(folder: Path, root: Path, *flags: str) -> int:
    return zoo.main(["publish", str(folder), STUB, "--zoo", str(root), *flags])


def test_publish_info_get_verify(trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(trained, root, "--measured_by", COMMAND, "--base", "hub/base", "--licence", "Apache-2.0") == 0
    out, err = capsys.readouterr()
    assert "recipe.yaml: valid, 1 modifier\n" in err
    assert "weights: load" in err
    assert "ONNX file: " in err
    assert "left out: all_results.json, training_args.bin" in err
    assert f"published {STUB} to {root}" in out

    for pattern in ("tiny-x", "*tiny*", "zoo:nlp/*/tiny-x/*"):
        assert zoo.main(["list", pattern]) == 0
        assert capsys.readouterr().out.strip() == STUB
    assert zoo.main(["info", STUB, "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["stub"] == STUB
    assert manifest["base"] == "hub/base"
    assert manifest["task"] == "token_classification"
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["metrics"] == [{"name": "eval_f1", "value": 0.5, "command": COMMAND}]
    assert {"torch", "transformers", "python"} <= set(manifest["packages"])
    assert "training/recipe.yaml" in manifest["files"]
    assert zoo.main(["info", STUB]) == 0
    shown = capsys.readouterr().out
    assert "eval_f1" in shown
    assert "deployment/model.onnx" in shown

    assert zoo.main(["get", STUB, "--to", str(tmp_path / "got")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "got")
    assert {p.relative_to(tmp_path / "got").as_posix() for p in (tmp_path / "got").rglob("*") if p.is_file()} == set(
        manifest["files"]
    )
    assert zoo.main(["verify", str(root)]) == 0
    flip(root / STUB.removeprefix("zoo:") / "training" / "model.safetensors")
    assert zoo.main(["verify", STUB]) == 1
    out, err = capsys.readouterr()
    assert "damaged" in out
    assert "Traceback" not in err


def test_stubs_where_commands_take_paths(
    trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(trained, root, "--no_metrics") == 0
    assert predict.main([STUB, "ada lovelace", "--json"]) == 0
    assert benchmark.main([STUB, STUB, "--rounds", "2", "--warmup", "1", "--length", "8", "--json"]) == 0
    capsys.readouterr()
    assert export.main(["--model_path", STUB]) == 2
    assert "--output_dir says where" in capsys.readouterr().err
    assert export.main(["--model_path", STUB, "--output_dir", str(tmp_path / "exported")]) == 0
    assert (tmp_path / "exported" / "model.onnx").is_file()


def test_every_failed_check_is_named_and_nothing_is_written(
    trained: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "recipe.yaml").write_text("modifiers:\n  - !Nonsense {}\n")
    (trained / "all_results.json").unlink()
    assert publish(trained, root) == 1
    said = capsys.readouterr().err
    assert "2 checks failed" in said
    assert "Nonsense" in said
    assert "no metrics" in said
    assert not root.exists()


def test_another_models_onnx_file_is_found_out(
    trained: Path, root: Path, make_tiny_bert: object, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_bert(seed=1).save_pretrained(trained)  # type: ignore[operator]
    assert publish(trained, root, "--no_metrics") == 1
    assert "parity" in capsys.readouterr().err
    assert not root.exists()


def test_metrics_need_their_command(trained: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(trained, root) == 1
    assert "eval_f1: which command measured it? Give --measured_by" in " ".join(capsys.readouterr().err.split())
    own = trained / "figures.json"
    own.write_text(json.dumps([{"name": "f1", "value": 0.4, "data": "test", "command": "x"}]))
    assert publish(trained, root, "--metrics", str(own), "--dry-run") == 0
    assert "would publish" in capsys.readouterr().out
    assert not root.exists()


def test_damaged_and_pickled_weights(trained: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "model.safetensors").write_bytes(b"\0" * 100)
    assert publish(trained, root, "--no_metrics") == 1
    (trained / "model.safetensors").rename(trained / "pytorch_model.bin")
    assert publish(trained, root, "--no_metrics") == 2
    assert "safetensors, the only format" in " ".join(capsys.readouterr().err.split())


def test_a_recipe_alone(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text(RECIPE)
    assert publish(tmp_path / "mine", root) == 0
    assert publish(tmp_path / "mine", root) == 2
    assert "--replace" in capsys.readouterr().err
    assert publish(tmp_path / "mine", root, "--replace") == 0
    assert zoo.main(["get", STUB]) == 0
    found = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert (found / "recipe.yaml").read_text() == RECIPE


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["info", "zoo:nlp/x"], "it has 2 segments"),
        (["get", STUB], "no entry found"),
        (["list", "nonsense-of-this-name"], "no entry matches"),
        (["verify", "/no/such/root"], "no such folder"),
        (["publish", "/no/such", STUB, "--zoo", "z"], "no such folder"),
        (["info", STUB, "--zoo", "http://example.org/zoo"], "use https"),
        (["info", STUB, "--zoo", "nonsense://example.org/zoo"], "file system is not installed|not an address"),
    ],
)
def test_bad_input_is_one_message(argv: list[str], words: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(argv) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert any(part in said for part in words.split("|")), said
    assert "Traceback" not in said


def test_publishing_to_a_web_server_says_what_to_do(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    shutil.rmtree(root, ignore_errors=True)
    assert zoo.main(["publish", str(tmp_path), STUB, "--zoo", "http://127.0.0.1:9/zoo"]) == 2
    assert "publish into the folder that the server serves" in " ".join(capsys.readouterr().err.split())


PACKAGED = "zoo:nlp/token_classification/minilm-l6/pytorch/huggingface/wnut17/pruned50-none"


def test_an_entry_without_manifest_shows_its_recipes_metrics_and_its_files(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root / PACKAGED.removeprefix("zoo:")
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"metrics:\n  - {{name: f1, value: 0.25, data: here}}\n{RECIPE}")
    digest = hashlib.sha256((folder / "recipe.yaml").read_bytes()).hexdigest()
    assert zoo.main(["info", PACKAGED, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["manifest"] is None
    assert facts["metrics"] == [{"name": "f1", "value": 0.25, "data": "here"}]
    size = (folder / "recipe.yaml").stat().st_size
    assert facts["files"] == {"recipe.yaml": {"sha256": digest, "size": size}}
    assert zoo.main(["info", PACKAGED]) == 0
    shown = capsys.readouterr().out
    assert "0.25" in shown
    assert digest[:16] in shown
    assert "not measured" not in shown


@pytest.mark.parametrize("metrics", ["null", "[]", "7", "[{name: f1}]"])
def test_metrics_that_are_none_are_not_measured(root: Path, metrics: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / PACKAGED.removeprefix("zoo:")
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"metrics: {metrics}\n{RECIPE}")
    assert zoo.main(["info", PACKAGED]) == 0
    assert "metrics: not measured" in capsys.readouterr().out


def test_a_root_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["info", PACKAGED]):
        assert zoo.main([*command, "--zoo", str(tmp_path / "nosuch")]) == 2
        assert f"--zoo {tmp_path / 'nosuch'}: no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "info", "get", "publish", "verify"])
def test_each_command_describes_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"example:\n  sparsify-zoo {command}" in shown


@pytest.mark.parametrize("index", [b"<html>", b"[]", b'{"stubs": 3}', b"\xff\xfe"])
def test_list_goes_on_behind_a_root_without_an_index(
    index: bytes, trained: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparsify.zoo.filesystem import Remote

    assert publish(trained, root, "--no_metrics") == 0
    url = f"memory://{tmp_path.name}"
    Remote(url, {}).write(index, "index.json")
    capsys.readouterr()
    for flags in (["--zoo", url], ["tiny-x", "--zoo", url]):
        assert zoo.main(["list", *flags]) == 2
        out, err = capsys.readouterr()
        assert STUB in out.split()
        assert f"not all entries could be listed: {url}/index.json: not " in err


def test_metrics_and_no_metrics(trained: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(trained, root, "--no_metrics", "--metrics", "mine.json") == 2
    assert "--no_metrics and --metrics mine.json: give one of them" in capsys.readouterr().err


def test_a_home_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(["list", "--zoo", "~nobody-of-this-name/zoo"]) == 2
    assert "--zoo ~nobody-of-this-name/zoo: no such folder" in capsys.readouterr().err
