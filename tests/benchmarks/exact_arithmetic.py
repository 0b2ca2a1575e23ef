"""How much of the difference between a quantized model's ONNX file and torch is rounding of floats.

    python tests/benchmarks/exact_arithmetic.py RUN --data validation.jsonl test.jsonl \
        --flags text_column_name=tokens label_column_name=ner_tags max_seq_length=64

Quantizing is a staircase: two values that differ in the seventh digit may fall on different steps, and from there on the
outputs part. So torch's own fp32 differs from itself when its kernels sum in another order. The task's metric and logits are
computed four ways: torch fp32, torch fp32 without oneDNN's kernels, torch in double precision (as near to the model as one
can get), and ONNX Runtime on RUN/deployment/model.onnx. Each is compared with the double precision one.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

from sparsify import load_model
from sparsify.export.session import metadata, open_session
from sparsify.tasks import models
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.catalog import data_arguments, get_task
from sparsify.tasks.evaluation import Deployed, evaluate
from sparsify.tasks.tokenizers import load_tokenizer

Given = dict[str, np.ndarray]
Found = list[np.ndarray]


@torch.inference_mode()
def by_torch(model: nn.Module, onednn: bool, outputs: list[str], given: Given) -> Found:
    with torch.backends.mkldnn.flags(enabled=onednn):
        found = model(**{name: torch.from_numpy(value) for name, value in given.items()})
    return [found[name].double().numpy() for name in outputs]


def noting(run: Callable[[Given], Found], logits: list[np.ndarray], given: Given) -> Found:
    found = run(given)
    logits.append(found[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a model folder with deployment/")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--flags", nargs="*", default=[], help="data flags of the training command, as name=value")
    options = parser.parse_args()
    flags = {name: int(value) if value.isdigit() else value for name, value in (f.split("=", 1) for f in options.flags)}
    session = open_session(options.run / "deployment/model.onnx", threads=torch.get_num_threads())
    task = get_task(metadata(session)["task"])
    outputs, inputs = list(task.kind.outputs), [entry.name for entry in session.get_inputs()]
    name, own = str(options.run), ModelArguments()
    config, tokenizer = models.load_config(name, own), load_tokenizer(name, own, words=task.words)
    model = load_model(options.run).eval()
    ways: dict[str, Callable[[Given], Found]] = {
        "torch, double": partial(by_torch, copy.deepcopy(model).double(), True, outputs),
        "torch, fp32": partial(by_torch, model, True, outputs),
        "torch, fp32 without oneDNN": partial(by_torch, model, False, outputs),
        "onnxruntime": lambda given: session.run(outputs, given),
    }
    for path in options.data:
        data = data_arguments(task.name)(validation_file=path, **flags)
        exact: list[np.ndarray] = []
        for way, run in ways.items():
            logits: list[np.ndarray] = []
            found = evaluate(task, data, Deployed(partial(noting, run, logits), inputs, config, tokenizer))
            exact = exact or logits
            apart = np.mean([np.abs(a - b).mean() for a, b in zip(exact, logits, strict=True)])
            figures = ", ".join(f"{key} {value:.4f}" for key, value in found.items() if not key.endswith("loss"))
            print(f"{path}: {way:27} mean |difference of logits| {apart:.5f}  {figures}", flush=True)


if __name__ == "__main__":
    main()
