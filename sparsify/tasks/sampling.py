"""Batches of like length, in an order that a resumed run sees again; and evaluation in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import Trainer

_BATCHES_SORTED = 50


class LengthGroupedSampler(Sampler[int]):
    """A shuffle in which neighbours are of like length, so that batches hold little padding.

    The order is a function of seed and epoch alone. transformers' own draws from the global generator, so that an
    epoch resumed in its middle goes on with other batches.

    Args:
        lengths: Length of each example.
        batch_size: Examples of a batch; stretches of 50 batches are sorted, longest first.
        seed: Of the shuffle.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._stretch = batch_size * _BATCHES_SORTED
        self._batch, self._seed, self._epoch = batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch; the Trainer calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + 7919 * self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        batches: list[list[int]] = []
        for start in range(0, len(order), self._stretch):
            stretch = sorted(order[start : start + self._stretch], key=lambda i: -self._lengths[i])
            batches += [stretch[i : i + self._batch] for i in range(0, len(stretch), self._batch)]
        full = [b for b in batches if len(b) == self._batch]
        rest = [i for b in batches if len(b) < self._batch for i in b]
        for index in torch.randperm(len(full), generator=generator).tolist():
            yield from full[index]
        yield from rest


class EpochOfData(TrainerCallback):
    """Tells a data set that changes with the epoch which one begins, also where a resumed run begins in its middle."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell it."""
        self._data.set_epoch(int(state.epoch or 0))


def set_samplers(trainer: Trainer) -> None:
    """Give this trainer our sampler where it groups by length, and leave evaluation in the order of the file.

    Grouped evaluation would hand back predictions in another order than the sentences they belong to.
    """
    args: Any = trainer.args
    if args.train_sampling_strategy != "group_by_length":
        return
    evaluate = trainer._get_eval_sampler

    def in_order(dataset: Any) -> Any:
        args.train_sampling_strategy = "sequential"
        try:
            return evaluate(dataset)
        finally:
            args.train_sampling_strategy = "group_by_length"

    def grouped(dataset: Any = None) -> LengthGroupedSampler:
        rows = trainer.train_dataset if dataset is None else dataset
        seed = args.seed if args.data_seed is None else args.data_seed
        return LengthGroupedSampler([len(row["input_ids"]) for row in rows], args.train_batch_size, seed)

    trainer._get_eval_sampler = in_order
    trainer._get_train_sampler = grouped
