"""Remove half of a tagger's attention heads and neurons while it trains, then quantize it: a smaller, faster ONNX file.

Run it with ``python tutorials/shrink.py --output_dir runs/shrink`` (about a minute on a CPU, no network). The data is a
small corpus that the package makes up; docs/shrink.md explains what happens.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datasets import Dataset
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

import sparsify
from sparsify.tasks.demo_corpus import write_corpus, write_model

# Heads and neurons are masked step by step in the first two epochs, removed at epoch 2, and what is left is quantized.
RECIPE = """
num_epochs: 5
share: 0.5
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
    {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: 1e-3, final_lr: 0}
  - !StructuredPruningModifier
    mask_type: heads
    init_sparsity: 0.0
    final_sparsity: eval(share)
    start_epoch: 0.0
    end_epoch: 2.0
    update_frequency: 0.25
  - !StructuredPruningModifier
    mask_type: neurons
    score_type: taylor
    init_sparsity: 0.0
    final_sparsity: eval(share)
    start_epoch: 0.0
    end_epoch: 2.0
    update_frequency: 0.1
  - !LayerThinningModifier {start_epoch: 2.0}
  - !QuantizationModifier {start_epoch: 3.0, disable_quantization_observer_epoch: 4.5}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/shrink"))
    parser.add_argument("--sentences", type=int, default=1200)
    options = parser.parse_args()

    files = write_corpus(options.output_dir / "data")
    start = write_model(options.output_dir / "model", files["train"])
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForTokenClassification.from_pretrained(start)
    rows = [json.loads(line) for line in files["train"].read_text().splitlines()][: options.sentences]

    def encode(row: dict) -> dict:
        batch = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
        words = batch.word_ids()
        first = [w is not None and w != previous for previous, w in zip([None, *words], words, strict=False)]
        tags = [row["ner_tags"][w] if begins else None for begins, w in zip(first, words, strict=True)]
        return {**batch, "labels": [-100 if tag is None else model.config.label2id[tag] for tag in tags]}

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(options.output_dir / "run"), per_device_train_batch_size=32, report_to=[], save_strategy="no"
        ),
        train_dataset=Dataset.from_list([encode(row) for row in rows]),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
    )
    before = sum(p.numel() for p in model.bert.encoder.parameters())
    manager = sparsify.load_recipe(RECIPE)
    manager.wrap(trainer).train()

    after = sum(p.numel() for p in model.bert.encoder.parameters())
    print(f"parameters of the encoder: {before:,} -> {after:,}")
    layer = model.bert.encoder.layer[0]
    print(
        f"first layer: {layer.attention.self.num_attention_heads} heads, {layer.intermediate.dense.out_features} neurons"
    )

    folder = options.output_dir / "small"
    trainer.save_model(str(folder))  # config.json holds the widths, recipe.yaml the quantizers
    exported = sparsify.export_onnx(folder)
    print(f"exported to {exported.deployment}, {exported.precision}, equal to the model: {exported.passed}")


if __name__ == "__main__":
    main()
