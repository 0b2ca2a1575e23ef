"""Latency of ONNX files and checkpoints side by side: interleaved, with the noise measured beside the result."""

from __future__ import annotations

import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsify.errors import InputError, first_line
from sparsify.export.graph import FloatOp, operators, vocabulary
from sparsify.export.positions import usable_positions
from sparsify.export.session import check_threads, cpu_features, fixed_shape, open_session

Inputs = dict[str, NDArray[np.int64]]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, slots=True)
class Timing:
    """One target's latency.

    Attributes:
        target: Path as given.
        runtime: ``onnxruntime`` or ``torch``.
        p50: Median, in milliseconds.
        p95: 95th percentile, in milliseconds.
        ratio: How many times as fast as the first target: the first's median by this one's.
        bytes: Size of its model file or files.
        gzip_bytes: Their size under gzip, None where not asked for.
        float_ops: Matrix products with constant weights that ONNX Runtime runs in float; None for torch.
        int8_ops: Matrix products that it runs in int8; None for torch.
    """

    target: str
    runtime: str
    p50: float
    p95: float
    ratio: float
    bytes: int
    gzip_bytes: int | None
    float_ops: list[FloatOp] | None
    int8_ops: int | None


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """Latencies of several targets.

    Attributes:
        timings: In the order given.
        aa_ratio: The first target's median by that of a second copy of it: 1 but for noise, so a ratio that is no
            farther from 1 than this one says nothing.
        batch: Sequences at once.
        length: Tokens in each.
        threads: Threads.
        rounds: How often each target ran.
        cpu: Name and int8 features.
    """

    timings: tuple[Timing, ...]
    aa_ratio: float
    batch: int
    length: int
    threads: int
    rounds: int
    cpu: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    runtime: str
    files: tuple[Path, ...]
    config: dict[str, Any]
    vocabulary: int | None
    load: Callable[[int], Callable[[Inputs], object]]
    inputs: tuple[str, ...] | None
    shape: tuple[int | None, int | None]


def benchmark(
    targets: Sequence[str | Path],
    *,
    batch: int = 1,
    length: int = 128,
    threads: int = 1,
    rounds: int = 50,
    warmup: int = 5,
    compress: bool = True,
) -> BenchmarkReport:
    """Time several models on the same random inputs, one run of each per round, in turning order.

    Args:
        targets: ONNX files, deployment folders, checkpoints (run in torch); the first is what others are compared with.
        batch: Sequences at once.
        length: Tokens in each.
        threads: Threads of each runtime.
        rounds: Timed runs of each.
        warmup: Untimed runs of each before.
        compress: Also measure sizes under gzip.

    Raises:
        InputError: A target is missing or broken, or takes other shapes.
    """
    if min(batch, length, threads, rounds) < 1 or warmup < 0:
        raise InputError("batch, length, threads and rounds must be at least 1, and warmup at least 0.")
    check_threads(threads)
    if not targets:
        raise InputError("benchmark needs at least one target.")
    known = [_open(Path(target)) for target in targets]
    for target in known:
        _check_shape(target, batch, length)
    inputs = _inputs(known, batch, length)
    with _torch_threads(threads):
        runners = [target.load(threads) for target in [*known, known[0]]]
        for target, run in zip(known, runners, strict=False):
            _try(target, run, inputs)
        times = _interleave([_bind(run, inputs) for run in runners], rounds, warmup)
    medians = [statistics.median(series) for series in times]
    timings = tuple(_timing(target, series, medians[0], compress) for target, series in zip(known, times, strict=False))
    return BenchmarkReport(timings, medians[0] / medians[-1], batch, length, threads, rounds, cpu_features())


def _try(target: _Target, run: Callable[[Inputs], object], inputs: Inputs) -> None:
    try:
        run(inputs)
    except Exception as error:  # either runtime raises errors of its own
        shape = inputs["input_ids"].shape
        raise InputError(f"{target.name}: cannot run a batch of {shape}: {first_line(error)}") from error


def _bind(run: Callable[[Inputs], object], inputs: Inputs) -> Callable[[], object]:
    return lambda: run(inputs)


