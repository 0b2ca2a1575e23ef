"""A teacher that is asked once: distil a small tagger from answers kept on disk, and see that nothing is lost.

Run it with ``python tutorials/cached_teacher.py --output_dir runs/cached_teacher`` (a minute on a CPU, no network). Run
it again, and the answers are found. ``sparsify-train ... --generate_teacher_logits`` does the same with one flag.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

import sparsify
from sparsify.distillation.answers import keep_answers
from sparsify.distillation.cache import EXAMPLE_INDEX
from sparsify.distillation.teacher import Teacher
from sparsify.tasks.demo_corpus import write_corpus, write_model

EPOCHS = "modifiers: [!EpochRangeModifier {start_epoch: 0, end_epoch: 2}]\n"
DISTIL = EPOCHS + "distillation_modifiers: [!DistillationModifier {hardness: 0.5, temperature: 2.0}]\n"


def encode(rows: list[dict[str, Any]], tokenizer: Any, labels: dict[str, int]) -> list[dict[str, list[int]]]:
    """One mapping an example, without padding: what the model reads, and a label on the first sub-token of each word."""
    batch = tokenizer([row["tokens"] for row in rows], is_split_into_words=True, truncation=True)
    features = []
    for index, row in enumerate(rows):
        words = batch.word_ids(index)
        first = [word is not None and word != before for word, before in zip(words, [None, *words], strict=False)]
        tags = [labels[row["ner_tags"][w]] if new else -100 for w, new in zip(words, first, strict=True)]
        features.append({**{key: batch[key][index] for key in batch}, "labels": tags})
    return features


def train(model: nn.Module, features: list[Any], collate: Any, recipe: str, teacher: Any = None) -> list[float]:
    """An ordinary loop, its order set by a seed. Each batch says which features it holds; the model is not told."""
    manager, losses = sparsify.load_recipe(recipe), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    with manager.attach(model.train(), optimizer, steps_per_epoch=len(features) // 32, teacher=teacher) as run:
        for _ in range(manager.max_epochs):
            for indices in torch.randperm(len(features), generator=generator).split(32)[: len(features) // 32]:
                batch: dict[str, Tensor] = dict(collate([dict(features[i]) for i in indices]))
                out = model(**batch)
                loss = run.loss(out.loss, inputs={**batch, EXAMPLE_INDEX: indices}, outputs=out)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/cached_teacher"))
    parser.add_argument("--sentences", type=int, default=640)
    options = parser.parse_args()
    torch.manual_seed(0)

    files = write_corpus(options.output_dir / "data")
    start = write_model(options.output_dir / "model", files["train"])
    tokenizer = AutoTokenizer.from_pretrained(start)
    student = AutoModelForTokenClassification.from_pretrained(start)
    for module in student.modules():  # without dropout both runs below see the same student
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    rows = [json.loads(line) for line in files["train"].read_text().splitlines()][: options.sentences]
    features, collate = encode(rows, tokenizer, student.config.label2id), DataCollatorForTokenClassification(tokenizer)

    dense = copy.deepcopy(student)
    print(f"the teacher learns: loss {train(dense, features, collate, EPOCHS)[-1]:.3f}")

    begun = time.perf_counter()
    running = train(copy.deepcopy(student), features, collate, DISTIL, dense)
    print(f"the teacher runs in each step: loss {running[-1]:.4f}, {time.perf_counter() - begun:.1f} s")

    begun = time.perf_counter()
    teacher = Teacher(dense, student)
    cache, asked = keep_answers(teacher, features, collate, options.output_dir / "answers")
    print(f"answers for {cache.count} sentences, {asked} of them asked for now, {cache.size / 1e6:.1f} MB")
    kept = train(copy.deepcopy(student), features, collate, DISTIL, teacher.answer_from(cache))
    print(f"its answers are read: loss {kept[-1]:.4f}, {time.perf_counter() - begun:.1f} s")
    print(f"largest difference of a step's loss: {max(abs(a - b) for a, b in zip(running, kept, strict=True)):.1e}")


if __name__ == "__main__":
    main()
