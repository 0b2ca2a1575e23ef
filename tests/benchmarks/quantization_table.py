"""What quantization costs on a task: dense, dynamic, static and aware-training models, in torch and in ONNX Runtime.

    python tests/benchmarks/quantization_table.py token_classification --dense runs/dense-42 runs/dense-43 \
        --aware runs/int8-42 runs/int8-43 --metric f1 --output_dir /tmp/table \
        --flags "--train_file train.jsonl --validation_file dev.jsonl --test_file test.jsonl --max_seq_length 64"

Every figure comes from the commands that a user would run: `sparsify-train` quantizes the dense models after training and
evaluates all of them in torch (fp32) and with `--inference_with_ort`, `sparsify-export` writes the files, and
`sparsify-benchmark` times those of the first seed side by side. What was done is kept in the output folder and not done
again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SPLITS = ("eval", "predict")
RUNTIMES = {"torch": [], "ort": ["--inference_with_ort"]}


def command(name: str, *options: str) -> str:
    """What one of our commands prints; its end on standard error where it fails."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(name)), *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name} {shlex.join(options)}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    return done.stdout


def figures(args: argparse.Namespace, model: str, folder: Path, approach: str | None) -> dict[str, float]:
    """The metric of a model on both splits and in both runtimes, in points, and the bytes of its ONNX file."""
    quantize = [] if approach is None else ["--apply_quantization", "--quantization_approach", approach]
    found: dict[str, float] = {}
    for runtime, flag in RUNTIMES.items():
        results = folder / runtime / "all_results.json"
        if not results.is_file():
            command(
                *("sparsify-train", args.task, "--model_name_or_path", model, "--output_dir", str(folder / runtime)),
                *("--do_eval", "--do_predict", "--use_cpu", "--report_to", "none", *args.flags, *quantize, *flag),
            )
        scores = json.loads(results.read_text())
        found |= {f"{split} {runtime}": args.scale * scores[f"{split}_{args.metric}"] for split in SPLITS}
    saved = folder / "torch" if approach else Path(model)
    deployment = folder / "deployment"
    if not (deployment / "model.onnx").is_file():
        command("sparsify-export", "--model_path", str(saved), "--output_dir", str(deployment), *args.export)
    return found | {"bytes": float((deployment / "model.onnx").stat().st_size)}


def timed(args: argparse.Namespace, kinds: list[str]) -> dict[str, float]:
    """Time of each kind's first file as a share of the dense one's, and the A/A ratio."""
    folders = [str(args.output_dir / f"{kind}-0" / "deployment") for kind in kinds]
    report: dict[str, Any] = json.loads(command("sparsify-benchmark", *folders, *args.timing, "--json"))
    (args.output_dir / "benchmark.json").write_text(json.dumps(report, indent=2))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--dense", nargs="+", required=True, help="trained models, one a seed")
    parser.add_argument("--aware", nargs="*", default=[], help="models of quantization-aware training, one a seed")
    parser.add_argument("--metric", default="f1")
    parser.add_argument("--scale", type=float, default=100.0, help="points in 1.0 of the metric (1 where it is points)")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--flags", type=shlex.split, default=[], help="of sparsify-train: files and lengths")
    parser.add_argument(
        "--export", type=shlex.split, default=[], help="of sparsify-export: samples to check the file on"
    )
    parser.add_argument("--timing", type=shlex.split, default=[], help="of sparsify-benchmark")
    parser.add_argument("--no_timing", action="store_true")
    args = parser.parse_args()
    rows = {
        "dense": [(model, None) for model in args.dense],
        "dynamic": [(model, "dynamic") for model in args.dense],
        "static": [(model, "static") for model in args.dense],
        "aware": [(model, None) for model in args.aware],
    }
    print(
        "| run | seed | validation torch | validation ORT | test torch | test ORT | MB |\n|---|---|---|---|---|---|---|"
    )
    for kind, models in rows.items():
        found = []
        for seed, (model, approach) in enumerate(models):
            one = figures(args, model, args.output_dir / f"{kind}-{seed}", approach)
            found.append(one)
            print(line(kind, str(seed), one), flush=True)
        if len(found) > 1:
            print(line(kind, "mean", {key: statistics.mean(one[key] for one in found) for key in found[0]}))
    if not args.no_timing:
        print(json.dumps(timed(args, [kind for kind, models in rows.items() if models]), indent=2))


def line(kind: str, seed: str, one: dict[str, float]) -> str:
    """A row of the table."""
    cells = [f"{one[f'{split} {runtime}']:.2f}" for split in SPLITS for runtime in RUNTIMES]
    return f"| {kind} | {seed} | {' | '.join(cells)} | {one['bytes'] / 1e6:.1f} |"


if __name__ == "__main__":
    main()