def _interleave(runs: Sequence[Callable[[], object]], rounds: int, warmup: int) -> list[list[float]]:
    """Milliseconds of each run in each round; who goes first moves on with every round."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(warmup + rounds):
        for offset in range(len(runs)):
            index = (turn + offset) % len(runs)
            start = time.perf_counter()
            runs[index]()
            if turn >= warmup:
                times[index].append((time.perf_counter() - start) * 1e3)
    return times


def _timing(target: _Target, series: list[float], first: float, compress: bool) -> Timing:
    median = statistics.median(series)
    found = operators(target.files[0]) if target.runtime == "onnxruntime" else None
    return Timing(
        target=target.name,
        runtime=target.runtime,
        p50=median,
        p95=float(np.percentile(series, 95)),
        ratio=first / median,
        bytes=sum(path.stat().st_size for path in target.files),
        gzip_bytes=sum(map(gzip_size, target.files)) if compress else None,
        float_ops=found.float_ops if found else None,
        int8_ops=found.int8_ops if found else None,
    )


def gzip_size(path: Path, level: int = 6) -> int:
    """Bytes of a file under gzip, without writing it anywhere."""
    count = _Counter()
    with gzip.GzipFile(fileobj=count, mode="wb", compresslevel=level, mtime=0) as packed, path.open("rb") as file:
        while chunk := file.read(1 << 20):
            packed.write(chunk)
    return count.size


class _Counter:
    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        return None


def _open(path: Path) -> _Target:
    file = path / "model.onnx" if path.is_dir() else path
    if file.is_file():
        return _onnx_target(path, file)
    if (path / "config.json").is_file():
        return _torch_target(path)
    raise InputError(f"{path}: is neither an ONNX file, nor a deployment folder, nor a checkpoint folder.")


def _onnx_target(name: Path, file: Path) -> _Target:
    session = open_session(file, threads=1)
    wanted = tuple(entry.name for entry in session.get_inputs())

    def load(threads: int) -> Callable[[Inputs], object]:
        opened = open_session(file, threads=threads)
        return lambda inputs: opened.run(None, {key: inputs[key] for key in wanted})

    files = (file, *sorted(file.parent.glob(f"{file.name}?data*")))
    config, rows = _config(file.parent), vocabulary(file)
    return _Target(str(name), "onnxruntime", files, config, rows, load, wanted, fixed_shape(session))


def _torch_target(folder: Path) -> _Target:
    files = tuple(sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern)))

    def load(threads: int) -> Callable[[Inputs], object]:
        import torch

        from sparsify.export.checkpoint import load_model
        from sparsify.export.task import input_names

        model = load_model(folder).eval()
        wanted = input_names(model)

        def run(inputs: Inputs) -> object:
            with torch.inference_mode():
                return model(**{key: torch.from_numpy(inputs[key]) for key in wanted})

        return run

    config = _config(folder)
    return _Target(str(folder), "torch", files, config, config.get("vocab_size"), load, None, (None, None))


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _check_shape(target: _Target, batch: int, length: int) -> None:
    for name, wanted, fixed in zip(("batch", "length"), (batch, length), target.shape, strict=True):
        if fixed is not None and fixed != wanted:
            raise InputError(f"{target.name}: its {name} is fixed to {fixed}, not {wanted}: pass --{name} {fixed}.")
    config = target.config
    limit = usable_positions(*(config.get(n) for n in ("model_type", "max_position_embeddings", "pad_token_id")))
    if limit is not None and limit < length:
        raise InputError(f"{target.name}: takes at most {limit} tokens, got --length {length}.")


def _inputs(targets: Sequence[_Target], batch: int, length: int) -> Inputs:
    """Random ids that are in every target's vocabulary; 100 where none is known."""
    vocab = min((target.vocabulary for target in targets if target.vocabulary), default=100)
    ids = np.random.default_rng(0).integers(0, vocab, size=(batch, length), dtype=np.int64)
    pads = {t.config.get("pad_token_id") for t in targets}
    ids[np.isin(ids, [p for p in pads if p is not None])] = vocab - 1
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    for target in targets:
        unknown = set(target.inputs or ()) - set(inputs)
        if unknown:
            raise InputError(f"{target.name}: wants inputs that cannot be made up: {', '.join(sorted(unknown))}.")
    return inputs


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
