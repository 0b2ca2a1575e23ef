"""What distillation costs per training step: CPU time against a plain step, interleaved in one process.

    OMP_NUM_THREADS=1 python tests/benchmarks/distill_cost.py --pairs 40

Student and teacher are MiniLM's encoder (12 layers, hidden size 384) with random weights, batch 8, sentences of 8 to 48
tokens, AdamW. Each figure is the ratio of the medians, divided by the ratio of two identical plain loops (A/A) measured
in the same rounds; each round takes every loop over the same batch, in turning order.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertForTokenClassification

from sparsify.distillation.answers import keep_answers
from sparsify.distillation.cache import EXAMPLE_INDEX
from sparsify.distillation.teacher import Teacher
from sparsify.manager import load_recipe

RECIPE = """
training_modifiers: [!EpochRangeModifier {start_epoch: 0.0, end_epoch: 1000.0}]
distillation_modifiers: [!DistillationModifier {hardness: 0.5, temperature: 2.0}]
"""
CACHED = "distilled, from a cache"
LIMITS = {CACHED: 1.08}
WARM_UP, BATCH, EXAMPLES = 3, 8, 128


def make_model(seed: int) -> BertForTokenClassification:
    torch.manual_seed(seed)
    shape = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536}
    return BertForTokenClassification(BertConfig(vocab_size=30522, num_labels=13, **shape))


def make_features() -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(8, 49, (EXAMPLES,), generator=generator).tolist()
    return [
        {
            "input_ids": torch.randint(1, 30522, (length,), generator=generator).tolist(),
            "attention_mask": [1] * length,
            "labels": torch.randint(0, 13, (length,), generator=generator).tolist(),
        }
        for length in lengths
    ]


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    filler = {"labels": -100}
    return {
        key: pad_sequence([torch.tensor(row[key]) for row in rows], batch_first=True, padding_value=filler.get(key, 0))
        for key in rows[0]
    }


def make_step(teacher: Teacher | None, stack: ExitStack) -> Callable[[dict[str, Any]], None]:
    model = make_model(0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    run = None
    if teacher is not None:
        run = stack.enter_context(load_recipe(RECIPE).attach(model, optimizer, steps_per_epoch=10_000, teacher=teacher))

    def step(batch: dict[str, Any]) -> None:
        outputs = model(**{key: value for key, value in batch.items() if key != EXAMPLE_INDEX})
        loss = outputs.loss if run is None else run.loss(outputs.loss, inputs=batch, outputs=outputs)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(pairs: int, folder: Path) -> dict[str, dict[str, float]]:
    features = make_features()
    cache, _ = keep_answers(Teacher(make_model(1)), features, collate, folder, batch_size=BATCH)
    with ExitStack() as stack:
        steps = {"plain": make_step(None, stack), "plain again": make_step(None, stack)}
        steps["distilled, teacher run each step"] = make_step(Teacher(make_model(1)), stack)
        steps[CACHED] = make_step(Teacher(make_model(1)).answer_from(cache), stack)
        times: dict[str, list[float]] = {name: [] for name in steps}
        order = list(steps)
        for round_ in range(pairs + WARM_UP):
            indices = [(round_ * BATCH + i) % EXAMPLES for i in range(BATCH)]
            batch: dict[str, Any] = {**collate([features[i] for i in indices]), EXAMPLE_INDEX: indices}
            for name in order[round_ % len(order) :] + order[: round_ % len(order)]:
                begun = time.process_time()
                steps[name](batch)
                if round_ >= WARM_UP:
                    times[name].append(time.process_time() - begun)
    return _ratios(times)


def _ratios(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    same = medians["plain again"] / medians["plain"]
    return {
        name: {"ratio": median / medians["plain"] / same, "A/A": same, "seconds": median}
        for name, median in medians.items()
        if not name.startswith("plain")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.pairs, Path(folder))
    for name, figures in found.items():
        limit = f"limit {LIMITS[name]:.2f}, " if name in LIMITS else ""
        print(f"{name:34} {figures['ratio']:.3f} ({limit}A/A {figures['A/A']:.3f})")
    print(json.dumps(found))
    return int(any(figures["ratio"] > LIMITS.get(name, float("inf")) for name, figures in found.items()))


if __name__ == "__main__":
    raise SystemExit(main())
