"""Samplers: all examples once, like lengths together, the same order again for the same epoch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerControl, TrainerState

from sparsify.tasks.sampling import EpochOfData, LengthGroupedSampler, set_samplers


@given(lengths=st.lists(st.integers(1, 60), max_size=300), batch=st.integers(1, 9), epoch=st.integers(0, 5))
def test_every_example_comes_once_and_an_epoch_is_repeatable(lengths: list[int], batch: int, epoch: int) -> None:
    sampler, again = LengthGroupedSampler(lengths, batch, 3), LengthGroupedSampler(lengths, batch, 3)
    sampler.set_epoch(epoch)
    again.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(again)
    assert len(sampler) == len(lengths)


def test_batches_hold_less_padding_than_a_plain_shuffle() -> None:
    lengths = [1 + (37 * i) % 60 for i in range(640)]
    order = list(LengthGroupedSampler(lengths, 8, 0))
    padded = sum(8 * max(lengths[i] for i in order[b : b + 8]) for b in range(0, 640, 8))
    assert padded < 1.1 * sum(lengths)


def test_epochs_and_seeds_differ() -> None:
    lengths = list(range(100))
    first, second = LengthGroupedSampler(lengths, 4, 0), LengthGroupedSampler(lengths, 4, 0)
    second.set_epoch(1)
    assert list(first) != list(second)
    assert list(first) != list(LengthGroupedSampler(lengths, 4, 1))


def test_evaluation_stays_in_file_order_and_the_flag_as_it_was() -> None:
    seen: list[str] = []
    args = SimpleNamespace(train_sampling_strategy="group_by_length", seed=1, data_seed=None, train_batch_size=4)
    trainer: Any = SimpleNamespace(args=args, train_dataset=[{"input_ids": [1] * n} for n in (3, 1, 2)])
    trainer._get_eval_sampler = lambda dataset: seen.append(args.train_sampling_strategy)
    set_samplers(trainer)
    trainer._get_eval_sampler(None)
    assert seen == ["sequential"]
    assert args.train_sampling_strategy == "group_by_length"
    assert sorted(trainer._get_train_sampler()) == [0, 1, 2]


def test_other_strategies_are_left_alone() -> None:
    trainer: Any = SimpleNamespace(args=SimpleNamespace(train_sampling_strategy="random"), _get_eval_sampler=None)
    set_samplers(trainer)
    assert trainer._get_eval_sampler is None


def test_data_that_changes_with_the_epoch_is_told_which_one_begins() -> None:
    class Data:
        epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    data = Data()
    callback = EpochOfData(data)
    for reached, epoch in ((None, 0), (0.0, 0), (1.0, 1), (2.5, 2)):  # a resumed run begins inside an epoch
        callback.on_epoch_begin(None, TrainerState(epoch=reached), TrainerControl())
        assert data.epoch == epoch
