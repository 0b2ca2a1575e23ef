"""What 2:4 weights gain on an NVIDIA GPU as torch's semi-structured tensors: half precision, interleaved.

    python tests/benchmarks/semi_structured.py --batch 32 --length 128

A BERT of ``--layers`` layers (base widths, random weights, masked 2:4 by magnitude) is timed dense (its masked weights as
ordinary tensors) and converted, alternately, by CUDA events; the ratio is of medians, beside the ratio of the dense model to
itself (A/A). Needs a GPU of compute capability 8.0 or more; without one it says so and exits with 3.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys

import torch
from torch import nn
from transformers import BertConfig, BertModel

from sparsify.pruning.masks import compute_masks
from sparsify.pruning.semi_structured import to_semi_structured


def make_model(layers: int) -> BertModel:
    torch.manual_seed(0)
    model = BertModel(BertConfig(num_hidden_layers=layers)).eval()
    for module in model.encoder.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= compute_masks({"w": module.weight.detach().abs()}, 0.5, pattern="2:4")["w"]
    return model.half().cuda()


@torch.inference_mode()
def milliseconds(model: nn.Module, ids: torch.Tensor) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    model(input_ids=ids)
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
        print("no NVIDIA GPU of compute capability 8.0 or more: nothing was measured", file=sys.stderr)
        return 3
    dense = make_model(options.layers)
    sparse = copy.deepcopy(dense)
    print(to_semi_structured(sparse))
    ids = torch.randint(0, 30000, (options.batch, options.length), device="cuda")
    with torch.inference_mode():
        difference = (dense(input_ids=ids)[0] - sparse(input_ids=ids)[0]).abs().max().item()
    times: dict[str, list[float]] = {"dense": [], "dense again": [], "2:4": []}
    for step in range(options.rounds + 10):
        for name, model in (("dense", dense), ("2:4", sparse), ("dense again", dense)):
            elapsed = milliseconds(model, ids)
            if step >= 10:
                times[name].append(elapsed)
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batch {options.batch} x {options.length}, fp16")
    print(
        f"dense {middle['dense']:.2f} ms, 2:4 {middle['2:4']:.2f} ms: {middle['dense'] / middle['2:4']:.2f} times as fast"
    )
    print(f"A/A {middle['dense'] / middle['dense again']:.3f}; largest difference of outputs {difference:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
