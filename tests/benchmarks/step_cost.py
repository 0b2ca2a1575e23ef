"""What a recipe costs per training step: CPU time against a plain step, interleaved in one process.

    python tests/benchmarks/step_cost.py --pairs 300

The work is a 4-layer BERT of hidden size 256, batch 4 x 32 tokens, AdamW. Each figure is the ratio of the medians,
divided by the ratio of two identical plain loops (A/A) measured in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from transformers import BertConfig, BertForTokenClassification

from sparsify.manager import load_recipe

HEAD = "modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1000.0}\n"
RECIPES = {
    "manager with nothing to do": HEAD,
    "masks held": HEAD + '  - !ConstantPruningModifier {params: ["re:.*encoder.*weight"], start_epoch: 0.0}\n',
    "quantization-aware training": HEAD + "  - !QuantizationModifier {start_epoch: 0.0}\n",
}
LIMITS = {"manager with nothing to do": 1.02, "masks held": 1.05, "quantization-aware training": 1.45}


def make_model() -> BertForTokenClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=2000,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        num_labels=9,
    )
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "encoder" in name and parameter.ndim == 2:
                parameter.mul_(
                    parameter.abs() > parameter.abs().flatten().kthvalue(int(0.8 * parameter.numel())).values
                )
    return model.train()


def make_step(recipe: str | None, stack: ExitStack) -> Callable[[], None]:
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    if recipe is not None:
        stack.enter_context(load_recipe(recipe).attach(model, optimizer, steps_per_epoch=10_000))
    ids = torch.randint(0, 2000, (4, 32))
    labels = torch.randint(0, 9, (4, 32))

    def step() -> None:
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(pairs: int) -> dict[str, dict[str, float]]:
    with ExitStack() as stack:
        steps = {"plain": make_step(None, stack), "plain again": make_step(None, stack)}
        steps |= {name: make_step(recipe, stack) for name, recipe in RECIPES.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        order = list(steps)
        for round_ in range(pairs + 5):
            for name in order[round_ % len(order) :] + order[: round_ % len(order)]:
                begun = time.process_time()
                steps[name]()
                if round_ >= 5:
                    times[name].append(time.process_time() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    same = medians["plain again"] / medians["plain"]
    return {
        name: {"ratio": medians[name] / medians["plain"] / same, "raw": medians[name] / medians["plain"], "A/A": same}
        for name in RECIPES
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = measure(options.pairs)
    for name, figures in found.items():
        verdict = "ok" if figures["ratio"] <= LIMITS[name] else "over"
        print(f"{name:30} {figures['ratio']:.3f} (limit {LIMITS[name]:.2f}, {verdict}; A/A {figures['A/A']:.3f})")
    print(json.dumps(found))
    return int(any(figures["ratio"] > LIMITS[name] for name, figures in found.items()))


if __name__ == "__main__":
    raise SystemExit(main())
