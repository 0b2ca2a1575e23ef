"""A tiny NER task that a tiny BERT learns in seconds: model folder, tokenizer, data files."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PEOPLE = ("ada lovelace", "alan turing", "grace hopper", "edsger")
PLACES = ("london", "new york", "oslo", "san jose")
PLAIN = ("met", "saw", "in", "near", "and", "the", "old", "friend", ".", "left")
LABELS = ["O", "B-loc", "I-loc", "B-per", "I-per"]


def words() -> list[str]:
    """The vocabulary's words."""
    return sorted({w for text in (*PEOPLE, *PLACES, *PLAIN) for w in text.split()})


def rows(count: int, seed: int = 0) -> list[dict[str, list[str]]]:
    """Sentences with ``tokens`` and ``ner_tags``."""
    rng = random.Random(seed)
    return [_row(rng) for _ in range(count)]


def _row(rng: random.Random) -> dict[str, list[str]]:
    parts = [(rng.choice(PEOPLE), "per"), (rng.choice(PLAIN), ""), (rng.choice(PLAIN), ""), (rng.choice(PLACES), "loc")]
    rng.shuffle(parts)
    tokens, tags = [], []
    for text, kind in parts:
        for index, word in enumerate(text.split()):
            tokens.append(word)
            tags.append("O" if not kind else f"{'I' if index else 'B'}-{kind}")
    return {"tokens": tokens, "ner_tags": tags}


def write_jsonl(path: Path, data: Sequence[Any]) -> Path:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")
    return path


def tokenizer(limit: int = 24) -> Any:
    """A WordPiece tokenizer that splits words it lacks into letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = list("abcdefghijklmnopqrstuvwxyz")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    listed = [*specials, *dict.fromkeys([*words(), *letters, *(f"##{c}" for c in letters)])]
    vocab = {word: i for i, word in enumerate(listed)}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=limit,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **named,
    )


def model(labels: Sequence[str] | None = None, head: str = "TokenClassification", seed: int = 0, **extra: Any) -> Any:
    """A tiny BERT; with generic labels unless some are given."""
    import torch
    import transformers

    torch.manual_seed(seed)
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}} if labels else {}
    config = transformers.BertConfig(
        vocab_size=len(tokenizer()),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **names,
        **extra,
    )
    return getattr(transformers, f"BertFor{head}")(config)


def model_folder(folder: Path, labels: Sequence[str] | None = None, **options: Any) -> Path:
    """A model folder with tokenizer; a masked language model where there are no labels."""
    model(labels, head="TokenClassification" if labels else "MaskedLM", **options).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def data_files(folder: Path, train: int = 48, other: int = 16) -> dict[str, Path]:
    """``train``, ``validation`` and ``test`` files."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"train": train, "validation": other, "test": other}
    return {name: write_jsonl(folder / f"{name}.jsonl", rows(n, i)) for i, (name, n) in enumerate(counts.items())}
