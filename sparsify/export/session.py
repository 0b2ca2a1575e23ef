"""ONNX Runtime sessions that share cores politely, and what the CPU can do in int8."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from sparsify.errors import InputError, first_line

_INT8_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm", "sve")
MOST_THREADS = 1024
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""Inputs of the graphs of text models, in their order; a model may lack some."""


def check_threads(count: int) -> None:
    """Refuse numbers of threads that no machine runs: they hang where they should fail.

    Raises:
        InputError: It is negative or beyond all processors.
    """
    if not 0 <= count <= MOST_THREADS:
        raise InputError(f"threads must be from 0 (ONNX Runtime's choice) to {MOST_THREADS}, got {count}.")


def open_session(
    path: str | Path, *, threads: int = 0, optimized: Path | None = None, provider: str = "CPUExecutionProvider"
) -> Any:
    """Open an ONNX Runtime session, on the CPU unless another provider is named.

    Args:
        path: The ONNX file.
        threads: Threads within an operator; 0 leaves it to ONNX Runtime.
        optimized: Where to also write the graph as ONNX Runtime rewrote it.
        provider: Name of an execution provider that is installed; what it cannot run goes to the CPU.

    Raises:
        InputError: The file is missing or is no usable ONNX model, or so many threads cannot be.
    """
    import onnxruntime

    check_threads(threads)

    if not Path(path).is_file():
        raise InputError(f"{path}: no such ONNX file.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Without it a session's idle threads keep spinning and slow down whatever runs next in this process.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        providers = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes here
        raise InputError(f"{path}: ONNX Runtime cannot load it: {first_line(error)}") from error


def fixed_shape(session: Any) -> tuple[int | None, int | None]:
    """Batch and length that the graph was exported for; None where any will do."""
    dims = session.get_inputs()[0].shape
    batch, length = (dims[i] if len(dims) > i and isinstance(dims[i], int) else None for i in (0, 1))
    return batch, length


def metadata(session: Any) -> dict[str, str]:
    """What the exporter wrote into the file: recipe, its sha256, task, labels, ..."""
    return dict(session.get_modelmeta().custom_metadata_map)


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """The CPU's name and those of its instruction sets that int8 speed hangs on.

    ``features`` is None where the system does not tell (no ``/proc/cpuinfo``).
    """
    name = platform.processor() or platform.machine()
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return {"name": name, "features": None}
    values = {key.strip().lower(): value.strip() for key, _, value in reversed(lines)}
    flags = set(values.get("flags", values.get("features", "")).split())
    return {"name": values.get("model name", name), "features": [flag for flag in _INT8_FLAGS if flag in flags]}


def describe_cpu(cpu: dict[str, Any]) -> str:
    """What :func:`cpu_features` found, in words."""
    features = cpu["features"]
    known = "int8 features unknown" if features is None else " ".join(features) or "no int8 features"
    return f"{cpu['name']}: {known}"
