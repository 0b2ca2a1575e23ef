"""What removing half of the heads and feed-forward neurons gains in ONNX Runtime, alone and with int8.

    python tests/benchmarks/shrink.py --folder /tmp/shrink_bench --repeats 3

A model of BERT-base's shapes with random weights goes through one-shot recipes: as it is, with half of its heads and
neurons removed, and with that and int8. The three files are timed interleaved (batch 1, length 128), in ``--repeats``
sessions; each figure is the middle one of the sessions' ratios to the dense fp32 file, beside the ratio of the dense file to
a copy of itself (A/A). Sizes are the configuration's, so ``--layers 2`` gives a quick look.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from transformers import BertConfig, BertForTokenClassification

from sparsify.export.benchmark import benchmark
from sparsify.export.deployment import export_onnx
from sparsify.manager import load_recipe

UNITS = "    {init_sparsity: 0.0, final_sparsity: 0.5, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 1.0, "
HALF = (
    "modifiers:\n"
    "  - !StructuredPruningModifier\n" + UNITS + "mask_type: heads}\n"
    "  - !StructuredPruningModifier\n" + UNITS + "mask_type: neurons}\n"
    "  - !LayerThinningModifier {}\n"
)
INT8 = HALF + "  - !QuantizationModifier {start_epoch: 0.0}\n"
RECIPES = {"half": HALF, "half + int8": INT8}
LIMITS = {"half": 1.8, "half + int8": 3.3}


def make_model(layers: int) -> BertForTokenClassification:
    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=layers, num_labels=9)
    return BertForTokenClassification(config).eval()


def export(folder: Path, layers: int) -> dict[str, Path]:
    made = {"dense": folder / "dense"}
    export_onnx(make_model(layers), made["dense"], verify=False)
    generator = torch.Generator().manual_seed(0)
    data = [{"input_ids": torch.randint(0, 30000, (2, 64), generator=generator)} for _ in range(2)]
    for name, recipe in RECIPES.items():
        manager = load_recipe(recipe)
        model = manager.apply(make_model(layers), data)
        made[name] = folder / name.replace(" + ", "_")
        export_onnx(model, made[name], recipe=recipe, verify=False)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/shrink_bench"))
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = export(options.folder, options.layers)
    ratios: dict[str, list[float]] = {name: [] for name in [*RECIPES, "A/A"]}
    for _ in range(options.repeats):
        found = benchmark(list(made.values()), rounds=options.rounds, threads=options.threads, compress=False)
        for name, timing in zip(made, found.timings, strict=True):
            print(f"{name:12} {timing.p50:7.1f} ms  {timing.ratio:.2f}x  {timing.bytes / 1e6:.0f} MB", flush=True)
            if name in ratios:
                ratios[name].append(timing.ratio)
        ratios["A/A"].append(found.aa_ratio)
    middle = {name: statistics.median(values) for name, values in ratios.items()}
    for name, limit in LIMITS.items():
        verdict = "ok" if middle[name] >= limit else "under"
        print(f"{name:12} {middle[name]:.2f}x (at least {limit}, {verdict}); A/A {middle['A/A']:.2f}")
    print(json.dumps(ratios))
    return int(any(middle[name] < limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    raise SystemExit(main())
