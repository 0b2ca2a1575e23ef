"""Tests of sparsify.export.benchmark. None of them looks at a duration."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch

from sparsify.errors import InputError
from sparsify.export import benchmark as module
from sparsify.export.benchmark import benchmark, gzip_size


def test_graphs_and_checkpoints_side_by_side(
    tiny_deployment: Path, tiny_int8_deployment: Path, tiny_ner_dir: Path
) -> None:
    graph = tiny_deployment / "model.onnx"
    threads = torch.get_num_threads()
    report = benchmark(
        [tiny_deployment, tiny_int8_deployment, graph, tiny_ner_dir], batch=2, length=16, rounds=3, warmup=1
    )
    first, int8, file, checkpoint = report.timings
    assert [timing.runtime for timing in report.timings] == ["onnxruntime"] * 3 + ["torch"]
    assert first.ratio == 1
    assert int8.ratio == pytest.approx(first.p50 / int8.p50)
    assert all(0 < timing.p50 <= timing.p95 for timing in report.timings)
    assert (report.batch, report.length, report.threads, report.rounds) == (2, 16, 1, 3)
    assert report.aa_ratio > 0
    assert first.bytes == file.bytes == graph.stat().st_size
    assert checkpoint.bytes == (tiny_ner_dir / "model.safetensors").stat().st_size
    assert checkpoint.float_ops is checkpoint.int8_ops is None
    assert (first.int8_ops, int8.float_ops) == (0, [])
    assert first.float_ops is not None
    assert int8.int8_ops is not None
    assert len(first.float_ops) == 13
    assert int8.int8_ops >= 13
    assert torch.get_num_threads() == threads
    assert json.loads(json.dumps(report.to_dict()))["timings"][1]["target"] == str(tiny_int8_deployment)


def test_rounds_are_interleaved_and_the_order_turns() -> None:
    calls: list[str] = []
    runs = [lambda name=name: calls.append(name) for name in "abc"]
    times = module._interleave(runs, rounds=3, warmup=1)
    assert "".join(calls) == "abc" + "bca" + "cab" + "abc"
    assert [len(series) for series in times] == [3, 3, 3]


def test_gzip_size_is_that_of_gzip(tmp_path: Path) -> None:
    data = b"sparse" * 100_000
    (tmp_path / "file").write_bytes(data)
    assert gzip_size(tmp_path / "file") == pytest.approx(len(gzip.compress(data, 6, mtime=0)), abs=20)


def test_sizes_include_external_data(tiny_deployment: Path, tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(tiny_deployment / "model.onnx")
    onnx.save(
        graph, tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=1024
    )
    timing = benchmark([tmp_path / "model.onnx"], length=8, rounds=1, warmup=0, compress=False).timings[0]
    assert timing.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert timing.gzip_bytes is None


def test_ids_stay_in_every_vocabulary(tiny_deployment: Path) -> None:
    known = [module._open(tiny_deployment)]
    inputs = module._inputs(known, 4, 64)
    assert inputs["input_ids"].max() < 25
    assert (inputs["input_ids"] != 0).all()
    assert inputs["attention_mask"].all()


class TestBadInput:
    def test_a_graph_that_does_not_run(self, tiny_deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "vocabulary", lambda path: 1000)
        with pytest.raises(InputError, match=r"cannot run a batch of \(1, 8\)"):
            benchmark([tiny_deployment], length=8)

    def test_neither_graph_nor_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="neither an ONNX file"):
            benchmark([tmp_path])

    def test_none_at_all(self) -> None:
        with pytest.raises(InputError, match="at least one"):
            benchmark([])

    @pytest.mark.parametrize("name", ["batch", "length", "threads", "rounds"])
    def test_numbers_below_one(self, tiny_deployment: Path, name: str) -> None:
        with pytest.raises(InputError, match="at least 1"):
            benchmark([tiny_deployment], **{name: 0})

    def test_more_threads_than_any_machine_has(self, tiny_deployment: Path) -> None:
        with pytest.raises(InputError, match=r"threads must be from 0 .* to 1024, got 100000"):
            benchmark([tiny_deployment], threads=100_000)

    def test_longer_than_the_model_takes(self, tiny_deployment: Path) -> None:
        with pytest.raises(InputError, match="at most 32 tokens, got --length 64"):
            benchmark([tiny_deployment], length=64)

    def test_another_length_than_a_fixed_one(self, tiny_deployment: Path, tmp_path: Path) -> None:
        import onnx

        folder = Path(shutil.copytree(tiny_deployment, tmp_path / "fixed"))
        graph = onnx.load(folder / "model.onnx")
        for entry in graph.graph.input:
            entry.type.tensor_type.shape.dim[1].dim_value = 16
        onnx.save(graph, folder / "model.onnx")
        with pytest.raises(InputError, match="its length is fixed to 16, not 8: pass --length 16"):
            benchmark([folder], length=8)
