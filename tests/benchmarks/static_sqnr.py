"""How far int8 logits are from fp32 ones: ours, and ONNX Runtime's own ``quantize_static``, on the same examples.

    python tests/benchmarks/static_sqnr.py --model DENSE --calibration train.jsonl --samples dev.jsonl

Both quantize the inputs and weights of the same MatMuls (attention's too) and the tables of the Gathers: activations uint8
per tensor, weights int8 per channel, ranges by the same kind of observer over the same batches. By default ONNX Runtime
also quantizes what leaves a MatMul; a second row leaves that out. Signal to quantization noise in dB, over the logits of
real tokens, all files run by ONNX Runtime.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from sparsify.export.onnx import export_graph
from sparsify.export.samples import Batch
from sparsify.export.session import open_session
from sparsify.export.source import Source, open_source
from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.insert import insert_quantizers

METHODS = {
    "min_max": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
OPERATORS = ["MatMul", "Gather"]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches, one after the other."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.left: Iterator[Batch] = iter(batches)

    def get_next(self) -> Any:
        """Inputs of the next batch; None after the last."""
        batch = next(self.left, None)
        return None if batch is None else batch.inputs


def logits(path: Path, source: Source, batches: Sequence[Batch]) -> np.ndarray[Any, Any]:
    """Outputs at real tokens, all batches in a row."""
    session, names = open_session(path, threads=1), list(source.task.outputs)
    found = [(batch, output) for batch in batches for output in session.run(names, batch.inputs)]
    return np.concatenate([o[b.real].ravel() if o.ndim == 3 else o.ravel() for b, o in found])


def sqnr(plain: np.ndarray[Any, Any], quantized: np.ndarray[Any, Any]) -> float:
    """Signal to noise in dB."""
    return float(10 * np.log10(np.square(plain).sum() / np.square(plain - quantized).sum()))


def write(source: Source, model: torch.nn.Module, path: Path) -> Path:
    """Export without any check."""
    sample = {name: torch.from_numpy(v) for name, v in source.batches(None, (2, 16))[0][0].inputs.items()}
    names = list(source.task.outputs)
    export_graph(model, path, input_names=source.inputs, sample=sample, output_names=names)
    return path


def ours(source: Source, batches: Sequence[Batch], observer: str, path: Path) -> Path:
    """Quantized as a recipe does it."""
    model = copy.deepcopy(source.model)
    insert_quantizers(model)
    calibrate(model, [{k: torch.from_numpy(v) for k, v in b.inputs.items()} for b in batches], observer=observer)
    return write(source, model.eval(), path)


def theirs(plain: Path, batches: Sequence[Batch], observer: str, path: Path, outputs: bool) -> Path:
    """Quantized by ONNX Runtime's tool."""
    quantize_static(
        plain,
        path,
        Reader(batches),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=OPERATORS,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[observer],
        extra_options={} if outputs else {"OpTypesToExcludeOutputQuantization": OPERATORS},
    )
    return path


def main() -> None:
    """Print one line for each of the three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained fp32 model")
    parser.add_argument("--calibration", required=True, help="data file to calibrate on")
    parser.add_argument("--samples", required=True, help="data file to compare on")
    parser.add_argument("--num_calibration", type=int, default=50)
    parser.add_argument("--num_samples", type=int, default=100)
    parser.add_argument("--observer", choices=list(METHODS), default="min_max")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    source = open_source(args.model)
    calibration, _ = source.batches(args.calibration, None, args.num_calibration)
    samples, _ = source.batches(args.samples, None, args.num_samples)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = write(source, source.model, folder / "plain.onnx")
        expected = logits(plain, source, samples)
        made = {"ours": ours(source, calibration, args.observer, folder / "ours.onnx")}
        for title, outputs in (("quantize_static", True), ("quantize_static, outputs of MatMul in float", False)):
            made[title] = theirs(plain, calibration, args.observer, folder / f"theirs{int(outputs)}.onnx", outputs)
        for title, path in made.items():
            found = sqnr(expected, logits(path, source, samples))
            print(f"{title:45} {found:6.2f} dB  {path.stat().st_size / 1e6:7.2f} MB", flush=True)


if __name__ == "__main__":
    main()
