"""Prune a text classifier in a plain loop with Accelerate: N:M, blocks, channels; then export it and check the export.

The flags are those of the ``run_glue_no_trainer.py`` that Neural Compressor had:

    python tutorials/glue_no_trainer.py --model_name_or_path DENSE --task_name qnli \\
        --train_file train.jsonl --validation_file validation.jsonl --max_length 128 \\
        --per_device_train_batch_size 16 --learning_rate 1e-4 --num_train_epochs 15 --weight_decay 1e-3 \\
        --do_prune --target_sparsity 0.9 --pruning_pattern 4x1 --pruning_frequency 50 \\
        --sparsity_warm_epochs 1 --cooldown_epochs 5 --lr_scheduler_type constant --distill_loss_weight 5 \\
        --output_dir sparse

Without files it takes ``../shared/data/qnli_mini`` where that is there and a model is named, and pairs that it makes up
otherwise, with a small untrained model, so that it runs without network: does the sentence answer "who ?" or "where ?".
Without ``--do_prune`` it trains the dense model that pruning starts from.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_scheduler
from transformers.utils import logging as hf_logging

import sparsify
from sparsify.tasks.demo_corpus import sentences, write_corpus, write_model
from sparsify.tasks.readers import read_table
from sparsify.tasks.text_classification.columns import texts
from sparsify.tasks.text_classification.glue import GLUE
from sparsify.tasks.text_classification.metrics import text_metrics

LOCAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "qnli_mini"

# What happens to the model, and when. The head and the pooler are left out, as WeightPruningModifier does by itself.
EPOCHS = "modifiers: [!EpochRangeModifier {start_epoch: 0.0, end_epoch: %(epochs)s}]\n"
PRUNE = """
pruning_modifiers:
  - !WeightPruningModifier
    score_type: snip_momentum
    pruning_scope: global
    inter_func: exp
    mask_type: '%(pattern)s'
    final_sparsity: %(sparsity)s
    start_epoch: %(warm)s
    end_epoch: %(end)s
    update_frequency: %(frequency)s
"""
# The last hidden state follows the teacher's in place of the loss on labels, and the head keeps its weights (2203.14001).
DISTIL = """
distillation_modifiers:
  - !HiddenStateDistillationModifier {gain: %(weight)s, task_weight: 0.0}
