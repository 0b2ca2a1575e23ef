"""Tiny transformers models from configs, and batches for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LABELS = ["O", "B-PER", "I-PER"]
FAMILIES = ("bert", "distilbert", "roberta", "electra", "deberta-v2")
VOCAB = 64
HEADS = {
    "token_classification": "TokenClassification",
    "text_classification": "SequenceClassification",
    "question_answering": "QuestionAnswering",
    "masked_language_modeling": "MaskedLM",
}


def tiny_model(task: str, family: str = "bert") -> nn.Module:
    """A model for a task, of the size of ``tiny_classifier``."""
    return tiny_classifier(family, head=HEADS[task])


def task_batch(task: str) -> dict[str, Tensor]:
    """Inputs and labels for a model of a task."""
    batch = token_batch()
    if task == "masked_language_modeling":
        return batch | {"labels": batch["input_ids"]}
    if task == "text_classification":
        return batch | {"labels": batch["input_ids"][:, 0] % len(LABELS)}
    if task == "question_answering":
        del batch["labels"]
        ends = torch.arange(len(batch["input_ids"]))
        return batch | {"start_positions": ends, "end_positions": ends + 1}
    return batch


def tiny_classifier(
    family: str = "bert", seed: int = 0, dropout: float = 0.0, head: str = "TokenClassification", **extra: Any
) -> nn.Module:
    """A model of two layers, hidden size 32; a token classifier, unless another head is asked for."""
    import transformers as hf

    torch.manual_seed(seed)
    labels = LABELS[:2] if head == "QuestionAnswering" else LABELS  # start and end
    common: dict[str, Any] = {
        "vocab_size": VOCAB,
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
        **extra,
    }
    sized = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if family == "distilbert":
        config = hf.DistilBertConfig(
            dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64, dropout=dropout,
            attention_dropout=dropout, **common
        )  # fmt: skip
        return getattr(hf, f"DistilBertFor{head}")(config)
    name = {"bert": "Bert", "roberta": "Roberta", "electra": "Electra", "deberta-v2": "DebertaV2"}[family]
    config_class, model_class = getattr(hf, f"{name}Config"), getattr(hf, f"{name}For{head}")
    if family == "electra":
        sized["embedding_size"] = 32
    if family == "deberta-v2":
        sized |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    return model_class(config_class(**{**sized, **common}))


def token_batch(seed: int = 0, size: int = 4, length: int = 10) -> dict[str, Tensor]:
    """Ids that the labels depend on, so that there is something to learn; the last columns are padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCAB, (size, length), generator=generator)
    labels = ids % len(LABELS)
    mask = torch.ones_like(ids)
    mask[0, length - 3 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels.masked_fill(mask == 0, -100)}


def examples(count: int = 32, length: int = 10) -> list[dict[str, Tensor]]:
    """Single examples, as a data set for a Trainer."""
    batch = token_batch(1, count, length)
    return [{name: value[i] for name, value in batch.items()} for i in range(count)]
