from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from sparsify.distillation.features import (
    COMPARISONS,
    Tap,
    compare,
    counted_mean,
    relative_error,
    squared_error,
    transformed,
)
from sparsify.errors import InputError


class Giver(nn.Module):
    """Gives what it is told to."""

    def forward(self, value: Any) -> Any:
        return value


def pair(seed: int = 0, shape: tuple[int, ...] = (2, 5, 4)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


class TestTap:
    @pytest.mark.parametrize(
        "wrap", [lambda x: x, lambda x: (x, None), lambda x: {"mask": None, "hidden": x}, lambda x: [x]]
    )
    def test_records_the_first_tensor(self, wrap: Any) -> None:
        model, x = Giver(), torch.randn(2)
        tap = Tap({"layer": model})
        model(wrap(x))
        assert tap.take()[0] is x

    def test_takes_the_last_forward_and_forgets_it(self) -> None:
        model = Giver()
        tap = Tap({"layer": model})
        model(torch.zeros(1))
        model(torch.ones(1))
        assert tap.take()[0].item() == 1
        with pytest.raises(InputError, match=r"layer took no part in the forward pass: choose other layers$"):
            tap.take()

    def test_one_for_students_leaves_evaluation_out(self) -> None:
        model = Giver()
        tap = Tap({"layer": model}, gradients=True)
        with torch.no_grad():
            model(torch.zeros(1))
        with pytest.raises(InputError, match="or checkpoint gradients with use_reentrant=False"):
            tap.take()

    def test_close_removes_the_hooks(self) -> None:
        model = Giver()
        tap = Tap({"layer": model})
        tap.close()
        assert not model._forward_hooks
        assert not tap.on

    def test_what_holds_no_tensor(self) -> None:
        model = Giver()
        Tap({"layer": model})
        with pytest.raises(InputError, match="layer gives str"):
            model("text")


class TestMeans:
    def test_padding_does_not_count(self) -> None:
        values, mask = torch.tensor([[1.0, 2.0, 100.0]]), torch.tensor([[1, 1, 0]])
        assert counted_mean(values, mask).item() == 1.5
        assert counted_mean(values, None).item() == pytest.approx(103 / 3)
        assert counted_mean(values.T, mask).item() == pytest.approx(103 / 3)

    def test_nan_in_padding_does_not_spread(self) -> None:
        student, teacher = pair()
        student[:, -1] = float("nan")
        mask = torch.ones(2, 5)
        mask[:, -1] = 0
        assert squared_error(student, teacher, mask).isfinite()

    def test_errors_are_those_of_their_formulas(self) -> None:
        student, teacher = pair()
        assert squared_error(student, teacher, None).item() == pytest.approx(F.mse_loss(student, teacher).item())
        wanted = F.mse_loss(student, teacher) / (teacher.square().mean() + 0.1)
        assert relative_error(student, teacher, None, 0.1).item() == pytest.approx(wanted.item())

    @given(factor=st.floats(1e-3, 1e3))
    def test_the_relative_error_knows_no_units(self, factor: float) -> None:
        student, teacher = (part.double() for part in pair())
        scaled = relative_error(student * factor, teacher * factor, None, 0.0)
        assert scaled.item() == pytest.approx(relative_error(student, teacher, None, 0.0).item(), rel=1e-9)


class TestComparisons:
    @pytest.mark.parametrize("name", [*COMPARISONS, "square_head"])
    def test_training_on_it_brings_them_together(self, name: str) -> None:
        student, teacher = pair()
        student.requires_grad_()
        optimizer = torch.optim.SGD([student], lr=0.05)
        before = F.cosine_similarity(student, teacher, dim=-1).mean().item()
        for _ in range(20):
            compare(name, student, teacher, None).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        assert F.cosine_similarity(student, teacher, dim=-1).mean().item() > before

    def test_kl_is_torchs(self) -> None:
        student, teacher = pair()
        found = compare("kl_divergence", student, teacher, None, {"temperature": 2.0})
        ours, theirs = (student / 2).log_softmax(-1), (teacher / 2).log_softmax(-1)
        wanted = F.kl_div(ours, theirs, log_target=True, reduction="sum") / 10
        assert found.item() == pytest.approx(wanted.item(), rel=1e-6)

    def test_cross_entropy_is_torchs(self) -> None:
        student, teacher = pair()
        wanted = F.cross_entropy(student.flatten(0, 1), teacher.softmax(-1).flatten(0, 1))
        assert compare("cross_entropy", student, teacher, None).item() == pytest.approx(wanted.item(), rel=1e-6)

    @pytest.mark.parametrize(("name", "alike"), [("kl_divergence", 0), ("cosine_similarity", 0), ("l1_distance", 0)])
    def test_of_a_tensor_with_itself(self, name: str, alike: float) -> None:
        student, _ = pair()
        assert compare(name, student, student, None).item() == pytest.approx(alike, abs=1e-6)

    def test_distances_sum_over_the_width(self) -> None:
        student, teacher = torch.zeros(1, 1, 4), torch.full((1, 1, 4), 3.0)
        assert compare("l1_distance", student, teacher, None).item() == 12
        assert compare("l2_distance", student, teacher, None).item() == 36
        assert compare("inner_product", teacher, teacher, None).item() == -36


class TestTransforms:
    def test_in_their_order(self) -> None:
        x, _ = pair()
        found = transformed(x, ["normalize", "softmax"], [{"p": 2.0}, {"temperature": 0.5}])
        assert torch.allclose(found, (F.normalize(x, p=2, dim=-1) / 0.5).softmax(-1))

    def test_normalize_can_centre_and_scale(self) -> None:
        x, _ = pair()
        found = transformed(x, ["normalize"], [{"mean": True, "std": True}])
        assert torch.allclose(found.mean(-1), torch.zeros(2, 5), atol=1e-6)
        assert torch.allclose(found.std(-1), torch.ones(2, 5))

    def test_identity_and_log_softmax(self) -> None:
        x, _ = pair()
        assert transformed(x, ["identity"], [{}]) is x
        total = transformed(x, ["log_softmax"], [{"temperature": 2.0}]).exp().sum(-1)
        assert total.flatten().tolist() == pytest.approx([1.0] * 10)
        assert math.isfinite(total.sum().item())