"""


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model_name_or_path")
    add("--teacher_model_name_or_path", help="default: the model as it is at the start")
    add("--task_name", choices=sorted(set(GLUE) - {"stsb"}), help="names the columns and the metrics")
    add("--train_file")
    add("--validation_file")
    add("--output_dir", type=Path, default=Path("runs/glue_no_trainer"))
    add("--max_length", type=int, default=128)
    add("--per_device_train_batch_size", type=int, default=8)
    add("--per_device_eval_batch_size", type=int, default=8)
    add("--learning_rate", type=float, default=5e-5)
    add("--weight_decay", type=float, default=0.0)
    add("--num_train_epochs", "--num_train_epoch", type=int, default=3)
    add("--gradient_accumulation_steps", type=int, default=1)
    add("--lr_scheduler_type", default="linear")
    add("--num_warmup_steps", type=int, default=0)
    add("--max_train_samples", type=int)
    add("--seed", type=int, default=0)
    add("--do_prune", nargs="?", const=True, default=False, type=lambda text: text.lower() in ("true", "1", "yes"))
    add("--target_sparsity", type=float, default=0.8)
    add("--pruning_pattern", default="4x1", help="4x1, 2:4, 1xchannel, unstructured, ...")
    add("--pruning_frequency", type=int, default=-1, help="steps between two updates (-1: forty in all)")
    add("--sparsity_warm_epochs", type=float, default=0.0)
    add("--cooldown_epochs", type=float, default=0.0)
    add("--distill_loss_weight", type=float, default=0.0)
    return parser.parse_args()


def made_up_pairs(split: str, count: int) -> list[dict[str, Any]]:
    """A question and a sentence; whether the sentence names a person, or a place."""
    rows, source = [], random.Random(split)
    for sentence in sentences(split, count):
        question, kind = source.choice([("who ?", "PERSON"), ("where ?", "LOCATION")])
        answered = any(tag.endswith(kind) for tag in sentence.ner_tags)
        rows.append({"question": question, "sentence": " ".join(sentence.tokens), "label": int(answered)})
    return rows


def data_and_model(options: argparse.Namespace) -> tuple[dict[str, Path], Path | str]:
    """Files by split, and the model to start from."""
    if options.train_file and options.validation_file and options.model_name_or_path:
        files = {"train": Path(options.train_file), "validation": Path(options.validation_file)}
        return files, options.model_name_or_path
    if options.model_name_or_path and LOCAL.is_dir():
        files = {"train": LOCAL / "train.jsonl.gz", "validation": LOCAL / "validation.jsonl"}
        return files, options.model_name_or_path
    folder = options.output_dir / "data"
    files = {}
    corpus = write_corpus(folder / "corpus")  # its words become the vocabulary
    for split, count in (("train", 1600), ("validation", 300)):
        files[split] = folder / f"{split}.jsonl"
        files[split].write_text("".join(json.dumps(row) + "\n" for row in made_up_pairs(split, count)))
    return files, options.model_name_or_path or write_model(folder / "model", corpus["train"])


def loader(path: Path, tokenizer: Any, options: argparse.Namespace, size: int, shuffle: bool) -> DataLoader:
    usual = GLUE[options.task_name].columns if options.task_name else ()
    found = texts(read_table(path), columns=None, usual=usual, label=None).first(options.max_train_samples)
    assert found.cells is not None

    def collate(rows: list[int]) -> Any:
        columns = [list(column) for column in zip(*(found.texts[i] for i in rows), strict=True)]
        batch = tokenizer(*columns, truncation=True, max_length=options.max_length, padding=True, return_tensors="pt")
        return batch | {"labels": torch.tensor([int(found.cells[i]) for i in rows])}

    return DataLoader(range(len(found)), batch_size=size, shuffle=shuffle, collate_fn=collate)


def recipe(options: argparse.Namespace) -> str:
    text, end = EPOCHS, options.num_train_epochs - options.cooldown_epochs
    if options.do_prune:
        text += PRUNE
    if options.distill_loss_weight > 0:
        text += DISTIL
    forty = (end - options.sparsity_warm_epochs) / 40
    return text % {
        "epochs": options.num_train_epochs,
        "pattern": options.pruning_pattern,
        "sparsity": options.target_sparsity,
        "warm": options.sparsity_warm_epochs,
        "end": end,
        "frequency": f'"{options.pruning_frequency} steps"' if options.pruning_frequency > 0 else forty,
        "weight": options.distill_loss_weight,
    }


@torch.no_grad()
def measured(model: Any, batches: DataLoader, accelerator: Accelerator, task: str | None) -> dict[str, float]:
    model.eval()
    rows = []
    for batch in batches:
        logits = model(**batch).logits
        rows.append(accelerator.gather_for_metrics((logits, batch["labels"])))
    model.train()
    logits, labels = (torch.cat(part).float().cpu().numpy() for part in zip(*rows, strict=True))
    problem, glue = "single_label_classification", GLUE[task] if task else None
    return text_metrics(logits, labels.astype(int), problem=problem, classes=logits.shape[1], glue=glue)


def optimizer_of(model: Any, options: argparse.Namespace) -> torch.optim.Optimizer:
    betas = (0.9, 0.9) if options.do_prune else (0.9, 0.999)
    return torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=betas, weight_decay=options.weight_decay
    )


def train(model: Any, files: dict[str, Path], tokenizer: Any, options: argparse.Namespace) -> sparsify.ModifierManager:
    accelerator = Accelerator(gradient_accumulation_steps=options.gradient_accumulation_steps)
    optimizer = optimizer_of(model, options)
    training = loader(files["train"], tokenizer, options, options.per_device_train_batch_size, shuffle=True)
    validation = loader(files["validation"], tokenizer, options, options.per_device_eval_batch_size, shuffle=False)
    model, optimizer, training, validation = accelerator.prepare(model, optimizer, training, validation)
    steps = math.ceil(len(training) / options.gradient_accumulation_steps)
    scheduler = get_scheduler(
        options.lr_scheduler_type,
        optimizer,
        num_warmup_steps=options.num_warmup_steps * accelerator.num_processes,
        num_training_steps=steps * options.num_train_epochs * accelerator.num_processes,
    )
    scheduler = accelerator.prepare(scheduler)
    name = options.teacher_model_name_or_path
    teacher = AutoModelForSequenceClassification.from_pretrained(name) if name else "self"

    manager = sparsify.load_recipe(recipe(options))
    with manager.attach(model, optimizer, steps_per_epoch=steps, teacher=teacher) as run:
        for epoch in range(options.num_train_epochs):
            for batch in training:
                with accelerator.accumulate(model):
                    out = model(**batch)
                    loss = run.loss(out.loss, inputs=batch, outputs=out)
                    accelerator.backward(loss)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
            scores = measured(model, validation, accelerator, options.task_name)
            said = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
            accelerator.print(f"epoch {epoch + 1}: loss {loss.item():.4f}, {said}, {run.values()}")
    return manager


def main() -> None:
    options = flags()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    set_seed(options.seed)
    files, start = data_and_model(options)
    tokenizer = AutoTokenizer.from_pretrained(start)
    labels = {"id2label": {0: "0", 1: "1"}, "label2id": {"0": 0, "1": 1}}
    model = AutoModelForSequenceClassification.from_pretrained(start, ignore_mismatched_sizes=True, **labels)
    manager = train(model, files, tokenizer, options)
    if not PartialState().is_main_process:
        return
    small = model.cpu().eval()  # Accelerate wraps it for several devices; the weights are these
    small.save_pretrained(options.output_dir)
    tokenizer.save_pretrained(options.output_dir)
    manager.recipe.save(options.output_dir / "recipe.yaml")
    print(f"sparsity of the prunable layers: {manager.report(small).sparsity_prunable:.2%}")
    exported = sparsify.export_onnx(options.output_dir, samples=files["validation"], max_samples=64)
    print(f"exported to {exported.deployment}, equal to the model: {exported.passed}")


if __name__ == "__main__":
    main()
