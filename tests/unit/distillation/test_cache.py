"""Answers on disk: rebuilt for any batch and padding, exact, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from torch import Tensor

from sparsify.distillation.cache import EXAMPLE_INDEX, AnswerCache, Answers
from sparsify.errors import InputError

LENGTHS = [3, 1, 4, 2, 5]


def example(index: int) -> Tensor:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(LENGTHS[index], 2, generator=generator)


def stored(folder: Path, part: int = 2, left: bool = False) -> AnswerCache:
    cache = AnswerCache(folder, len(LENGTHS), part, left=left)
    for index, examples in enumerate(cache.parts):
        tokens = {"logits": torch.cat([example(i) for i in examples])}
        rows = {"pooled": torch.stack([torch.full((3,), float(i)) for i in examples])}
        cache.write(index, Answers(torch.tensor([LENGTHS[i] for i in examples]), tokens, rows))
    return cache


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("cache")).folder


@given(indices=st.lists(st.integers(0, 4), min_size=1, max_size=8), more=st.integers(0, 3), left=st.booleans())
def test_any_batch_and_padding(folder: Path, indices: list[int], more: int, left: bool) -> None:
    length = max(LENGTHS[i] for i in indices) + more
    found = AnswerCache(folder, 5, 2, left=left).batch(indices, length)
    assert found["logits"].shape == (len(indices), length, 2)
    for row, index in zip(found["logits"], indices, strict=True):
        own = row[length - LENGTHS[index] :] if left else row[: LENGTHS[index]]
        assert torch.equal(own, example(index))
        assert int((row == 0).all(-1).sum()) == length - LENGTHS[index]
    assert found["pooled"][:, 0].tolist() == indices


def test_answers_a_batch_by_its_indices(folder: Path) -> None:
    cache = AnswerCache(folder, 5, 2)
    ids = torch.zeros(2, 6, dtype=torch.long)
    by_list = cache.answer({EXAMPLE_INDEX: [4, 0], "input_ids": ids})
    by_tensor = cache.answer({EXAMPLE_INDEX: torch.tensor([4, 0]), "input_ids": ids})
    assert torch.equal(by_list["logits"], by_tensor["logits"])
    assert by_list["logits"].shape == (2, 6, 2)


def test_another_batch_gets_other_answers(folder: Path) -> None:
    cache = AnswerCache(folder, 5, 2)
    ids = torch.zeros(1, 6, dtype=torch.long)
    found = [cache.answer({EXAMPLE_INDEX: [i], "input_ids": ids})["pooled"][0, 0].item() for i in range(5)]
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="only Linux lists what a process has mapped")
def test_parts_are_mapped_when_they_are_needed(folder: Path) -> None:
    cache = AnswerCache(folder, 5, 2)
    cache.batch([0, 4], 5)
    mapped = Path("/proc/self/maps").read_text()
    assert [str(cache.path(index)) in mapped for index in range(3)] == [True, False, True]


def test_who_claims_writes_and_others_find_it(tmp_path: Path) -> None:
    cache, other = AnswerCache(tmp_path, 5, 2), AnswerCache(tmp_path, 5, 2)
    assert cache.missing() == [0, 1, 2]
    with cache.claim(0, wait=False) as mine:
        assert mine
        with other.claim(0, wait=False) as second:
            assert not second
        with other.claim(1, wait=False) as free:
            assert free
    stored(tmp_path)
    assert other.missing() == []
    with other.claim(0, wait=True) as again:
        assert not again


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_nothing_is_left_of_a_write_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr("sparsify.distillation.cache.save_file", full)
    cache = AnswerCache(tmp_path, 5, 2)
    with pytest.raises(InputError, match="cannot keep the teacher's outputs there: No space left on device"):
        cache.write(0, Answers(torch.tensor([1, 1]), {}, {}))
    assert list(tmp_path.iterdir()) == []
    assert cache.missing() == [0, 1, 2]


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path) -> None:
    cache = AnswerCache(folder, 5, 2)
    ids = torch.zeros(1, 6, dtype=torch.long)
    with pytest.raises(InputError, match="the batch has no 'example_index'"):
        cache.answer({"input_ids": ids})
    with pytest.raises(InputError, match="no example 5; there are 5"):
        cache.batch([5], 9)
    with pytest.raises(InputError, match="an example of 5 tokens stands in a batch of 4"):
        cache.batch([4], 4)
    with pytest.raises(InputError, match="lack layer x; there are logits, pooled"):
        cache.check(["logits", "layer x"])
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="cannot keep the teacher's outputs there"),
        AnswerCache(tmp_path / "file" / "in", 5, 2).claim(0, wait=False),
    ):
        pass


@pytest.mark.parametrize("harm", ["cut", "other", "gone"])
def test_damaged_files_are_refused(tmp_path: Path, harm: str) -> None:
    stored(tmp_path)
    path = tmp_path / "part-00000.safetensors"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif harm == "other":
        path.write_bytes((tmp_path / "part-00002.safetensors").read_bytes())
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"part-00000.safetensors: no file of a teacher's outputs"):
        AnswerCache(tmp_path, 5, 2).batch([0], 5)
