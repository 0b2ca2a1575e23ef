from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from sparsify.distillation.teacher import Teacher, align_labels, as_teacher, self_teacher
from sparsify.errors import InputError


class Model(nn.Module):
    def __init__(self, labels: list[str] | None = None, vocab_size: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.drop, self.head = (
            nn.Embedding(vocab_size, 8),
            nn.Dropout(0.5),
            nn.Linear(8, len(labels or "abc")),
        )
        self.config = config(labels or ["O", "B", "I"], vocab_size)
        self.seen: set[str] = set()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None) -> Any:
        self.seen = {k for k, v in (("attention_mask", attention_mask), ("labels", labels)) if v is not None}
        return {"logits": self.head(self.drop(self.embed(input_ids)))}


def config(labels: list[str], vocab_size: int = 10) -> SimpleNamespace:
    return SimpleNamespace(id2label=dict(enumerate(labels)), vocab_size=vocab_size)


IDS = torch.arange(6).view(2, 3)


def test_is_always_frozen_and_exact() -> None:
    teacher = Teacher(Model())
    teacher.train()
    first, second = teacher(input_ids=IDS)["logits"], teacher(input_ids=IDS)["logits"]
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(m.training for m in teacher.modules())


def test_reads_only_what_it_accepts_and_never_labels() -> None:
    model = Model()
    Teacher(model)(input_ids=IDS, attention_mask=IDS, labels=IDS, token_type_ids=IDS, num_items_in_batch=3)
    assert model.seen == {"attention_mask"}


def t5() -> Any:
    sizes = {"vocab_size": 16, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, decoder_start_token_id=0)).eval()


def bart(cls: str = "BartForConditionalGeneration") -> Any:
    sizes = {"vocab_size": 16, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8}
    heads = {"decoder_ffn_dim": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return getattr(transformers, cls)(transformers.BartConfig(**sizes, **heads)).eval()


@pytest.mark.parametrize("make", [t5, bart])
def test_an_encoder_decoder_reads_the_targets_that_its_student_reads(make: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model = make()
    batch = {"input_ids": torch.randint(3, 16, (2, 5)), "labels": torch.randint(3, 16, (2, 4))}
    expected = model(**batch).logits
    torch.testing.assert_close(Teacher(model)(**batch)["logits"], expected)
    assert Teacher(model).reads(["input_ids", "labels"]) == ["input_ids", "labels"]
    given = {**batch, "decoder_input_ids": torch.randint(3, 16, (2, 4))}
    assert Teacher(model).reads(list(given)) == ["input_ids", "decoder_input_ids"]
    assert not torch.equal(Teacher(model)(**given)["logits"], expected)


def test_labels_of_an_encoder_decoders_classes_are_no_input() -> None:
    assert Teacher(bart("BartForSequenceClassification")).reads(["input_ids", "labels"]) == ["input_ids"]


def test_a_wrapper_that_takes_anything_gets_all_but_labels() -> None:
    class Wrapper(nn.Module):
        def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
            return {k: torch.zeros(1) for k in kwargs}

    assert set(Teacher(Wrapper())(input_ids=IDS, token_type_ids=IDS, labels=IDS)) == {"input_ids", "token_type_ids"}


def test_input_keys() -> None:
    model = Model()
    teacher = as_teacher(model, Model(), ["input_ids"])
    teacher(input_ids=IDS, attention_mask=IDS)
    assert model.seen == set()
    with pytest.raises(InputError, match="names token_type_ids, which the batch lacks; it has input_ids"):
        as_teacher(teacher, Model(), ["token_type_ids"])(input_ids=IDS)


def test_runs_in_its_own_dtype_whatever_the_students_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Teacher(Model())(input_ids=IDS)["logits"].dtype == torch.float32
    assert Teacher(Model(), dtype=torch.bfloat16)(input_ids=IDS)["logits"].dtype == torch.bfloat16


def test_self_is_a_copy_of_what_the_student_was() -> None:
    student = Model().train()
    teacher = as_teacher(student, student)
    assert teacher.is_self
    assert student.training
    assert all(p.requires_grad for p in student.parameters())
    with torch.no_grad():
        student.head.weight.zero_()
    assert teacher.model.head.weight.abs().max() > 0  # type: ignore[union-attr, operator]
    assert not Teacher(Model()).is_self
    assert self_teacher(student).is_self


class TestLabels:
    def test_same_order_needs_nothing(self) -> None:
        assert align_labels(config(["O", "B"]), config(["O", "B"])) is None

    def test_other_order_is_remapped(self) -> None:
        student, model = Model(["O", "B", "I"]), Model(["I", "O", "B"])
        order = align_labels(student.config, model)
        assert order is not None
        assert order.tolist() == [1, 2, 0]
        plain = Teacher(model)(input_ids=IDS)["logits"]
        remapped = Teacher(model, student)(input_ids=IDS)["logits"]
        assert torch.equal(remapped, plain[..., [1, 2, 0]])

    def test_keys_may_be_text_as_in_json(self) -> None:
        texts = SimpleNamespace(id2label={str(i): f"L{i}" for i in range(11)})
        assert align_labels(config([f"L{i}" for i in range(11)]), texts) is None

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (["O", "B", "X"], "only the student has I, only the teacher has X"),
            (["O", "B"], "only the student has I, only the teacher has none"),
            (["O", "B", "I", "X"], "only the student has none, only the teacher has X"),
        ],
    )
    def test_other_labels(self, labels: list[str], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Teacher(Model(labels), Model())

    def test_unnamed_labels_are_trusted_aloud(self, caplog: pytest.LogCaptureFixture) -> None:
        assert align_labels(config(["O", "B"]), config(["LABEL_0", "LABEL_1"])) is None
        assert "order is taken to be the same" in caplog.text
        with pytest.raises(InputError):
            align_labels(config(["O", "B"]), config(["LABEL_0", "LABEL_1", "LABEL_2"]))

    def test_models_without_labels(self) -> None:
        assert align_labels(None, nn.Linear(2, 2)) is None
        assert align_labels(config(["O"]), nn.Linear(2, 2)) is None


def test_a_smaller_vocabulary() -> None:
    with pytest.raises(InputError, match="knows 8 tokens and the student 10"):
        Teacher(Model(vocab_size=8), Model())
    Teacher(Model(vocab_size=12), Model())
