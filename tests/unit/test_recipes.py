"""Every recipe under recipes/: it validates, its plan has no findings, and a tiny model goes through all of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify.analysis.plan import make_plan
from sparsify.manager import ModifierManager, load_recipe
from sparsify.modifiers.pruning import ConstantPruningModifier, GradualPruning
from sparsify.modifiers.structured import StructuredPruningModifier
from sparsify.quantization.layers import quantizers
from sparsify.recipe.recipe import Recipe
from sparsify.select import prunable_parameters
from sparsify.zoo.manifest import Metric
from sparsify.zoo.registry import entries, resolve_recipe
from tests.helpers.models import task_batch, tiny_model

ROOT = Path(__file__).resolve().parents[2] / "recipes"
FILES = sorted(path for path in ROOT.rglob("recipe*") if path.is_file())
SIZES = {"distilbert": "distilbert"}
STEPS = 2  # an epoch


def stub_of(path: Path) -> str:
    name = path.stem.removeprefix("recipe").removeprefix("_")
    return f"zoo:{path.parent.relative_to(ROOT).as_posix()}" + (f"?recipe={name}" if name else "")


def family_of(path: Path) -> str:
    return SIZES.get(path.stem.removeprefix("recipe_"), "bert")


def task_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[1]


def named(path: Path) -> str:
    parts = stub_of(path).removeprefix("zoo:").split("/")
    return "-".join([parts[1], parts[2], *parts[5:]])


every = pytest.mark.parametrize("path", FILES, ids=named)


def test_there_are_recipes_of_each_kind_for_each_task() -> None:
    assert {task_of(path) for path in FILES} == {
        "token_classification", "text_classification", "question_answering", "masked_language_modeling",
    }  # fmt: skip
    tags = {path.parent.name for path in FILES}
    assert tags >= {
        "pruned90_quant-none", "pruned90-none", "pruned80-none-4x1", "pruned50-none-2of4", "base_quant-none",
        "thinned50_quant-none", "pruneofa90_quant-none", "base_static-none",
    }  # fmt: skip


@every
def test_its_stub_leads_to_it(path: Path) -> None:
    assert resolve_recipe(stub_of(path)).resolve() == path
    assert stub_of(path).partition("?")[0] in entries()


@every
def test_its_text_is_all_of_it_and_its_variables_can_be_changed(path: Path) -> None:
    recipe = Recipe.load(stub_of(path))
    assert Recipe.load(recipe.text) == recipe
    if "distill_hardness" in recipe.variables:
        changed = Recipe.load(stub_of(path), {"distill_hardness": 0.25}).modifiers
        assert next(m for m in changed if m.type == "DistillationModifier").fields["hardness"] == 0.25
    if "num_epochs" in recipe.variables:
        longer = Recipe.load(stub_of(path), {"num_epochs": 40})
        assert longer.modifiers[0].fields["end_epoch"] == 40


@every
def test_it_says_what_it_is_for_how_to_run_it_and_what_was_measured(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    recipe = load_recipe(path).recipe
    assert "metrics" in recipe.variables
    metrics = recipe.variables["metrics"]
    if metrics is None:
        assert re.search(r"^metrics: null  # not measured$", text, re.MULTILINE)
    else:
        assert all(Metric.model_validate(metric).data for metric in metrics)
    if "extends" not in text:
        comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
        assert f"--recipe {stub_of(path)} " in comments
        assert f"sparsify-train {task_of(path)} --model_name_or_path" in comments


@every
def test_it_validates_and_its_plan_has_no_findings(path: Path) -> None:
    manager = load_recipe(path)
    assert not manager.warnings
    manager.check_available()
    with torch.device("meta"):
        model = tiny_model(task_of(path), family_of(path))
    plan = make_plan(manager, steps_per_epoch=100, model=model, epochs=manager.max_epochs or 1)
    assert not [finding.problem for finding in plan.findings]
    assert plan.matched or not any(m.kind in ("pruning", "quantization") for m in manager.modifiers)


@every
def test_a_tiny_model_goes_through_it(path: Path) -> None:
    task = task_of(path)
    model, manager = tiny_model(task, family_of(path)), load_recipe(path)
    zeros = prune_some(model) if holds_zeros(manager) else {}
    before = sum(weight.numel() for weight in prunable_parameters(model).values())
    if manager.max_epochs:
        train(model, manager, task_batch(task))
    else:
        manager.apply(model, calibration_data=[inputs_of(task_batch(task))] * 4)
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight).all()
        if name in zeros:
            assert not weight[zeros[name]].any(), name
    check_sparsity(model, manager)
    assert bool(quantizers(model)) == any(m.kind == "quantization" for m in manager.modifiers)
    assert all(fq.enabled for fq in quantizers(model).values())
    after = sum(weight.numel() for weight in prunable_parameters(model).values())
    assert (after < before) == any(isinstance(m, StructuredPruningModifier) for m in manager.modifiers)


def holds_zeros(manager: ModifierManager) -> bool:
    return any(isinstance(m, ConstantPruningModifier) for m in manager.modifiers)


def prune_some(model: nn.Module) -> dict[str, Tensor]:
    """Make nine tenths of the encoder's weights zero; returns where."""
    generator, found = torch.Generator().manual_seed(0), {}
    for name, weight in prunable_parameters(model).items():
        if ".layer." in name:
            found[name] = torch.rand(weight.shape, generator=generator) < 0.9
            weight.data.masked_fill_(found[name], 0.0)
    return found


def inputs_of(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name in ("input_ids", "attention_mask")}


def train(model: nn.Module, manager: ModifierManager, batch: dict[str, Any]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    teacher = "self" if manager.needs_teacher else None
    with manager.attach(model, optimizer, steps_per_epoch=STEPS, teacher=teacher) as run:
        for _ in range(STEPS * manager.max_epochs):
            run.begin_step()
            outputs = model(**batch)
            run.loss(outputs.loss, inputs=batch, outputs=outputs).backward()
            optimizer.step()
            optimizer.zero_grad()


def check_sparsity(model: nn.Module, manager: ModifierManager) -> None:
    weights = dict(model.named_parameters())
    pruners = [
        m for m in manager.modifiers if isinstance(m, GradualPruning) and not isinstance(m, StructuredPruningModifier)
    ]
    for modifier in pruners:
        chosen = [weights[name] for name in modifier.parameter_names]
        share = sum(int((w == 0).sum()) for w in chosen) / sum(w.numel() for w in chosen)
        assert share == pytest.approx(modifier.values(manager.max_epochs)["sparsity"], abs=2e-3)
        assert share == pytest.approx(manager.recipe.variables["final_sparsity"], abs=2e-3)
    if pruners:
        names = [name for modifier in pruners for name in modifier.parameter_names]
        assert sorted(names) == sorted(n for n in prunable_parameters(model) if ".layer." in n)
