"""Asking a teacher once about all examples gives what it says in any batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify.distillation.answers import Wanted, answers_key, keep_answers
from sparsify.distillation.cache import EXAMPLE_INDEX
from sparsify.distillation.teacher import Teacher, layer_key
from sparsify.errors import InputError
from tests.helpers import ner

HEADS = {
    "TokenClassification": ("logits",),
    "SequenceClassification": ("logits",),
    "QuestionAnswering": ("start_logits", "end_logits"),
    "MaskedLM": ("logits",),
}


def features(count: int = 11) -> list[dict[str, Any]]:
    made = ner.tokenizer()([row["tokens"] for row in ner.rows(count)], is_split_into_words=True)
    return [{k: v[i] for k, v in made.items()} for i in range(count)]


def collate(rows: list[dict[str, Any]], **options: Any) -> Mapping[str, Tensor]:
    batch: Mapping[str, Tensor] = ner.tokenizer().pad([dict(row) for row in rows], return_tensors="pt", **options)
    return batch


def teacher(head: str = "TokenClassification", seed: int = 1) -> Teacher:
    labels = ner.LABELS if head == "TokenClassification" else None
    return Teacher(ner.model(labels, head=head, seed=seed))


def batches(rows: list[dict[str, Any]], size: int) -> list[tuple[list[int], Mapping[str, Tensor]]]:
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(5)).tolist()
    parts = [order[i : i + size] for i in range(0, len(order), size)]
    return [(part, collate([rows[i] for i in part])) for part in parts]


@pytest.mark.parametrize("head", HEADS)
def test_what_is_kept_is_what_it_says_in_another_batch(head: str, tmp_path: Path) -> None:
    rows, asked = features(), teacher(head)
    cache, count = keep_answers(asked, rows, collate, tmp_path, batch_size=4, part=4)
    assert (count, len(cache.parts)) == (11, 3)
    for part, batch in batches(rows, 3):
        found, direct = cache.answer({EXAMPLE_INDEX: part, **batch}), asked(**batch)
        assert set(found) == set(HEADS[head])
        for name, value in found.items():
            mask = batch["attention_mask"] == 1 if value.shape[:2] == batch["attention_mask"].shape else ...
            assert torch.allclose(value[mask], direct[name][mask], atol=1e-5)
            assert value.dtype == torch.float32


def test_equal_batches_give_equal_bits(tmp_path: Path) -> None:
    rows = sorted(features(12), key=lambda row: len(row["input_ids"]))
    asked = teacher()
    cache, _ = keep_answers(asked, rows, collate, tmp_path, batch_size=4)
    for start in range(0, 12, 4):
        batch = collate(rows[start : start + 4])
        mask = batch["attention_mask"] == 1
        found = cache.answer({EXAMPLE_INDEX: list(range(start, start + 4)), **batch})
        assert torch.equal(found["logits"][mask], asked(**batch)["logits"][mask])


def test_layers_are_kept_beside(tmp_path: Path) -> None:
    rows, asked = features(), teacher()
    names = ["bert.encoder.layer.0", "bert.pooler"]
    asked.model.bert.pooler = Pooler()
    asked.model.classifier.register_forward_pre_hook(lambda m, a: (a[0] + 0 * asked.model.bert.pooler(a[0])[:, None],))
    layers = {name: asked.model.get_submodule(name) for name in names}
    cache, _ = keep_answers(asked, rows, collate, tmp_path, wanted=Wanted((), layers))
    part, batch = batches(rows, 5)[0]
    found = cache.answer({EXAMPLE_INDEX: part, **batch})
    stop = asked.listen(layers)
    direct = asked(**batch)
    stop()
    assert set(found) == {layer_key(name) for name in names}
    mask = batch["attention_mask"] == 1
    assert torch.allclose(found[layer_key(names[0])][mask], direct[layer_key(names[0])][mask], atol=1e-5)
    assert found[layer_key(names[1])].shape == (5, 16)  # a row an example
    assert torch.allclose(found[layer_key(names[1])], direct[layer_key(names[1])], atol=1e-5)


class Pooler(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, 0]


def test_a_second_time_nothing_is_asked(tmp_path: Path) -> None:
    rows = features()
    first, asked = keep_answers(teacher(), rows, collate, tmp_path)
    second, again = keep_answers(teacher(), rows, collate, tmp_path)
    assert (asked, again) == (11, 0)
    assert first.folder == second.folder


def test_a_part_that_is_lost_is_made_again(tmp_path: Path) -> None:
    rows = features()
    cache, _ = keep_answers(teacher(), rows, collate, tmp_path, part=4)
    before = cache.path(1).read_bytes()
    cache.path(1).unlink()
    _, asked = keep_answers(teacher(), rows, collate, tmp_path, part=4)
    assert asked == 4
    assert cache.path(1).read_bytes() == before


def test_the_key_is_of_all_that_matters() -> None:
    rows, asked = features(), teacher()
    key = answers_key(asked, rows, Wanted())
    assert key == answers_key(teacher(), features(), Wanted())
    other = [dict(row) for row in rows]
    other[3]["input_ids"] = [*other[3]["input_ids"][:-1], 7]
    labelled = [{**row, "labels": [0] * len(row["input_ids"])} for row in rows]
    renamed = teacher()
    renamed.model.config.layer_norm_eps = 1e-3
    keys = {
        "weights": answers_key(teacher(seed=2), rows, Wanted()),
        "data": answers_key(asked, other, Wanted()),
        "order": answers_key(asked, rows[::-1], Wanted()),
        "fewer": answers_key(asked, rows[:-1], Wanted()),
        "config": answers_key(renamed, rows, Wanted()),
        "type": answers_key(asked, rows, Wanted(dtype=torch.float16)),
        "outputs": answers_key(asked, rows, Wanted(("logits",))),
        "layers": answers_key(asked, rows, Wanted(layers={"classifier": nn.Identity()})),
    }
    assert len({key, *keys.values()}) == 9
    assert answers_key(asked, labelled, Wanted()) == key  # a teacher never sees labels


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_rounds_and_halves_the_size(tmp_path: Path, dtype: torch.dtype, error: float) -> None:
    rows, asked = features(), teacher()
    exact, _ = keep_answers(asked, rows, collate, tmp_path)
    half, _ = keep_answers(asked, rows, collate, tmp_path, wanted=Wanted(dtype=dtype))
    a, b = (cache.batch([0, 1], 20)["logits"] for cache in (exact, half))
    assert b.dtype == dtype
    assert torch.equal(b, a.to(dtype))
    assert (a - b.float()).abs().max() <= error * a.abs().max()
    assert half.size < 0.8 * exact.size


def test_padding_on_the_left(tmp_path: Path) -> None:
    def left(rows: list[dict[str, Any]]) -> Mapping[str, Tensor]:
        tokenizer = ner.tokenizer()
        tokenizer.padding_side = "left"
        batch: Mapping[str, Tensor] = tokenizer.pad([dict(row) for row in rows], return_tensors="pt")
        return batch

    rows, asked = features(), teacher()
    cache, _ = keep_answers(asked, rows, left, tmp_path, batch_size=1)
    found = cache.batch([0, 1], 24)["logits"]
    own = asked(**left([rows[0]]))["logits"][0]
    assert torch.allclose(found[0, 24 - len(own) :], own, atol=1e-6)


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    rows = features()

    def masked(given: list[dict[str, Any]]) -> Mapping[str, Tensor]:
        batch = dict(collate(given))
        batch["input_ids"] = batch["input_ids"].clone()
        batch["input_ids"][:, 1] = 4
        return batch

    with pytest.raises(InputError, match="masked at random"):
        keep_answers(teacher(), rows, masked, tmp_path)
    blind = [{"input_ids": row["input_ids"]} for row in rows]
    with pytest.raises(InputError, match="reads no attention_mask"):
        keep_answers(teacher(), blind, collate, tmp_path)
    with pytest.raises(InputError, match="gives no output 'scores'; it gives logits"):
        keep_answers(teacher(), rows, collate, tmp_path, wanted=Wanted(("scores",)))
    odd = teacher()
    odd.model.forward = lambda input_ids, attention_mask: {"logits": input_ids[..., None] @ input_ids[:, None] * 1.0}
    with pytest.raises(InputError, match="neither one row for each token nor one for the example"):
        keep_answers(odd, rows, collate, tmp_path)
    assert not any(tmp_path.rglob("*.safetensors"))


def test_a_teacher_that_answers_from_it_runs_no_more(tmp_path: Path) -> None:
    rows, asked = features(), teacher()
    cache, _ = keep_answers(asked, rows, collate, tmp_path)
    asked.answer_from(cache)
    asked.model.forward = None
    part, batch = batches(rows, 4)[0]
    assert asked(**batch, **{EXAMPLE_INDEX: part})["logits"].shape[:2] == batch["input_ids"].shape
    with pytest.raises(InputError, match="lack layer classifier"):
        asked.listen({"classifier": asked.model.classifier})
    asked.listen({})()
