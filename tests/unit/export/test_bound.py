"""Execution providers by name, and graphs run with bound inputs and outputs."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from sparsify.errors import InputError
from sparsify.export.bound import CPU, bound, choose_provider
from sparsify.export.session import open_session

CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"


@pytest.mark.parametrize(
    ("device", "asked", "there", "chosen"),
    [
        ("cpu", None, [CUDA, CPU], CPU),
        ("cuda", None, [CUDA, CPU], CUDA),
        ("cuda", None, [CPU], CPU),
        ("xpu", None, [OPENVINO, CPU], OPENVINO),
        ("meta", None, [CUDA, CPU], CPU),
        ("cuda", "cpu", [CUDA, CPU], CPU),
        ("cpu", "Cuda", [CUDA, CPU], CUDA),
        ("cpu", "openvinoexecutionPROVIDER", [OPENVINO, CPU], OPENVINO),
    ],
)
def test_providers(
    device: str, asked: str | None, there: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert choose_provider(device, asked) == chosen


@pytest.mark.parametrize("asked", ["", "cudaa", "ExecutionProvider"])
def test_a_provider_that_is_not_there(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(InputError, match=rf"no provider '{asked}' here; there are: cuda, cpu"):
        choose_provider("cpu", asked)


@pytest.fixture
def session(tmp_path: Path) -> Any:
    """Sum and product of two tables."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    fed = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in "ab"]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("sum", "product")]
    graph = helper.make_graph(nodes, "both", fed, given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    return open_session(tmp_path / "m.onnx", threads=1)


def table(seed: int, rows: int = 30, columns: int = 20) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random((rows, columns), dtype=np.float32)


@pytest.mark.parametrize("names", [["product"], ["sum", "product"], ["product", "sum"]])
def test_outputs_come_in_the_order_asked_for(names: list[str], session: Any) -> None:
    a, b = table(0), table(1)
    expected = {"sum": a + b, "product": a * b}
    found = bound(session, names)({"b": b, "a": a})
    assert len(found) == len(names)
    assert all(np.array_equal(array, expected[name]) for array, name in zip(found, names, strict=True))


def test_each_run_has_outputs_of_its_own(session: Any) -> None:
    run = bound(session, ["sum"])
    first, second = run({"a": table(0), "b": table(1)})[0], run({"a": table(2, 3), "b": table(3, 3)})[0]
    assert np.array_equal(first, table(0) + table(1))
    assert np.array_equal(second, table(2, 3) + table(3, 3))


def test_tables_that_lie_across(session: Any) -> None:
    a, b = table(0).T, table(1)[::2, ::-1].T
    (found,) = bound(session, ["sum"])({"a": a[:, :15], "b": b})
    assert np.array_equal(found, a[:, :15] + b)


def test_inputs_live_while_the_graph_runs() -> None:
    class Binding:
        """Keeps no more of an input than older versions of ONNX Runtime do."""

        def __init__(self) -> None:
            self.inputs: dict[str, weakref.ref[Any]] = {}
            self.outputs: list[tuple[str, str]] = []

        def bind_ortvalue_input(self, name: str, value: Any) -> None:
            self.inputs[name] = weakref.ref(value)

        def bind_output(self, name: str, device: str) -> None:
            self.outputs.append((name, device))

        def copy_outputs_to_cpu(self) -> list[Any]:
            return self.outputs

    class Session:
        def get_providers(self) -> list[str]:
            return [CPU]

        def io_binding(self) -> Binding:
            return Binding()

        def run_with_iobinding(self, binding: Binding) -> None:
            found = {name: value() for name, value in binding.inputs.items()}
            assert {name: value is not None and value.numpy().tolist() for name, value in found.items()} == {
                "a": [[0.0, 2.0], [1.0, 3.0]]
            }

    across = np.arange(4, dtype=np.float32).reshape(2, 2).T
    assert bound(Session(), ["x"])({"a": across}) == [("x", "cpu")]
