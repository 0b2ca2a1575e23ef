from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from pydantic import ValidationError
from torch import Tensor, nn

from sparsify.distillation.comparisons import kl_by_position
from sparsify.distillation.teacher import self_teacher
from sparsify.errors import InputError, StateError
from sparsify.modifiers.distillation import DistillationModifier


class Tagger(nn.Module):
    def __init__(self, seed: int, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.head = nn.Embedding(12, 8), nn.Linear(8, classes)

    def forward(self, input_ids: Tensor, **ignored: Any) -> dict[str, Tensor]:
        return {"logits": self.head(self.embed(input_ids))}


def make_run(teacher: nn.Module | None) -> SimpleNamespace:
    return SimpleNamespace(model=Tagger(0), teacher=teacher, loss_items=None, loss_scale=1.0)


def attached(run: Any, **fields: Any) -> DistillationModifier:
    modifier = DistillationModifier(**fields)
    modifier.on_attach(run)
    return modifier


def batch(rows: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (rows, 5), generator=generator)
    labels[torch.rand(rows, 5, generator=generator) < 0.4] = -100
    labels[:, 1] = 1
    return {"input_ids": torch.randint(0, 12, (rows, 5), generator=generator), "labels": labels}


def task(outputs: Mapping[str, Tensor], labels: Tensor, items: int | None = None) -> Tensor:
    total = F.cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten(), reduction="sum")
    return total / ((labels != -100).sum() if items is None else items)


def test_mixes_task_and_teacher() -> None:
    run, inputs = make_run(Tagger(1)), batch(4)
    outputs = run.model(**inputs)
    plain = task(outputs, inputs["labels"])
    found = attached(run, hardness=0.3, temperature=3.0).on_loss(run, plain, inputs, outputs)
    kd = kl_by_position(outputs["logits"], run.teacher(**inputs)["logits"], 3.0)[inputs["labels"] != -100].mean()
    assert float(found) == pytest.approx(float(0.7 * plain + 0.3 * kd), rel=1e-6)


def test_a_causal_language_model_is_compared_where_it_predicts_a_label() -> None:
    sizes = {"vocab_size": 12, "n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    run, inputs = make_run(Tagger(1, classes=12)), batch(4)
    run.model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    outputs = run.model(**inputs)
    found = attached(run, hardness=1.0).on_loss(run, outputs.loss, inputs, outputs)
    by_position = kl_by_position(outputs.logits, run.teacher(**inputs)["logits"], 2.0)
    wanted = by_position[:, :-1][inputs["labels"][:, 1:] != -100].mean()
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    assert float(wanted) != pytest.approx(float(by_position[inputs["labels"] != -100].mean()), rel=1e-3)


def test_outputs_are_averaged() -> None:
    run, inputs = make_run(nn.Identity()), batch(2)
    a, b = torch.randn(2, 2, 4)
    outputs = {"a": a, "b": b}

    class Two(nn.Module):
        def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
            return {"a": b, "b": a}

    run.teacher = Two()
    modifier = attached(run, hardness=1.0, distill_output_keys=["a", "b"])
    found = modifier.on_loss(run, torch.tensor(9.0), inputs, outputs)
    wanted = (kl_by_position(a, b, 2.0).mean() + kl_by_position(b, a, 2.0).mean()) / 2
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)


@pytest.mark.parametrize("splits", [[4], [1, 3], [2, 1, 1]])
@pytest.mark.parametrize("tensor_items", [False, True])
def test_accumulation_gives_the_whole_batchs_gradient(splits: list[int], tensor_items: bool) -> None:
    inputs = batch(4)
    items = int((inputs["labels"] != -100).sum())

    def gradient(sizes: list[int]) -> Tensor:
        run = make_run(Tagger(1))
        run.loss_items = torch.tensor(items) if tensor_items else items
        modifier = attached(run)
        for part in zip(*(v.split(sizes) for v in inputs.values()), strict=True):
            piece = dict(zip(inputs, part, strict=True))
            outputs = run.model(**piece)
            modifier.on_loss(run, task(outputs, piece["labels"], items), piece, outputs).backward()
        return run.model.head.weight.grad

    run = make_run(Tagger(1))
    outputs = run.model(**inputs)
    attached(run).on_loss(run, task(outputs, inputs["labels"]), inputs, outputs).backward()
    assert torch.allclose(gradient(splits), run.model.head.weight.grad, atol=1e-6)


def test_two_ranks_scale_as_the_trainer_does() -> None:
    run, inputs = make_run(Tagger(1)), batch(4)
    outputs = run.model(**inputs)
    modifier = attached(run, hardness=1.0)
    run.loss_items = 40
    once = modifier.on_loss(run, torch.tensor(0.0), inputs, outputs)
    run.loss_scale = 2.0
    assert float(modifier.on_loss(run, torch.tensor(0.0), inputs, outputs)) == pytest.approx(2 * float(once))


def test_a_micro_batch_in_which_nothing_counts_adds_nothing() -> None:
    run, inputs = make_run(Tagger(1)), batch(2)
    inputs["labels"][:] = -100
    outputs = run.model(**inputs)
    assert float(attached(run, hardness=1.0).on_loss(run, torch.tensor(0.0), inputs, outputs)) == 0.0


