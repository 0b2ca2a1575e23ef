"""A teacher's answers on disk: by example, without padding, in parts that are mapped into memory and read when asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparsify.errors import InputError
from sparsify.state import atomic_write

EXAMPLE_INDEX = "example_index"
"""Key of a batch that says which examples it is made of: a list of ints, or a tensor."""

_LENGTHS = "lengths"
_TOKEN, _ROW = "token ", "row "


@dataclass(frozen=True)
class Answers:
    """What a teacher says of some examples, one after the other.

    Attributes:
        lengths: Tokens of each example, int32 [N].
        tokens: Outputs with one row a token, [sum of lengths, ...], by name.
        rows: Outputs with one row an example, [N, ...], by name.
    """

    lengths: Tensor
    tokens: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]


class AnswerCache:
    """Answers for examples 0 to ``count``, in files of ``part`` examples each.

    A part is written by one process while others write other parts or wait; it is there whole or not at all.

    Args:
        folder: Of this teacher on this data, and of nothing else (``answers_key``).
        count: How many examples there are.
        part: Examples of a file.
        left: Whether batches are padded on the left.
    """

    def __init__(self, folder: Path, count: int, part: int, *, left: bool = False) -> None:
        self.folder, self.count, self.part, self.left = folder, count, part, left
        self._parts: dict[int, _Part] = {}
        self._last: tuple[Any, dict[str, Tensor]] | None = None

    @property
    def parts(self) -> list[range]:
        """Which examples each part holds."""
        return [range(i, min(i + self.part, self.count)) for i in range(0, self.count, self.part)]

    def path(self, index: int) -> Path:
        """File of a part."""
        return self.folder / f"part-{index:05d}.safetensors"

    def missing(self) -> list[int]:
        """Parts that are not there yet."""
        return [index for index in range(len(self.parts)) if not self.path(index).is_file()]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(self.path(index).stat().st_size for index in range(len(self.parts)))

    @contextlib.contextmanager
    def claim(self, index: int, *, wait: bool) -> Iterator[bool]:
        """Hold a part against other processes: true where it is still to be written, by whoever asks.

        Raises:
            InputError: The folder cannot be written.
        """
        with _told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f".part-{index:05d}.lock")
            try:
                lock.acquire(timeout=-1 if wait else 0)
            except Timeout:
                yield False
                return
        try:
            yield not self.path(index).is_file()
        finally:
            lock.release()

    def write(self, index: int, answers: Answers) -> None:
        """Store a part.

        Raises:
            InputError: The disk is full, or the folder cannot be written.
        """
        tensors = {_LENGTHS: answers.lengths.to(torch.int32)}
        tensors |= {_TOKEN + name: value.contiguous() for name, value in answers.tokens.items()}
        tensors |= {_ROW + name: value.contiguous() for name, value in answers.rows.items()}
        with _told(self.folder):
            atomic_write(self.path(index), lambda path: save_file(tensors, path))

    def check(self, names: Sequence[str]) -> None:
        """Refuse names of answers that it lacks.

        Raises:
            InputError: It does.
        """
        known = self._open(0).names
        if lacking := [name for name in names if name not in known]:
            raise InputError(
                f"{self.folder}: the teacher's outputs there lack {', '.join(lacking)}; there are {', '.join(known)}"
            )

    def answer(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Answers for a batch, padded as it is; zeros where there is padding.

        Args:
            inputs: With ``example_index`` [B], and ``input_ids`` (or another input [B, S]) for the length.

        Returns:
            By name, [B, S, ...] or [B, ...], on the device of the inputs, in the type they are stored in.

        Raises:
            InputError: The batch does not say which examples it holds, or is shorter than they are.
        """
        asked = inputs.get(EXAMPLE_INDEX)
        if asked is None:
            raise InputError(
                f"the teacher answers from a cache, and the batch has no {EXAMPLE_INDEX!r} to say which examples it holds"
            )
        if self._last is None or self._last[0] is not asked:
            shape = next(value for value in inputs.values() if isinstance(value, Tensor) and value.dim() >= 2)
            indices = asked.tolist() if isinstance(asked, Tensor) else asked
            found = self.batch(indices, shape.shape[1])
            self._last = (asked, {k: v.to(shape.device, non_blocking=True) for k, v in found.items()})
        return dict(self._last[1])

    def batch(self, indices: Sequence[int], length: int) -> dict[str, Tensor]:
        """Answers for these examples, padded to ``length``; on the CPU.

        Raises:
            InputError: An example is longer, or there is none of that number.
        """
        if outside := [index for index in indices if not 0 <= index < self.count]:
            raise InputError(f"{self.folder}: no example {outside[0]}; there are {self.count}")
        places = [(self._open(index // self.part), index % self.part) for index in indices]
        longest = max((part.length(local) for part, local in places), default=0)
        if longest > length:
            raise InputError(f"an example of {longest} tokens stands in a batch of {length}: was it cut anew?")
        first = places[0][0]
        found = {n: torch.stack([part.rows[n][local] for part, local in places]) for n in first.rows}
        for name, sample in first.tokens.items():
            padded = sample.new_zeros((len(places), length, *sample.shape[1:]))
            for row, (part, local) in enumerate(places):
                own = part.tokens[name][part.starts[local] : part.starts[local + 1]]
                padded[row, length - len(own) if self.left else 0 :][: len(own)] = own
            found[name] = padded
        return found

    def _open(self, index: int) -> _Part:
        if index not in self._parts:
            self._parts[index] = _Part.read(self.path(index), len(self.parts[index]))
        return self._parts[index]


class _Part:
    """One file, mapped into memory."""

    def __init__(self, lengths: Tensor, tokens: dict[str, Tensor], rows: dict[str, Tensor]) -> None:
        self.starts: list[int] = [0, *lengths.cumsum(0).tolist()]
        self.tokens, self.rows = tokens, rows

    @property
    def names(self) -> list[str]:
        """Of all answers."""
        return [*self.tokens, *self.rows]

    def length(self, local: int) -> int:
        """Tokens of an example."""
        return self.starts[local + 1] - self.starts[local]

    @classmethod
    def read(cls, path: Path, count: int) -> _Part:
        """Map a file.

        Raises:
            InputError: It cannot be read, or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as stream:
                found = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
            lengths = found.pop(_LENGTHS).long()
        except (OSError, KeyError, SafetensorError) as error:
            raise _damaged(path) from error
        tokens = {n.removeprefix(_TOKEN): v for n, v in found.items() if n.startswith(_TOKEN)}
        rows = {n.removeprefix(_ROW): v for n, v in found.items() if n.startswith(_ROW)}
        if (
            len(lengths) != count
            or any(len(v) != int(lengths.sum()) for v in tokens.values())
            or any(len(v) != count for v in rows.values())
        ):
            raise _damaged(path)
        return cls(lengths, tokens, rows)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: no file of a teacher's outputs, or a damaged one: delete it, and it is made anew")


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: cannot keep the teacher's outputs there: {error.strerror or error}") from error
