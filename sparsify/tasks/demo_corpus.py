"""A small corpus for named entities, made up by templates, and a small BERT to learn it: no network, no files.

It is deterministic by seed, and hard in the ways real text is: names that also mean other things (Jordan, Apple,
Galaxy), sentences that say nothing of the type, lost capitals, and names in validation and test never seen in training.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TYPES = ("PERSON", "LOCATION", "ORGANISATION", "PRODUCT", "EVENT")
LABELS = ("O", *(f"{prefix}-{kind}" for kind in TYPES for prefix in "BI"))
SPLITS = {"train": 2400, "validation": 500, "test": 500}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNSEEN = 0.5  # share of the entities of validation and test drawn from names that training never shows
LOST_CAPITALS = 0.12

_FIRST = (
    "Anna Ben Carla Dmitri Elena Farid Grace Hiro Ines Jonas Kofi Lena Marco Nadia Omar Priya Rosa Samir Tara Yusuf"
)
_SYLLABLES = (
    "ba be bor cal cor da del dun el far gar hal ka kel lan lor ma mer mon nor or pel ra ros sa sel ta tor ul van"
)
_BOTH = {  # one spelling, several meanings; the sentence tells which
    "PERSON": "Jordan Austin Madison Florence Sydney Victoria Georgia Ford Morgan Dell",
    "LOCATION": "Jordan Austin Madison Florence Sydney Victoria Georgia Amazon",
    "ORGANISATION": "Apple Orange Shell Target Amazon Ford Morgan Dell Galaxy Oracle Mercury",
    "PRODUCT": "Galaxy Surface Echo Switch Mercury Oracle Victoria",
    "EVENT": "Horizon Harvest Eclipse Echo",
}
_ENDINGS = {
    "PERSON": ("{first} {name}", "{first} {name}", "{name}", "{both}", "{first} {both}"),
    "LOCATION": ("{name}", "{name}ville", "Port {name}", "North {name}", "{both}"),
    "ORGANISATION": ("{name}", "{name} Group", "{name} University", "Bank of {name}", "{both}", "{both} Group"),
    "PRODUCT": ("{name}", "{name} Pro", "{name} 3", "{both}", "{both} Mini"),
    "EVENT": ("{name} Festival", "{name} Cup", "{name} Summit", "{both} Festival", "{both}"),
}
_PLAIN = """
she peeled an apple and an orange before lunch
the shell of the egg broke on the surface of the table
he missed the target and pressed the wrong switch
a galaxy is a very large group of stars
the harvest was late because the horizon stayed grey
an echo of the bell came back from the north
we had no news of them last summer
mercury is a metal and an oracle tells the future
the bank will not open before the festival
my cup is on the table near the port
nobody at the university said anything about it
"""
_TEMPLATES = """
{PERSON} was born in {LOCATION} and later moved to {LOCATION} .
{PERSON} , who works for {ORGANISATION} , said that sales of the {PRODUCT} were poor .
the new {PRODUCT} by {ORGANISATION} costs more than the old one .
thousands of people came to the {EVENT} in {LOCATION} this year .
{ORGANISATION} has hired {PERSON} as its new director .
shares of {ORGANISATION} fell after the {EVENT} .
the mayor of {LOCATION} met {PERSON} before the {EVENT} .
my {PRODUCT} broke after two days , so I wrote to {ORGANISATION} .
{ORGANISATION} will open an office in {LOCATION} next spring .
" we were lucky , " said {PERSON} after the {EVENT} .
{PERSON} and {PERSON} drove from {LOCATION} to {LOCATION} .
{PERSON} showed the {PRODUCT} to reporters at the {EVENT} .
heavy rain in {LOCATION} delayed the start of the {EVENT} .
doctors in {LOCATION} thanked {ORGANISATION} for the help .
I bought a {PRODUCT} in {LOCATION} for half the price .
{ORGANISATION} sued {ORGANISATION} over the name of the {PRODUCT} .
the flight to {LOCATION} was late again .
her brother {PERSON} plays in {LOCATION} .
employees of {ORGANISATION} voted against the plan .
tickets for the {EVENT} sold out in an hour .
the battery of the {PRODUCT} lasts a day .
yesterday I read a story about {ANY} .
nobody here has ever heard of {ANY} .
I have lost my faith in {ANY} .
what do you think of {ANY} ?
they talked about {ANY} and {ANY} all night .
{ANY} was in the news again .
for her , {ANY} was the best of all .
the story of {ANY} begins with {ANY} .
"""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and their BIO tags, of equal length."""

    tokens: list[str]
    ner_tags: list[str]


