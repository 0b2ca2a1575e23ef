"""Tests of sparsify.export.session."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import InputError
from sparsify.export.session import cpu_features, describe_cpu, fixed_shape, metadata, open_session

X86 = "processor : 0\nmodel name : Fast One\nflags : fpu avx2 avx512_vnni\n\nprocessor : 1\nmodel name : Other\nflags : fpu\n"
ARM = "processor : 0\nFeatures : fp asimddp i8mm\n"


@pytest.mark.parametrize(("text", "features"), [(X86, ["avx2", "avx512_vnni"]), (ARM, ["asimddp", "i8mm"]), ("", [])])
def test_features(tmp_path: Path, text: str, features: list[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_features(tmp_path / "cpuinfo")["features"] == features


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    found = cpu_features(tmp_path / "nothing")
    assert found["features"] is None
    assert describe_cpu(found).endswith("int8 features unknown")
    assert describe_cpu({"name": "x", "features": []}) == "x: no int8 features"
    assert describe_cpu({"name": "x", "features": ["a", "b"]}) == "x: a b"


def test_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(X86)
    assert cpu_features(tmp_path / "cpuinfo")["name"] == "Fast One"


def test_a_session_knows_shape_and_metadata(tiny_deployment: Path) -> None:
    session = open_session(tiny_deployment / "model.onnx", threads=1)
    assert fixed_shape(session) == (None, None)
    assert metadata(session)["precision"] == "fp32"
    options = session.get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert options.intra_op_num_threads == 1


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such ONNX file"):
        open_session(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"\x00" * 10)
    with pytest.raises(InputError, match="cannot load it"):
        open_session(tmp_path / "model.onnx")
