"""Running an ONNX file with its inputs and outputs bound to a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sparsify.errors import InputError

Array = np.ndarray[Any, Any]
CPU = "CPUExecutionProvider"
_DEVICES = {"cuda": "CUDAExecutionProvider", "xpu": "OpenVINOExecutionProvider", "mps": "CoreMLExecutionProvider"}
_ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "ROCMExecutionProvider")


def choose_provider(device: str, asked: str | None = None) -> str:
    """The execution provider for a torch device, or the one that was asked for.

    Args:
        device: Type of a torch device: ``cpu``, ``cuda``, ...; without a provider of its own it is the CPU's.
        asked: Name of a provider, ``ExecutionProvider`` left out or not, in any case.

    Raises:
        InputError: The installed ONNX Runtime has no such provider.
    """
    import onnxruntime

    there: list[str] = onnxruntime.get_available_providers()
    if asked is None:
        usual = _DEVICES.get(device, CPU)
        return usual if usual in there else CPU
    short = {name.lower().removesuffix("executionprovider"): name for name in there}
    found = short.get(asked.lower().removesuffix("executionprovider"))
    if found is None:
        raise InputError(f"ONNX Runtime has no provider {asked!r} here; there are: {', '.join(short)}")
    return found


def bound(session: Any, outputs: Sequence[str]) -> Callable[[Mapping[str, Array]], list[Array]]:
    """A function from graph inputs to outputs that binds them, so that they are copied once, to where the graph runs.

    Args:
        session: An ``onnxruntime.InferenceSession``.
        outputs: Names of the outputs wanted, in their order.
    """
    from onnxruntime import OrtValue

    device = "cuda" if session.get_providers()[0] in _ON_GPU else "cpu"

    def run(inputs: Mapping[str, Array]) -> list[Array]:
        binding = session.io_binding()
        # held until the run is over: on the CPU they are views of the arrays, and older bindings keep neither
        held = {n: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(v), device, 0) for n, v in inputs.items()}
        for name, value in held.items():
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, device)
        session.run_with_iobinding(binding)
        found: list[Array] = binding.copy_outputs_to_cpu()
        return found

    return run
