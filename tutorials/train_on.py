"""Train on from a compressed model: prune by one recipe, quantize by the next, store the result small.

Run it with ``python tutorials/train_on.py --output_dir runs/train_on`` (about a minute on a CPU, no network). The commands
are the ones that you would type.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

import sparsify
from sparsify.cli import export, train
from sparsify.tasks.demo_corpus import write_corpus, write_model

PRUNE = """
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 2.0}
  - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: 1e-3}
  - !WeightPruningModifier
    {score_type: snip_momentum, final_sparsity: 0.9, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.1}
"""
# It says nothing of zeros: those that are there are held.
QUANTIZE = """
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}
  - !SetLearningRateModifier {start_epoch: 0.0, learning_rate: 3e-4}
  - !QuantizationModifier {start_epoch: 0.0}
"""


def command(main: Callable[[list[str]], int], name: str, *words: object) -> None:
    """Run a command of sparsify's as the shell would."""
    argv = [str(word) for word in words]
    print(f"$ {shlex.join([name, *argv])}")
    if code := main(argv):
        raise SystemExit(code)


def size(folder: Path) -> int:
    """Bytes of a folder's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/train_on"))
    parser.add_argument("--sentences", type=int, default=800)
    options = parser.parse_args()
    work = options.output_dir.resolve()
    files = write_corpus(work / "data")
    write_model(work / "base", files["train"])
    (work / "prune.yaml").write_text(PRUNE)
    (work / "quantize.yaml").write_text(QUANTIZE)
    data = ["--train_file", files["train"], "--validation_file", files["validation"], "--report_to", "none"]
    data += ["--max_train_samples", options.sentences, "--do_train", "--do_eval"]

    def train_on(start: str, recipe: str, out: str, *more: str) -> Path:
        model = ["token_classification", "--model_name_or_path", work / start, "--recipe", work / recipe]
        command(train.main, "sparsify-train", *model, "--output_dir", work / out, *data, *more)
        return work / out

    pruned = train_on("base", "prune.yaml", "pruned")
    small = train_on("pruned", "quantize.yaml", "small", "--save_compressed")

    # What is saved is both recipes, so the folder says all that was done to the model, and can be built again.
    for stage in sparsify.load_recipe(small).recipe.stages:
        print(f"{stage.name}: {', '.join(spec.type for spec in stage.modifiers)}")
    before, after = sparsify.load_model(pruned), sparsify.load_model(small)
    lost = sum(
        int(((w == 0) & (after.get_parameter(n) != 0)).sum()) for n, w in before.named_parameters() if w.ndim > 1
    )
    print(f"zeros that were lost: {lost}")
    print(f"weights: {size(pruned):,} bytes pruned, {size(small):,} compressed")
    command(export.main, "sparsify-export", "--model_path", small, "--samples", files["validation"])


if __name__ == "__main__":
    main()
