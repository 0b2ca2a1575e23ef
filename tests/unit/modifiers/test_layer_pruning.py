from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparsify.errors import RecipeError
from sparsify.export.checkpoint import load_model
from sparsify.manager import ModifierManager, load_recipe
from sparsify.pruning.skip import skipped
from tests.helpers.models import tiny_classifier, token_batch

ONE = "[bert.encoder.layer.1]"


def recipe(layers: str = ONE, more: str = "") -> ModifierManager:
    return load_recipe(
        f"modifiers:\n  - !LayerPruningModifier\n    layers: {layers}\n{more}"
        "  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 1.0}\n"
    )


@pytest.mark.parametrize("layers", [ONE, "bert.encoder.layer.1", "['re:bert.encoder.layer.1']"])
def test_takes_layers_out_once_however_often_it_is_asked(layers: str) -> None:
    manager, model = recipe(layers), tiny_classifier()
    before = sum(p.numel() for p in model.parameters())
    for _ in range(2):
        manager.apply_structure(model)
        assert list(skipped(model)) == ["bert.encoder.layer.1"]
    assert sum(p.numel() for p in model.parameters()) < before
    assert not any(name.startswith("bert.encoder.layer.1.") for name in model.state_dict())


def test_a_class_can_be_named() -> None:
    manager, model = recipe("[BertLayer]"), tiny_classifier()
    for _ in range(2):
        manager.apply_structure(model)
        assert list(skipped(model)) == ["bert.encoder.layer.0", "bert.encoder.layer.1"]


def test_names_what_would_go() -> None:
    found = recipe().modifiers[0].matched(tiny_classifier())
    assert found
    assert all(name.startswith("bert.encoder.layer.1.") for name in found)


def test_other_modifiers_see_the_layers_that_are_left() -> None:
    more = (
        "  - !GMPruningModifier {params: ['re:bert.encoder.layer.*.output.dense.weight'], init_sparsity: 0.5, "
        "final_sparsity: 0.8, start_epoch: 0.0, end_epoch: 1.0, update_frequency: 0.5}\n"
        "  - !QuantizationModifier {start_epoch: 0.0}\n"
    )
    manager, model = recipe(more=more), tiny_classifier()
    manager.apply_structure(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with manager.attach(model, optimizer, 2) as run:
        for step in range(2):
            run.begin_step()
            model(**token_batch(step)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert all(".layer.0." in name for name in manager.modifiers[1].parameter_names)  # type: ignore[attr-defined]
    weight = model.get_parameter("bert.encoder.layer.0.output.dense.weight")
    assert (weight == 0).float().mean() == pytest.approx(0.8, abs=1e-3)


def test_a_saved_model_loads_without_them(tmp_path: Path) -> None:
    manager, model = recipe(), tiny_classifier()
    manager.apply_structure(model)
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    manager.recipe.save(tmp_path / "recipe.yaml")
    loaded = load_model(tmp_path)
    batch = {k: v for k, v in token_batch().items() if k != "labels"}
    assert torch.equal(loaded(**batch).logits, model.eval()(**batch).logits)
    assert list(skipped(loaded)) == ["bert.encoder.layer.1"]


@pytest.mark.parametrize(
    ("layers", "told"),
    [("[bert.encoder.layer.7]", "no module of the model matches"), ("[BertSelfAttention, classifier]", "layers: ")],
)
def test_refuses_at_its_place(layers: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told) as raised:
        recipe(layers).apply_structure(tiny_classifier())
    assert raised.value.line == 2


@pytest.mark.parametrize("times", ["start_epoch: 0.5", "end_epoch: 1.0"])
def test_the_middle_of_a_run_is_not_available_yet(times: str) -> None:
    manager = recipe(more=f"    {times}\n")
    with pytest.raises(RecipeError, match="not available yet: LayerPruningModifier"):
        manager.check_available()
    with pytest.raises(RecipeError, match="not available yet"):
        manager.apply_structure(tiny_classifier())


def test_needs_a_layer() -> None:
    with pytest.raises(RecipeError, match="at least 1 item"):
        recipe("[]")
