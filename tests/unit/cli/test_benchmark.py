"""Tests of sparsify.cli.benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparsify.cli.benchmark import _names, main

QUICK = ["--length", "8", "--rounds", "2", "--warmup", "0"]


def test_table(tiny_deployment: Path, tiny_int8_deployment: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([str(tiny_deployment), str(tiny_int8_deployment), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "A/A ratio" in out
    assert "times as fast" in out
    assert "batch 1, length 8, 1 thread, 2 interleaved rounds" in out
    assert str(tiny_deployment) not in out


def test_names_leave_out_what_all_targets_share() -> None:
    def names(*targets: str) -> list[str]:
        timings = [SimpleNamespace(target=target, runtime="onnxruntime") for target in targets]
        return _names(SimpleNamespace(timings=timings))

    assert names("/a/b/c", "/a/b/d") == ["c", "d"]
    assert names("a/b", "a/b/model.onnx") == ["b", "b/model.onnx"]
    assert names("a/x/deployment", "a/y/deployment") == ["x", "y"]
    assert names("/a/b") == ["/a/b"]
    assert names("a", "a") == ["a", "a"]


def test_json(tiny_deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = str(tiny_deployment / "model.onnx")
    assert main([str(tiny_deployment), graph, *QUICK, "--json", "--no_gzip"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [timing["target"] for timing in report["timings"]] == [str(tiny_deployment), graph]
    assert report["timings"][0]["ratio"] == 1
    assert report["timings"][0]["gzip_bytes"] is None
    assert len(report["timings"][0]["float_ops"]) == 13
    assert report["aa_ratio"] > 0


def test_bad_input_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    err = capsys.readouterr().err
    assert "neither an ONNX file" in err
    assert "Traceback" not in err
    assert main([]) == 2


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "sparsify-benchmark runs/dense" in capsys.readouterr().out
