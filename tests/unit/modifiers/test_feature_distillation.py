"""PerLayerDistillationModifier and OutputDistillationModifier on a tiny tagger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from sparsify.distillation.features import relative_error
from sparsify.distillation.teacher import Teacher, self_teacher
from sparsify.errors import InputError, RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers.feature_distillation import FeatureDistillation, PerLayerDistillationModifier
from sparsify.modifiers.output_distillation import OutputDistillationModifier
from tests.helpers.models import tiny_classifier, token_batch


class Net(nn.Module):
    """Two hidden layers; counts its forwards."""

    def __init__(self, seed: int, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.a, self.b = nn.Embedding(12, 8), nn.Linear(8, width), nn.Linear(width, 8)
        self.calls = 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        self.calls += 1
        return {"logits": self.b(torch.relu(self.a(self.embed(input_ids))))}


def inputs(rows: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    mask = torch.ones(rows, 5, dtype=torch.long)
    mask[0, 3:] = 0
    labels = torch.randint(0, 8, (rows, 5), generator=generator).masked_fill(mask == 0, -100)
    return {"input_ids": torch.randint(0, 12, (rows, 5), generator=generator), "attention_mask": mask, "labels": labels}


def make_run(teacher: nn.Module | None, model: nn.Module | None = None) -> Any:
    student = model or Net(0)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    return SimpleNamespace(model=student, teacher=teacher, loss_items=None, loss_scale=1.0, optimizer=optimizer)


def loss_of(modifier: FeatureDistillation, run: Any, batch: dict[str, Tensor], task: float = 1.0) -> Tensor:
    out = run.model(batch["input_ids"], batch["attention_mask"])
    return modifier.on_loss(run, torch.tensor(task), batch, out)


def attached(modifier: FeatureDistillation, run: Any) -> Any:
    modifier.on_attach(run)
    return modifier


def hidden(model: Any, batch: dict[str, Tensor]) -> Tensor:
    found: Tensor = model.a(model.embed(batch["input_ids"]))
    return found


class TestPerLayer:
    def test_adds_the_layers_errors(self) -> None:
        run, batch = make_run(Net(1)), inputs()
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"], gain=2.0), run)
        ours, theirs = hidden(run.model, batch), hidden(run.teacher, batch)
        wanted = 1.0 + 2.0 * relative_error(ours, theirs, batch["attention_mask"])
        assert float(loss_of(modifier, run, batch)) == pytest.approx(float(wanted), rel=1e-6)

    def test_without_normalization_it_is_the_plain_error(self) -> None:
        run, batch = make_run(Net(1)), inputs()
        batch["attention_mask"] = torch.ones(3, 5)
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"], gain=1.0, normalize=False), run)
        wanted = 1.0 + F.mse_loss(hidden(run.model, batch), hidden(run.teacher, batch))
        assert float(loss_of(modifier, run, batch)) == pytest.approx(float(wanted), rel=1e-6)

    def test_all_linear_layers_by_default(self) -> None:
        run = make_run(Net(1))
        attached(PerLayerDistillationModifier(), run)
        assert [bool(m._forward_hooks) for m in (run.model.embed, run.model.a, run.model.b)] == [False, True, True]

    def test_pairs_by_place_in_the_lists(self) -> None:
        run, batch = make_run(Net(1)), inputs()
        names = {"student_layer_names": ["b"], "teacher_layer_names": ["a"]}
        modifier = attached(PerLayerDistillationModifier(gain=1.0, **names), run)
        ours = run.model(batch["input_ids"])["logits"]
        wanted = 1.0 + relative_error(ours, hidden(run.teacher, batch), batch["attention_mask"])
        assert float(loss_of(modifier, run, batch)) == pytest.approx(float(wanted), rel=1e-6)

    @pytest.mark.parametrize("name", ["student_layer_names", "teacher_layer_names"])
    def test_one_list_stands_for_both(self, name: str) -> None:
        modifier, run = PerLayerDistillationModifier(**{name: ["a"]}), make_run(Net(1))
        pairs = modifier.pairs(run.model, run.teacher)
        assert [(ours, theirs) for (ours, _), (theirs, _) in pairs] == [("a", "a")]
        assert modifier.matched(run.model) == ("a.weight", "a.bias")

    def test_widths_that_differ_are_projected_and_the_projection_learns(self) -> None:
        run, batch = make_run(Net(1, width=16)), inputs()
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"]), run)
        for _ in range(2):
            loss_of(modifier, run, batch).backward()
            modifier.on_gradients(run)
        (projection,) = modifier.state_dict()["projections"].values()
        assert projection["weight"].shape == (16, 8)
        assert projection["moments"]["step"] == 2
        assert run.model.a.weight.grad is not None

    def test_or_refused(self) -> None:
        run = make_run(Net(1, width=16))
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"], project_features=False), run)
        with pytest.raises(InputError, match=r"a gives \[3, 5, 8\], its teacher \[3, 5, 16\]"):
            loss_of(modifier, run, inputs())

    def test_micro_batches_add_up_to_the_mean_over_items(self) -> None:
        run, batches = make_run(Net(1)), [inputs(2), inputs(6)]
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"], gain=1.0), run)
        alone = [float(loss_of(modifier, run, batch, task=0.0)) for batch in batches]
        items = [int((batch["labels"] != -100).sum()) for batch in batches]
        run.loss_items, run.loss_scale = torch.tensor(sum(items)), 2.0
        shares = [float(loss_of(modifier, run, batch, task=0.0)) for batch in batches]
        assert shares == pytest.approx([2.0 * a * n / sum(items) for a, n in zip(alone, items, strict=True)])

    def test_training_brings_the_layers_together(self) -> None:
        run, batch = make_run(Net(1)), inputs()
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"]), run)
        losses = []
        for _ in range(60):
            loss = loss_of(modifier, run, batch, task=0.0)
            loss.backward()
            run.optimizer.step()
            run.optimizer.zero_grad()
            losses.append(float(loss))
        assert losses[-1] < 0.2 * losses[0]
        assert all(p.grad is None for p in run.teacher.parameters())

    def test_without_a_teacher_or_a_gain_the_loss_stays(self) -> None:
        batch = inputs()
        for run, gain in ((make_run(None), 1.0), (make_run(Net(1)), 0.0)):
            modifier = attached(PerLayerDistillationModifier(gain=gain), run)
            assert float(loss_of(modifier, run, batch)) == 1.0

    def test_a_self_teacher_comes_back_with_the_state(self) -> None:
        run, batch = make_run(self_teacher(Net(0))), inputs()
        modifier = attached(PerLayerDistillationModifier(student_layer_names=["a"]), run)
        again_run = make_run(self_teacher(Net(5)))
        again = attached(PerLayerDistillationModifier(student_layer_names=["a"]), again_run)
        again.load_state_dict(modifier.state_dict(), again_run)
        again_run.model.load_state_dict(run.model.state_dict())
        assert float(loss_of(modifier, run, batch)) == float(loss_of(again, again_run, batch)) == 1.0

    def test_hooks_go(self) -> None:
        run = make_run(Net(1))
        modifier = attached(PerLayerDistillationModifier(), run)
        modifier.on_detach(run)
        assert not any(m._forward_hooks for model in (run.model, run.teacher) for m in model.modules())

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"student_layer_names": ["c"]}, "student: no module of the model matches 'c'"),
            ({"student_layer_names": ["a"], "teacher_layer_names": ["c"]}, "teacher: no module"),
            ({"student_layer_names": ["a"], "teacher_layer_names": ["a", "b"]}, "1 layers of the student"),
        ],
    )
    def test_names_that_do_not_fit(self, fields: dict[str, Any], told: str) -> None:
        with pytest.raises(RecipeError, match=told):
            attached(PerLayerDistillationModifier(**fields), make_run(Net(1)))

    def test_a_layer_that_takes_no_part(self) -> None:
        class Idle(Net):
            def __init__(self, seed: int) -> None:
                super().__init__(seed)
                self.idle = nn.Linear(8, 8)

        run = make_run(Idle(1), Idle(0))
        with pytest.raises(InputError, match="idle took no part"):
            loss_of(attached(PerLayerDistillationModifier(student_layer_names=["idle"]), run), run, inputs())

    @pytest.mark.parametrize("fields", [{"gain": -1.0}, {"epsilon": 0.0}, {"student_layer_names": [1]}])
    def test_refuses(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            PerLayerDistillationModifier(**fields)


class TestOutput:
    @pytest.mark.parametrize("targets", ["b", ["b"], [["b", "b"]], "re:b$"])
    def test_mixes_by_its_scales(self, targets: Any) -> None:
        run, batch = make_run(Net(1)), inputs()
        fields = {"comparison": "square_head", "orig_scale": 0.5, "distill_scale": 3.0}
        modifier = attached(OutputDistillationModifier(targets=targets, **fields), run)
        ours, theirs = (m(batch["input_ids"])["logits"] for m in (run.model, run.teacher))
        wanted = 0.5 * 2.0 + 3.0 * relative_error(ours, theirs, batch["attention_mask"])
        assert float(loss_of(modifier, run, batch, task=2.0)) == pytest.approx(float(wanted), rel=1e-6)

    def test_is_the_mean_over_the_targets(self) -> None:
        run, batch = make_run(Net(1)), inputs()
        found = {}
        for targets in (["a"], ["b"], ["a", "b"]):
            modifier = attached(OutputDistillationModifier(targets=targets, comparison="l2_distance"), run)
            found[tuple(targets)] = float(loss_of(modifier, run, batch, task=0.0))
            modifier.on_detach(run)
        assert found["a", "b"] == pytest.approx((found["a",] + found["b",]) / 2)

    @pytest.mark.parametrize("comparison", ["kl_divergence", "cross_entropy"])
    def test_a_softmax_that_the_recipe_names_is_not_taken_twice(self, comparison: str) -> None:
        run, batch = make_run(Net(1)), inputs()
        found = []
        for transforms in ("identity", "softmax", ["log_softmax"]):
            fields = {"comparison": comparison, "transforms": transforms}
            modifier = attached(OutputDistillationModifier(targets="b", **fields), run)
            found.append(float(loss_of(modifier, run, batch)))
            modifier.on_detach(run)
        assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-5)
        assert found[0] > 1.0

    def test_a_linear_projection(self) -> None:
        run, batch = make_run(Net(1, width=16)), inputs()
        modifier = attached(OutputDistillationModifier(targets="a", comparison="square_head", projection="linear"), run)
        loss_of(modifier, run, batch).backward()
        assert list(modifier.state_dict()["projections"]) == ["0"]
        modifier = attached(OutputDistillationModifier(targets="a", comparison="square_head"), run)
        with pytest.raises(InputError, match="let the recipe project them"):
            loss_of(modifier, run, batch)

    def test_offloading_changes_no_number(self) -> None:
        run, batch = make_run(Net(1)), inputs()
        losses = []
        for offload in (False, True):
            modifier = attached(OutputDistillationModifier(targets="a", offload_layer_output=offload), run)
            losses.append(float(loss_of(modifier, run, batch)))
            modifier.on_detach(run)
        assert losses[0] == losses[1]

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"targets": []}, "a layer's name or pattern"),
            ({"targets": [["a", "b", "c"]]}, "a layer's name or pattern"),
            ({"comparison": "kl"}, "kl_divergence"),
            ({"transforms": ["soft"]}, "log_softmax"),
            ({"comparison_args": {"temprature": 2.0}}, "did you mean temperature"),
            ({"comparison_args": {"temperature": 0}}, "temperature is above 0"),
            ({"comparison": "square_head", "comparison_args": {"dim": 1}}, "it takes no arguments"),
            ({"transforms": "normalize", "transforms_args": {"mean": 3}}, "mean is true or false"),
            ({"transforms": "softmax", "transforms_args": [{}, {}]}, "2 entries for 1 transforms"),
            ({"projection": "linear", "projection_args": {"bias": True}}, "projection_args"),
            ({"orig_scale": -1.0}, "greater than or equal to 0"),
        ],
    )
    def test_refuses(self, fields: dict[str, Any], told: str) -> None:
        with pytest.raises(ValidationError, match=told):
            OutputDistillationModifier(**({"targets": "a"} | fields))


@pytest.mark.parametrize(
    "modifier",
    [
        PerLayerDistillationModifier(student_layer_names=["a"], teacher_layer_names=["b"]),
        OutputDistillationModifier(targets=[["a", "elsewhere"]]),
    ],
)
def test_names_the_students_parameters_without_a_teacher(modifier: FeatureDistillation) -> None:
    assert modifier.matched(Net(0)) == ("a.weight", "a.bias")
    with pytest.raises(RecipeError, match="student: no module"):
        OutputDistillationModifier(targets=["elsewhere"]).matched(Net(0))


def test_a_shared_teacher_answers_once_per_batch() -> None:
    recipe = (
        "modifiers:\n"
        "  - !DistillationModifier {hardness: 0.5, temperature: 2.0, distill_output_keys: [logits], end_epoch: 1.0}\n"
        "  - !PerLayerDistillationModifier {student_layer_names: [a]}\n"
        "  - !OutputDistillationModifier {targets: b, comparison: square_head}\n"
    )
    student, teacher = Net(0), Net(1)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    with load_recipe(recipe).attach(student, optimizer, 3, teacher=teacher) as run:
        for rows in (2, 3, 4):
            batch = inputs(rows)
            out = student(batch["input_ids"])
            run.loss(out["logits"].square().mean(), inputs=batch, outputs=out).backward()
            optimizer.step()
    assert teacher.calls == 3


def test_a_shared_teacher_sees_that_a_batch_was_changed() -> None:
    teacher = Teacher(Net(1))
    teacher.shared = True
    batch = inputs()
    first = teacher(**batch)["logits"]
    assert teacher(**batch)["logits"] is first
    batch["input_ids"].add_(1).remainder_(12)
    assert not torch.equal(teacher(**batch)["logits"], first)
    assert not torch.equal(teacher(input_ids=batch["input_ids"][:1])["logits"], first)


def test_layers_of_a_transformers_model() -> None:
    student, teacher = tiny_classifier(seed=0), tiny_classifier(seed=1)
    recipe = (
        "modifiers:\n  - !OutputDistillationModifier\n"
        "    targets: ['re:bert.encoder.layer.[0-9]+$']\n    comparison: square_head\n    end_epoch: 1.0\n"
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    batch, losses = token_batch(), []
    with load_recipe(recipe).attach(student, optimizer, 15, teacher=teacher) as run:
        for _ in range(15):
            run.begin_step()
            out = student(**batch)
            loss = run.loss(out.loss * 0, inputs=batch, outputs=out)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
