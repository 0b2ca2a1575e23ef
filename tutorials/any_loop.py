"""A recipe in your own training loop: prune, distil and quantize a small tagger, export it, and check the export.

Run it with ``python tutorials/any_loop.py --output_dir runs/any_loop`` (about a minute on a CPU, no network). The data
is a small corpus that the package makes up; put your own model, loader and loop in its place.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoModelForTokenClassification, AutoTokenizer

import sparsify
from sparsify.tasks.demo_corpus import write_corpus, write_model

# What happens to the model, and when. `eval(...)` is arithmetic on the variables above it, nothing more.
RECIPE = """
num_epochs: 4
sparsity: 0.7

modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
    {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: 1e-3, final_lr: 0}
  - !GMPruningModifier
    params: ['re:.*encoder.*(query|key|value|dense).weight']
    init_sparsity: 0.0
    final_sparsity: eval(sparsity)
    start_epoch: 0.0
    end_epoch: eval(num_epochs / 2)
    update_frequency: 0.1
  - !QuantizationModifier
    start_epoch: eval(num_epochs / 2)
    disable_quantization_observer_epoch: eval(num_epochs - 1)
  - !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [logits]}
"""


def batches(
    rows: list[dict[str, Any]], tokenizer: Any, labels: dict[str, int]
) -> Callable[[list[int]], dict[str, Tensor]]:
    """A collate function: words to ids, tags to the first sub-token of each word."""

    def collate(indices: list[int]) -> dict[str, Tensor]:
        words, tags = [rows[i]["tokens"] for i in indices], [rows[i]["ner_tags"] for i in indices]
        batch = tokenizer(words, is_split_into_words=True, padding=True, truncation=True, return_tensors="pt")
        ids = torch.full_like(batch["input_ids"], -100)
        for row, sentence in enumerate(tags):
            seen = None
            for position, word in enumerate(batch.word_ids(row)):
                if word is not None and word != seen:
                    ids[row, position] = labels[sentence[word]]
                seen = word
        return {**batch, "labels": ids}

    return collate


def train(model: nn.Module, loader: DataLoader, epochs: int, manager: Any = None, teacher: Any = None) -> nn.Module:
    """An ordinary loop. With a recipe, two lines are new: ``attach`` and ``run.loss``."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    manager = manager or sparsify.load_recipe(
        f"modifiers: [!EpochRangeModifier {{start_epoch: 0, end_epoch: {epochs}}}]\n"
    )
    model.train()
    with manager.attach(model, optimizer, steps_per_epoch=len(loader), teacher=teacher) as run:
        for epoch in range(epochs):
            for batch in loader:
                out = model(**batch)
                loss = run.loss(out.loss, inputs=batch, outputs=out)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {run.values()}")
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/any_loop"))
    parser.add_argument("--sentences", type=int, default=1200)
    options = parser.parse_args()
    torch.manual_seed(0)

    files = write_corpus(options.output_dir / "data")
    start = write_model(options.output_dir / "model", files["train"])
    tokenizer = AutoTokenizer.from_pretrained(start)
    dense = AutoModelForTokenClassification.from_pretrained(start)
    rows = [json.loads(line) for line in files["train"].read_text().splitlines()][: options.sentences]
    loader: DataLoader = DataLoader(
        range(len(rows)), batch_size=32, shuffle=True, collate_fn=batches(rows, tokenizer, dense.config.label2id)
    )

    dense = train(dense, loader, epochs=4)
    small = copy.deepcopy(dense)
    manager = sparsify.load_recipe(RECIPE, recipe_args={"sparsity": 0.8})
    train(small, loader, manager.max_epochs, manager, teacher=dense)

    report = manager.report(small)
    print(
        f"sparsity of the prunable layers: {report.sparsity_prunable:.1%}, {report.bytes / report.dense_bytes:.0%} of the size"
    )

    folder = options.output_dir / "compressed"
    small.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    manager.recipe.save(folder / "recipe.yaml")  # load_model and export_onnx re-create the quantizers from it
    exported = sparsify.export_onnx(folder)
    print(f"exported to {exported.deployment}, equal to the model: {exported.passed}")


if __name__ == "__main__":
    main()
