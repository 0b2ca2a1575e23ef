from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparsify.distillation.comparisons import kl_by_position
from sparsify.distillation.losses import distance_over_counted, matching_keys, named_outputs
from sparsify.errors import InputError


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """KL(teacher || student) * T^2 of one position, with plain floats."""

    def probabilities(logits: Tensor) -> list[float]:
        powers = [math.exp(v / temperature) for v in logits.tolist()]
        return [p / sum(powers) for p in powers]

    p, q = probabilities(teacher), probabilities(student)
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) * temperature**2


@given(st.integers(0, 10_000), st.floats(0.5, 8.0))
def test_positions_equal_the_formula(seed: int, temperature: float) -> None:
    student, teacher = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)).unbind()
    found = kl_by_position(student, teacher, temperature)
    wanted = [
        [by_hand(s, t, temperature) for s, t in zip(a, b, strict=True)] for a, b in zip(student, teacher, strict=True)
    ]
    assert found.shape == (3, 4)
    assert torch.allclose(found, torch.tensor(wanted), rtol=1e-4, atol=1e-5)
    assert (found >= -1e-5).all()


def test_zero_only_where_equal() -> None:
    logits = torch.randn(4, 6)
    assert kl_by_position(logits, logits + 3.0, 2.0).abs().max() < 1e-6  # a shift changes no softmax
    assert kl_by_position(logits, logits.flip(-1), 2.0).min() > 1e-4


def test_gradient_is_that_of_soft_cross_entropy() -> None:
    student, teacher = torch.randn(5, 3, dtype=torch.float32, requires_grad=True), torch.randn(5, 3)
    kl_by_position(student, teacher, 4.0).sum().backward()
    assert student.grad is not None
    wanted = 4.0 * ((student / 4.0).softmax(-1) - (teacher / 4.0).softmax(-1))
    assert torch.allclose(student.grad, wanted.detach(), atol=1e-6)


def test_half_precision_is_summed_in_fp32() -> None:
    student, teacher = torch.randn(2, 64, 8).bfloat16().unbind()
    assert kl_by_position(student, teacher, 1.0).dtype == torch.float32