def test_only_the_student_learns() -> None:
    run, inputs = make_run(Tagger(1)), batch(2)
    outputs = run.model(**inputs)
    attached(run, hardness=1.0).on_loss(run, torch.tensor(0.0), inputs, outputs).backward()
    assert all(p.grad is not None for p in run.model.parameters())
    assert all(p.grad is None for p in run.teacher.parameters())


def test_without_a_teacher_or_weight_the_loss_is_untouched() -> None:
    loss = torch.tensor(1.5)
    for run, hardness in ((make_run(None), 0.5), (make_run(Tagger(1)), 0.0)):
        assert attached(run, hardness=hardness).on_loss(run, loss, {}, None) is loss


def test_bfloat16_autocast_keeps_the_sum_in_fp32() -> None:
    run, inputs = make_run(Tagger(1)), batch(4)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = run.model(**inputs)
        found = attached(run, hardness=1.0).on_loss(run, torch.tensor(0.0), inputs, outputs)
    assert outputs["logits"].dtype == torch.bfloat16
    assert found.dtype == torch.float32


def test_mismatches_are_said_plainly() -> None:
    run, inputs = make_run(Tagger(1, classes=4)), batch(2)
    outputs = run.model(**inputs)
    with pytest.raises(InputError, match=r"\[2, 5, 3\] in the student and \[2, 5, 4\] in the teacher"):
        attached(run).on_loss(run, torch.tensor(0.0), inputs, outputs)
    with pytest.raises(InputError, match="the student gives no output 'start_logits'; it gives logits"):
        attached(run, distill_output_keys=["start_logits"]).on_loss(run, torch.tensor(0.0), inputs, outputs)


def test_self_teacher_survives_a_resume() -> None:
    run = make_run(None)
    run.teacher = self_teacher(run.model)
    state = attached(run).state_dict()
    later = make_run(None)
    later.model = Tagger(5)
    later.teacher = self_teacher(later.model)
    again = attached(later)
    again.load_state_dict(state, later)
    inputs = batch(2)
    assert torch.equal(later.teacher(**inputs)["logits"], run.model(**inputs)["logits"])
    later.teacher = self_teacher(Tagger(5, classes=4))
    with pytest.raises(StateError, match="does not fit"):
        attached(later).load_state_dict(state, later)


def test_another_teacher_is_not_saved() -> None:
    assert attached(make_run(Tagger(1))).state_dict() == {}


def test_values_and_detach() -> None:
    run = make_run(Tagger(1))
    modifier = attached(run, start_epoch=1.0, end_epoch=2.0)
    assert [modifier.values(e) for e in (0.5, 1.0, 2.0)] == [{}, {"distillation_hardness": 0.5}, {}]
    modifier.on_detach(run)
    loss = torch.tensor(1.0)
    assert modifier.on_loss(run, loss, {}, None) is loss


@pytest.mark.parametrize("fields", [{"hardness": 1.5}, {"hardness": -0.1}, {"temperature": 0.0}, {"hardnes": 0.5}])
def test_refuses(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DistillationModifier(**fields)  # type: ignore[arg-type]


def test_empty_lists_of_names_stand_for_all() -> None:
    run, inputs = make_run(Tagger(1)), batch(4)
    outputs = run.model(**inputs)
    plain = task(outputs, inputs["labels"])
    losses = [
        attached(run, **fields).on_loss(run, plain, inputs, outputs)
        for fields in ({}, {"distill_output_keys": [], "teacher_input_keys": []})
    ]
    assert torch.equal(*losses)


class Answerer(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.head = nn.Embedding(12, 8), nn.Linear(8, 2)

    def forward(self, input_ids: Tensor, **ignored: Any) -> dict[str, Tensor]:
        start, end = self.head(self.embed(input_ids)).unbind(-1)
        return {"start_logits": start, "end_logits": end}


@pytest.mark.parametrize("parts", [[6], [4, 2]])
def test_starts_and_ends_weigh_as_much_as_their_labels_however_a_step_is_cut(parts: list[int]) -> None:
    """A row of question answering has three labels (start, end, length) and is one row of each output."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 12, (6, 7), generator=generator)
    mask = (torch.arange(7) < torch.tensor([7, 4, 6, 7, 5, 3])[:, None]).long()
    labels = torch.ones(6, 3, dtype=torch.long)
    student, teacher = Answerer(1), Answerer(2)
    run: Any = SimpleNamespace(model=student, teacher=teacher, loss_items=torch.tensor(18), loss_scale=1.0)
    modifier = attached(run, hardness=1.0, temperature=2.0)
    found = 0.0
    for rows in torch.arange(6).split(parts):
        batch = {"input_ids": ids[rows], "attention_mask": mask[rows], "labels": labels[rows]}
        found += float(modifier.on_loss(run, torch.tensor(0.0), batch, student(ids[rows])))
    ours, theirs = student(ids), teacher(ids)
    each = [kl_by_position(ours[key], theirs[key], 2.0, mask == 1).mean() for key in ("start_logits", "end_logits")]
    assert found == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)
