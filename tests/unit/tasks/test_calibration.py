"""Which examples calibration sees: how many, in what order, and without what models must not be given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sparsify.errors import InputError
from sparsify.tasks.calibration import SAMPLES, calibration_batches, first_inputs


def job(*splits: str, count: int = 5, size: int = 2, asked: int | None = None) -> Any:
    """A job whose examples are numbers: those of ``train`` from 0 on, of the next split from 100 on."""
    features = {
        split: [{"input_ids": 100 * place + i, "labels": 7} for i in range(count)] for place, split in enumerate(splits)
    }

    def collate(rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        batch = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
        for row in rows:
            row.clear()  # what a collator does to its rows is not done to the data
        return batch

    training = SimpleNamespace(per_device_train_batch_size=size, device=torch.device("cpu"))
    return SimpleNamespace(
        args=SimpleNamespace(training=training, recipe=SimpleNamespace(num_calibration_samples=asked)),
        reading=SimpleNamespace(
            encoded={split: SimpleNamespace(features=rows) for split, rows in features.items()}, tokenizer="words"
        ),
        task=SimpleNamespace(collator={"words": collate}.__getitem__),
    )


def manager(*own: int | None, needs_data: bool = True, kind: str = "quantization") -> Any:
    """A manager whose post-training modifiers want so many examples each; without any, one quantizes while training."""
    after = [SimpleNamespace(kind=kind, needs_data=needs_data, num_calibration_samples=count) for count in own]
    return SimpleNamespace(post_training=after, modifiers=after or [SimpleNamespace(kind=kind)])


def ids(batches: list[dict[str, Any]] | None) -> list[list[int]]:
    assert batches is not None
    assert all(set(batch) == {"input_ids"} for batch in batches)  # no labels: models would compute a loss
    return [batch["input_ids"].tolist() for batch in batches]


def test_the_first_examples_of_training_data_in_its_batches() -> None:
    found = job("train", "validation")
    assert ids(calibration_batches(found, manager(3))) == [[0, 1], [2]]
    assert ids(calibration_batches(found, manager(None))) == [[0, 1], [2, 3], [4]]
    assert ids(calibration_batches(found, manager(3))) == [[0, 1], [2]]


@pytest.mark.parametrize("made_by", [manager(2, kind="pruning"), manager(2, needs_data=False)])
def test_where_nothing_is_calibrated_there_are_none(made_by: Any) -> None:
    assert calibration_batches(job("validation"), made_by) is None


def test_training_data_must_be_there() -> None:
    with pytest.raises(InputError, match="give --train_file or --dataset_name"):
        calibration_batches(job("validation"), manager(2))


@pytest.mark.parametrize(
    ("asked", "own", "count"),
    [
        (None, (), SAMPLES),
        (None, (None,), SAMPLES),
        (None, (3, 9), 9),
        (4, (), 4),
        (4, (None,), 4),
        (4, (4, None), 4),
    ],
)
def test_how_many(asked: int | None, own: tuple[int | None, ...], count: int) -> None:
    found = calibration_batches(job("train", count=SAMPLES + 5, size=1000, asked=asked), manager(*own))
    assert len(ids(found)[0]) == count


@pytest.mark.parametrize(("asked", "own", "said"), [(4, (5,), 5), (4, (4, 9), 9), (9, (4, 9), 4)])
def test_flag_and_recipe_must_agree(asked: int, own: tuple[int, ...], said: int) -> None:
    with pytest.raises(
        InputError, match=rf"--num_calibration_samples {asked}, but the recipe says {said}: drop the fl"
    ):
        calibration_batches(job("train", asked=asked), manager(*own))


@pytest.mark.parametrize("asked", [0, -1])
def test_none_at_all_is_no_number_of_examples(asked: int) -> None:
    with pytest.raises(InputError, match=f"must be at least 1, got {asked}"):
        calibration_batches(job("train", asked=asked), manager())


def test_probes_are_taken_of_validation_data_where_nothing_trains() -> None:
    assert ids(first_inputs(job("train", "validation"), 3)) == [[0, 1], [2]]
    assert ids(first_inputs(job("validation"), 1)) == [[0]]