class _Names:
    """The names that a split may use."""

    def __init__(self, seed: int, unseen: float) -> None:
        source = random.Random(f"names {seed}")
        made = sorted(
            {"".join(source.choices(_SYLLABLES.split(), k=source.choice((2, 3)))).title() for _ in range(900)}
        )
        source.shuffle(made)
        known, new = made[: len(made) * 2 // 3], made[len(made) * 2 // 3 :]
        self._unseen = unseen
        self._known = {kind: known[i :: len(TYPES)] for i, kind in enumerate(TYPES)}
        self._new = {kind: new[i :: len(TYPES)] for i, kind in enumerate(TYPES)}

    def pick(self, kind: str, source: random.Random) -> list[str]:
        pool = self._new if source.random() < self._unseen else self._known
        parts = {
            "name": source.choice(pool[kind]),
            "first": source.choice(_FIRST.split()),
            "both": source.choice(_BOTH[kind].split()),
        }
        return source.choice(_ENDINGS[kind]).format(**parts).split()


def sentences(split: str, count: int, seed: int = 0) -> Iterator[Sentence]:
    """Make up ``count`` sentences; the same for the same arguments.

    Args:
        split: train, validation or test; only the last two hold names that training never shows.
        count: How many.
        seed: Another seed gives another corpus, with other names.
    """
    source = random.Random(f"{split} {seed}")
    names = _Names(seed, 0.0 if split == "train" else UNSEEN)
    templates, plain = _TEMPLATES.strip().splitlines(), _PLAIN.strip().splitlines()
    for _ in range(count):
        pattern = source.choice(plain) if source.random() < 0.12 else source.choice(templates)
        yield _filled(pattern.split(), names, source)


def _filled(pattern: Sequence[str], names: _Names, source: random.Random) -> Sentence:
    tokens: list[str] = []
    tags: list[str] = []
    for word in pattern:
        if not word.startswith("{"):
            tokens.append(word)
            tags.append("O")
            continue
        kind = source.choice(TYPES) if word == "{ANY}" else word[1:-1]
        name = names.pick(kind, source)
        tokens += name
        tags += [f"B-{kind}"] + [f"I-{kind}"] * (len(name) - 1)
    if source.random() < LOST_CAPITALS:
        tokens = [token.lower() for token in tokens]
    else:
        tokens[0] = tokens[0][:1].upper() + tokens[0][1:]
    return Sentence(tokens, tags)


def write_corpus(directory: Path, seed: int = 0) -> dict[str, Path]:
    """Write ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` (columns ``tokens``, ``ner_tags``).

    Returns:
        Path by split.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = {split: directory / f"{split}.jsonl" for split in SPLITS}
    for split, path in files.items():
        lines = (
            json.dumps({"tokens": s.tokens, "ner_tags": s.ner_tags}) for s in sentences(split, SPLITS[split], seed)
        )
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def write_model(directory: Path, train_file: Path, seed: int = 0, hidden: int = 128, layers: int = 3) -> Path:
    """Write a BERT with random weights and a WordPiece tokenizer made from ``train_file``, as a Hugging Face folder.

    Returns:
        ``directory``.
    """
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    tokenizer = _tokenizer(train_file)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        intermediate_size=4 * hidden,
        max_position_embeddings=128,
        initializer_range=0.05,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        pad_token_id=_SPECIAL.index("[PAD]"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertForTokenClassification(config).save_pretrained(directory)
    BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False, model_max_length=128).save_pretrained(directory)
    return directory


def _tokenizer(train_file: Path) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    words = [json.loads(line)["tokens"] for line in train_file.read_text(encoding="utf-8").splitlines()]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        (" ".join(sentence) for sentence in words),
        trainers.WordPieceTrainer(vocab_size=800, special_tokens=_SPECIAL, show_progress=False),
    )
    cls, sep = (("[CLS]", _SPECIAL.index("[CLS]")), ("[SEP]", _SPECIAL.index("[SEP]")))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    return tokenizer
