"""Data files -> rows with their line numbers. Knows formats, not tasks."""

from __future__ import annotations

import difflib
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsify.errors import InputError
from sparsify.tasks.delimited import comma_separated, tab_separated
from sparsify.zoo.names import expanded

Row = tuple[int, dict[str, Any]]


@dataclass
class Table:
    """Rows of one file or split.

    Attributes:
        origin: Where they come from, for messages.
        columns: Column names in their order.
        rows: One dict per row.
        lines: Line (from 1) of each row in its file; row numbers where there is no file.
        class_names: By column, names of its class ids where the source knows them.
    """

    origin: str
    columns: list[str]
    rows: list[dict[str, Any]]
    lines: list[int]
    class_names: dict[str, list[str]]

    def place(self, index: int) -> str:
        """Where row ``index`` stands, as ``file:line``."""
        return f"{self.origin}:{self.lines[index]}"

    def part(self, start: int, end: int) -> Table:
        """Some of the rows: from ``start`` up to ``end``."""
        return Table(self.origin, self.columns, self.rows[start:end], self.lines[start:end], self.class_names)

    def hold_out(self, share: float, flag: str) -> tuple[Table, Table]:
        """The rows but the last ``share`` of them, and these; at least one each.

        Args:
            share: Above 0 and below 1.
            flag: What asked for it, for the message.

        Raises:
            InputError: There are too few rows for both.
        """
        count = len(self.rows)
        if count == 1:
            raise InputError(f"{self.origin}: one row is too few for {flag}, which holds some back: two at least")
        kept = min(max(count - round(count * share), 1), count - 1)
        return self.part(0, kept), self.part(kept, count)

    def column(self, name: str, flag: str) -> str:
        """``name``, which must be a column.

        Args:
            name: The column.
            flag: What named it, for the message.

        Raises:
            InputError: It is none; those there are get listed.
        """
        if name in self.columns:
            return name
        near = difflib.get_close_matches(name, self.columns, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{self.origin}: no column {name!r} ({flag}); there are: {', '.join(self.columns)}{hint}")


def read_table(path: str | Path, *, text_column: str = "tokens", label_column: str = "ner_tags") -> Table:
    """Read a data file: CSV, TSV, JSON, JSON Lines or CoNLL columns, plain or gzipped, told apart by its name.

    Args:
        path: The file.
        text_column: Name given to the first column of CoNLL files, whose columns have none.
        label_column: Name given to their last column.

    Raises:
        InputError: No such file, unknown format, or a line that cannot be read (named).
    """
    path = expanded(path)
    if not path.is_file():
        raise InputError(_no_file(path))
    reader = _reader(path, text_column, label_column)
    try:
        pairs = list(reader(str(path), _text(path)))
    except RecursionError as error:
        raise InputError(f"{path}: lists or objects are nested too deeply to be read") from error
    columns = list(dict.fromkeys(key for _, row in pairs for key in row))
    return Table(str(path), columns, [row for _, row in pairs], [line for line, _ in pairs], {})


def is_plain_text(path: str | Path) -> bool:
    """Whether a file's name says that it holds text and nothing else."""
    names = [s.lower() for s in Path(path).suffixes if s.lower() != ".gz"]
    return bool(names) and names[-1] in (".txt", ".text", ".raw")


def read_lines(path: str | Path) -> Table:
    """The lines of a text file, plain or gzipped, as rows with one column, ``text``.

    Raises:
        InputError: No such file, or it is not UTF-8 text.
    """
    path = expanded(path)
    if not path.is_file():
        raise InputError(_no_file(path))
    lines = _text(path).split("\n")
    return Table(str(path), ["text"], [{"text": line} for line in lines], list(range(1, len(lines) + 1)), {})


def _no_file(path: Path) -> str:
    return f"{path}: is a folder, not a file" if path.is_dir() else f"no file {path}{_neighbours(path)}"


def _reader(path: Path, text_column: str, label_column: str) -> Callable[[str, str], Iterable[Row]]:
    names = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    suffix = names[-1] if names else ""
    if suffix == ".csv":
        return comma_separated
    if suffix == ".tsv":
        return tab_separated
    if suffix in (".json", ".jsonl", ".ndjson"):
        return _json
    if suffix in (".conll", ".bio", ".iob", ".iob2", ".txt"):
        return lambda origin, text: _conll(origin, text, text_column, label_column)
    raise InputError(
        f"{path}: cannot tell the format from the name; known: .csv .tsv .json .jsonl .conll .bio .iob .txt, also .gz"
    )


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: the gzip file is damaged: {error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if path.suffix.lower() == ".gz":
            raise InputError(f"{path}: not a gzip file, though its name ends in .gz (nor UTF-8 text)") from error
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not UTF-8 text; convert the file to UTF-8") from error


def _json(origin: str, text: str) -> Iterator[Row]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        yield from _json_lines(origin, text)
        return
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        whole = whole["data"]
    if isinstance(whole, dict):
        whole = _by_column(origin, whole) if _is_columns(whole) else [whole]
    if not isinstance(whole, list):
        raise InputError(f"{origin}: expected objects or a list of them, got {type(whole).__name__}")
    for number, row in enumerate(whole, 1):
        yield number, _object(f"{origin}, row {number}", row)


def _json_lines(origin: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{origin}:{number}:{error.colno}: not JSON: {error.msg}") from error
            yield number, _object(f"{origin}:{number}", row)


def _is_columns(value: dict[str, Any]) -> bool:
    # a single row {"tokens": [...]} has lists of words, a file of columns has lists of lists
    return bool(value) and all(isinstance(v, list) and v and isinstance(v[0], list) for v in value.values())


def _by_column(origin: str, columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{origin}: columns of different lengths: {lengths}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _object(place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{place}: expected an object with names and values, got {type(row).__name__}")
    return row


def _conll(origin: str, text: str, text_column: str, label_column: str) -> Iterator[Row]:
    start, words, tags = 0, list[str](), list[str]()
    width = 0
    for number, line in enumerate([*text.split("\n"), ""], 1):
        fields = _fields(line)
        if not line.strip() or fields[0] == "-DOCSTART-":
            if words:
                yield start, {text_column: words, label_column: tags} if width > 1 else {text_column: words}
            words, tags = [], []
        elif words or not _is_comment(line):
            width = width or len(fields)
            if (width == 1) != (len(fields) == 1) or not fields[0]:
                raise InputError(f"{origin}:{number}: expected a word and its tag, got {line.strip()!r}")
            start = start if words else number
            words.append(fields[0])
            tags.append(fields[-1].strip())


def _fields(line: str) -> list[str]:
    # no str.split(): a no-break space is part of a word
    cells = line.rstrip("\r\t ")
    return cells.split("\t") if "\t" in cells else [part for part in cells.split(" ") if part]


def _is_comment(line: str) -> bool:
    return line.startswith("# ") and " = " in line


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor a folder {path.parent})"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""
