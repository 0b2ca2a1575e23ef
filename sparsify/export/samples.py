"""Real or generated inputs on which an exported graph is compared with its model."""

from __future__ import annotations

import ast
import csv
import difflib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsify.errors import InputError
from sparsify.export.squad import is_nested, questions_of

Sample = str | list[str] | tuple[str, str]
"""A text, a list of words, or a pair of texts."""
PAIRS = (
    ("question", "context"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text", "text_pair"),
)
"""Columns that hold a pair of texts wherever both are there."""
_WORDS = ("tokens", "words")
_COLUMNS = ("text", "sentence", "question", "sentence1", "review", "input")
_BATCHES = (1, 2, 3, 8)
_CLAUSE: tuple[tuple[str, ...], ...] = (
    ("Yesterday", "In the morning ,", "Last June", "Nobody knows why", "At noon", "After the game", "Today"),
    ("Maria Lopez", "the old captain", "John", "a team from Acme Corp", "Dr Chen", "our neighbour", "she", "Google"),
    ("met", "wrote to", "bought", "was looking for", "moved away from", "has not forgotten", "laughed about", "sold"),
    ("the mayor of Oslo", "two bottles of milk", "Apple", "her brother Sam", "a red bicycle", "the United Nations"),
    ("in Paris", "at the station", "near the river Nile", "on Friday", "for 20 dollars", "at work", "in New York City"),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One padded batch.

    Attributes:
        inputs: Graph inputs by name, int64 [batch, length]; of a plain module arrays of any type and shape.
        real: [batch, length] bool, False on padding; of a plain module [batch].
        counted: Likewise: real positions whose prediction counts, i.e. the first piece of each word.
    """

    inputs: dict[str, NDArray[Any]]
    real: NDArray[np.bool_]
    counted: NDArray[np.bool_]


def check_limit(limit: int | None) -> None:
    """Refuse to take no samples at all; None takes them all.

    Raises:
        InputError: It is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"max_samples must be at least 1, got {limit}.")


def read_samples(path: str | Path, *, limit: int | None = None, column: str | None = None) -> list[Sample]:
    """Read texts, pairs of them, or lists of words, from .txt, .csv, .json, .jsonl (each also .gz) or CoNLL columns.

    Args:
        path: The file.
        limit: At most so many.
        column: Name of the column that holds them, or of two: ``a,b``; found where None.

    Raises:
        InputError: The file is missing, empty, broken, or has no column of text; or none are asked for.
    """
    check_limit(limit)
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as samples: {error}") from error
    kind = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if kind in (".csv", ".json", ".jsonl"):
        samples = list(islice((_text_of(row, path, column) for row in _rows(text, kind, path)), limit))
    elif kind in (".conll", ".conllu", ".bio", ".iob", ".tsv"):
        samples = list(islice(_sentences(text), limit))
    else:
        samples = list(islice((line.strip() for line in text.splitlines() if line.strip()), limit))
    if not samples:
        raise InputError(f"{path}: holds no samples.")
    return samples


def _rows(text: str, kind: str, path: Path) -> Iterator[dict[str, Any]]:
    if kind == ".csv":
        yield from csv.DictReader(io.StringIO(text))
        return
    try:
        for row in _json_rows(text):
            if not isinstance(row, dict):
                raise InputError(f"{path}: each row must be an object with a column of text, got {type(row).__name__}.")
            yield row
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: is not valid JSON: {error}") from error


def _json_rows(text: str) -> Iterable[Any]:
    """Objects of a list, of lines, or of what SQuAD's files hold under ``data``."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return map(json.loads, _lines(text))
    if isinstance(whole, dict):
        whole = whole["data"] if isinstance(whole.get("data"), list) else [whole]
    if not isinstance(whole, list):
        return [whole]
    return questions_of(whole) if is_nested(whole) else whole


def _lines(text: str) -> Iterator[str]:
    # Not splitlines: JSON strings may hold U+2028 and the like unescaped.
    return (line for line in text.split("\n") if line.strip())


def _text_of(row: dict[str, Any], path: Path, column: str | None) -> Sample:
    names = [part.strip() for part in column.split(",")] if column else _found(row)
    missing = next((name for name in names if name not in row), None)
    if not names or missing is not None or len(names) > 2:
        near = difflib.get_close_matches(missing or "", row, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        wanted = f"column {missing or column!r}" if column else f"column of {', '.join(_WORDS + _COLUMNS)}"
        raise InputError(f"{path}: has no {wanted}.{hint} It has: {', '.join(map(str, row))}.")
    if len(names) == 2:
        return str(row[names[0]]), str(row[names[1]])
    value = row[names[0]]
    if isinstance(value, str) and value.startswith("[") and value.rstrip().endswith("]"):
        value = _list_in_cell(value)
    return [str(word) for word in value] if isinstance(value, list) else str(value)


def _found(row: dict[str, Any]) -> Sequence[str]:
    """The columns of a row that hold its text: words before pairs before single texts."""
    kinds = [*((name,) for name in _WORDS), *PAIRS, *((name,) for name in _COLUMNS)]
    return next((names for names in kinds if all(name in row for name in names)), ())


def _list_in_cell(cell: str) -> Sample:
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell
    return [str(word) for word in value] if isinstance(value, list) else cell


def _sentences(text: str) -> Iterator[Sample]:
    words: list[str] = []
    for line in [*text.splitlines(), ""]:
        columns = line.split()
        if columns and columns[0] != "-DOCSTART-" and not line.startswith("# "):
            words.append(columns[0])
        elif words and not columns:
            yield words
            words = []


def encode(
    samples: Sequence[Sample],
    tokenizer: Any,
    names: Sequence[str],
    *,
    max_length: int,
    shape: tuple[int, int] | None = None,
) -> list[Batch]:
    """Tokenize samples into padded batches of several sizes (or all of one fixed ``shape``)."""
    batches: list[Batch] = []
    texts, sizes = [s for s in samples if s], cycle((shape[0],) if shape else _BATCHES)
    # A few texts are taken several times, so that each size occurs and batches have padding inside.
    rows = islice(cycle(texts), max(len(texts), 0 if shape else sum(_BATCHES)))
    while chunk := list(islice(rows, next(sizes))):
        if shape:
            chunk += chunk[-1:] * (shape[0] - len(chunk))
        encoded = tokenizer(
            **_alike(chunk),
            truncation=True,
            max_length=min(max_length, shape[1]) if shape else max_length,
            padding="max_length" if shape else "longest",
            return_tensors="np",
        )
        real = encoded["attention_mask"].astype(bool)
        starts = np.array([_first_pieces(encoded.word_ids(i)) for i in range(len(chunk))], dtype=bool)
        inputs = {name: encoded[name].astype(np.int64) for name in names}
        batches.append(Batch(inputs, real, real & starts))
    return batches


def _alike(chunk: Sequence[Sample]) -> dict[str, Any]:
    """A chunk as a tokenizer takes it: all pairs where one is, else all words where one is."""
    if any(isinstance(s, tuple) for s in chunk):
        pairs = [s if isinstance(s, tuple) else (s if isinstance(s, str) else " ".join(s), "") for s in chunk]
        return {"text": [first for first, _ in pairs], "text_pair": [second for _, second in pairs]}
    if any(isinstance(s, list) for s in chunk):
        return {"text": [[s] if isinstance(s, str) else s for s in chunk], "is_split_into_words": True}
    return {"text": list(chunk)}


def _first_pieces(word_ids: list[int | None]) -> list[bool]:
    return [word is not None and word != before for word, before in zip(word_ids, [None, *word_ids], strict=False)]


def made_up_texts(count: int, seed: int = 0) -> list[str]:
    """English sentences of several lengths, names in them; the same for the same arguments."""
    rng = np.random.default_rng(seed)

    def clause() -> str:
        return " ".join(str(rng.choice(part)) for part in _CLAUSE)

    return [" and then ".join(clause() for _ in range(1 + number % 4)) + " ." for number in range(count)]


def knows(tokenizer: Any, texts: Sequence[Sample]) -> bool:
    """Whether a tokenizer reads texts in its own vocabulary: at most one token in ten is unknown to it."""
    ids = [i for text in texts for i in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    return ids.count(tokenizer.unk_token_id) <= len(ids) / 10


def generate(
    names: Sequence[str],
    vocab_size: int,
    *,
    max_length: int,
    shape: tuple[int, int] | None = None,
    tokenizer: Any = None,
    pad_id: int = 0,
    sequences: int = 48,
    seed: int = 0,
) -> list[Batch]:
    """Random token ids in batches of several sizes and lengths, padded inside; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    special = set(tokenizer.all_special_ids) if tokenizer is not None else {pad_id}
    words = np.array([i for i in range(vocab_size) if i not in special] or [0], dtype=np.int64)
    lengths = cycle((shape[1],) if shape else sorted({min(max_length, n) for n in (8, 16, 33, 64, 128)}))
    sizes = cycle((shape[0],) if shape else _BATCHES)
    batches: list[Batch] = []
    while sum(len(batch.real) for batch in batches) < sequences:
        ids = rng.choice(words, size=(next(sizes), next(lengths)))
        batches.append(_padded(ids, names, rng, tokenizer, pad_id))
    return batches


def _padded(
    ids: NDArray[np.int64], names: Sequence[str], rng: np.random.Generator, tokenizer: Any, pad_id: int
) -> Batch:
    size, length = ids.shape
    kept = rng.integers(max(1, length // 2), length + 1, size=(size, 1))
    kept[0] = length
    position = np.arange(length)[None]
    real = position < kept
    counted = real.copy()
    first, last = (getattr(tokenizer, name, None) for name in ("cls_token_id", "sep_token_id"))
    if first is not None and last is not None and length > 2:
        ids[:, 0] = first
        ids[position == kept - 1] = last
        counted &= (position > 0) & (position < kept - 1)
    ids[~real] = pad_id
    values = {"input_ids": ids, "attention_mask": real.astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    return Batch({name: values[name] for name in names}, real, counted)
