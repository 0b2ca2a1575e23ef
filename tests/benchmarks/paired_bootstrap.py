"""Is a compressed classifier worse than its control, or is it chance? Paired bootstrap over the examples of both.

    python tests/benchmarks/paired_bootstrap.py --data validation.jsonl test.jsonl \
        --control control/validation.jsonl control/test.jsonl --run small/validation.jsonl small/test.jsonl

Each prediction file is the `predictions.jsonl` that `sparsify-train text_classification --do_predict` writes for the data
file in its place; the files are pooled. The interval is of the difference in accuracy (run less control, in points) when the
examples are drawn anew, the same ones for both (percentile method, `scipy.stats.bootstrap`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap


def read(paths: list[Path], field: str) -> list[str]:
    return [str(json.loads(line)[field]) for path in paths for line in path.read_text("utf-8").splitlines()]


def correct(paths: list[Path], gold: list[str]) -> np.ndarray:
    predicted = read(paths, "predicted")
    if len(predicted) != len(gold):
        raise SystemExit(f"{', '.join(map(str, paths))}: {len(predicted)} predictions for {len(gold)} examples")
    return np.array([a == b for a, b in zip(predicted, gold, strict=True)], dtype=float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--control", type=Path, nargs="+", required=True)
    parser.add_argument("--run", type=Path, nargs="+", required=True)
    parser.add_argument("--label_column", default="label")
    parser.add_argument("--resamples", type=int, default=10_000)
    options = parser.parse_args()
    gold = read(options.data, options.label_column)
    control, run = correct(options.control, gold), correct(options.run, gold)
    found = bootstrap(
        (control, run),
        lambda a, b, axis: 100 * (b.mean(axis=axis) - a.mean(axis=axis)),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=options.resamples,
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    a, b = 100 * control.mean(), 100 * run.mean()
    print(
        f"control {a:.2f}, run {b:.2f} ({len(gold)} examples): {b - a:+.2f} points, 95% interval {low:+.2f} to {high:+.2f}"
    )
    print(f"relative {100 * (b - a) / a:+.2f}% ({100 * low / a:+.2f}% to {100 * high / a:+.2f}%)")


if __name__ == "__main__":
    main()