class TestCounted:
    student, teacher = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(1)).unbind()
    labels = torch.tensor([[-100, 1, 2, -100], [0, -100, -100, -100]])
    attention = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])

    def over(self, **inputs: Tensor) -> tuple[float, int]:
        total, count = distance_over_counted("logits", self.student, self.teacher, 2.0, inputs)
        return float(total), int(count)

    def expect(self, mask: Tensor) -> float:
        return float(kl_by_position(self.student, self.teacher, 2.0)[mask].sum())

    def test_labels_say_what_counts(self) -> None:
        total, count = self.over(labels=self.labels, attention_mask=self.attention)
        assert count == 3
        assert total == pytest.approx(self.expect(self.labels != -100))

    def test_without_labels_the_attention_mask_does(self) -> None:
        total, count = self.over(attention_mask=self.attention)
        assert count == 6
        assert total == pytest.approx(self.expect(self.attention == 1))

    def test_without_either_all_do(self) -> None:
        total, count = self.over()
        assert count == 8
        assert total == pytest.approx(self.expect(torch.ones(2, 4, dtype=torch.bool)))

    def test_what_does_not_count_has_no_gradient_even_if_infinite(self) -> None:
        student = self.student.clone()
        student[0, 0] = torch.tensor([1e30, -1e30, 0.0])
        student.requires_grad_()
        distance_over_counted("logits", student, self.teacher, 2.0, {"labels": self.labels})[0].backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()
        assert student.grad[self.labels == -100].abs().max() == 0
        assert student.grad[self.labels != -100].abs().min() > 0

    def test_sentence_outputs_count_each_row(self) -> None:
        student, teacher = self.student[:, 0], self.teacher[:, 0]
        inputs = {"labels": torch.tensor([1, 2]), "attention_mask": self.attention}
        total, count = distance_over_counted("logits", student, teacher, 2.0, inputs)
        assert int(count) == 2
        assert float(total) == pytest.approx(
            sum(by_hand(s, t, 2.0) for s, t in zip(student, teacher, strict=True)), rel=1e-4
        )

    def test_spans_are_one_softmax_over_the_sequence_without_padding(self) -> None:
        student, teacher = self.student[..., 0].clone().requires_grad_(), self.teacher[..., 0]
        total, count = distance_over_counted("end_logits", student, teacher, 2.0, {"attention_mask": self.attention})
        wanted = by_hand(student[0], teacher[0], 2.0) + by_hand(student[1, :2], teacher[1, :2], 2.0)
        assert int(count) == 2
        assert float(total) == pytest.approx(wanted, rel=1e-4)
        total.backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()
        assert student.grad[1, 2:].tolist() == [0.0, 0.0]

    def test_the_number_of_a_regression_is_compared_as_it_is(self) -> None:
        student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [4.0]])
        total, count = distance_over_counted("logits", student, teacher, 3.0, {"labels": torch.tensor([1.0, 2.0])})
        assert (float(total), int(count)) == (0.25 + 4.0, 2)

    def test_classes_that_do_not_exclude_each_other_count_each_on_its_own(self) -> None:
        student, teacher = self.student[:, 0], self.teacher[:, 0]
        total, count = distance_over_counted("logits", student, teacher, 2.0, {"labels": torch.zeros(2, 3)})
        # a class against its absence: two logits, z and 0
        pairs = zip(student.flatten(), teacher.flatten(), strict=True)
        wanted = sum(by_hand(torch.stack([s, s * 0]), torch.stack([t, t * 0]), 2.0) for s, t in pairs)
        assert int(count) == 6
        assert float(total) == pytest.approx(wanted, rel=1e-4)

    def test_shapes_must_agree(self) -> None:
        with pytest.raises(InputError, match=r"'logits' is \[2, 4, 3\] in the student and \[2, 4, 2\] in the teacher"):
            distance_over_counted("logits", self.student, self.teacher[..., :2], 2.0, {})


class TestKeys:
    logits, loss = torch.zeros(2, 3, 4), torch.tensor(1.0)

    def test_left_out_means_the_logits_and_never_the_loss(self) -> None:
        outputs = {"loss": self.loss, "logits": self.logits, "hidden": (self.logits,), "last_hidden_state": self.logits}
        assert matching_keys(outputs, {"logits": self.logits, "last_hidden_state": self.logits}, None) == ["logits"]
        spans = {"loss": self.loss, "start_logits": self.logits, "end_logits": self.logits}
        assert matching_keys(spans, spans, None) == ["start_logits", "end_logits"]

    def test_left_out_takes_other_names_where_none_ends_in_logits(self) -> None:
        assert matching_keys({"scores": self.logits, "ids": self.logits.long()}, {"scores": self.logits}, None) == [
            "scores"
        ]

    @pytest.mark.parametrize(
        ("student", "teacher", "wanted", "message"),
        [
            ({"logits": logits}, {"last_hidden_state": logits}, None, "share no logits: the student gives logits"),
            ({"logits": logits}, {"loss": loss}, ["logits"], "the teacher gives no output 'logits'; it gives loss"),
            ({"loss": loss}, {"loss": loss}, ["loss"], r"output 'loss' of the student is torch.float32 \[\]"),
            ({"logits": logits.long()}, {"logits": logits}, ["logits"], "torch.int64"),
        ],
    )
    def test_errors(
        self, student: dict[str, Tensor], teacher: dict[str, Tensor], wanted: list[str] | None, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            matching_keys(student, teacher, wanted)

    def test_names(self) -> None:
        assert list(named_outputs(self.logits)) == ["logits"]
        assert list(named_outputs((self.loss, self.logits))) == ["0", "1"]
        assert list(named_outputs({"a": self.loss})) == ["a"]
        with pytest.raises(InputError, match="a model returned a int"):
            named_outputs(3)
