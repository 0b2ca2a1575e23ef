"""The recipes that people wrote for SparseML (../shared/data/recipe_corpus): each loads, or is told what it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.plan import Moment, timeline
from sparsify.recipe.recipe import Recipe
from sparsify.recipe.resolved import resolved

TOLD = {
    "integrations__old-examples__pytorch__recipes__mobilenet-pruned_quant.md": (62, 15, "undefined alias"),
    "tests__sparseml__pytorch__optim__test_manager.py__py4.yaml": (12, 17, "not valid YAML"),
    "tests__sparseml__sparsification__test_recipe_builder.py__py1.yaml": (6, 5, "unknown modifier 'FakeModifier'"),
    "tests__sparseml__transformers__obcq__obcq_configs__separate_quants__tiny_llama_separate_quant.yaml": (
        1, 1, "no modifiers found: a mapping with the keys cadence, test_type",
    ),
    "tests__sparseml__transformers__oneshot__oneshot_configs__tiny_stories_conf1.yaml": (
        1, 1, "no modifiers found: a mapping with the keys cadence, test_type",
    ),
}  # fmt: skip
"""Files that are no recipes, or broken, and what is said about them, where."""

UNDEFINED = {"start_quant_epoch": 3.0, "warm_up_epochs": 1.0, "pruning_epochs": 1.0}
"""What one recipe uses and leaves to ``recipe_args``."""

FILLED: dict[str, Any] = {
    "weight_decay": 0.1, "start_epoch": 0.0, "end_epoch": 5.0, "start": 0.0, "end": 5.0, "update_frequency": 1.0,
    "constant_logging": False, "param_groups": [0], "hardness": 0.5, "temperature": 2.0, "distill_output_keys": ["logits"],
    "init_sparsity": 0.0, "final_sparsity": 0.5, "params": ["re:.*weight"], "targets": ["re:.*weight"], "submodules": ["a"],
    "model_fuse_fn_name": "no_fuse", "disable_quantization_observer_epoch": 4.0, "freeze_bn_stats_epoch": 4.5,
    "quantize_embeddings": True, "ignore": ["classifier"], "scheme": {"weights": {"num_bits": 8}}, "scheme_overrides": {},
    "lr_func": "linear", "init_lr": 0.1, "final_lr": 0.01, "params_strict": False, "trainable": True, "val": 0.5,
    "SET_PARAM_MOD_PARAMS": ["a"], "SET_PARAM_MOD_VAL": 0.5, "forward_sparsity": 0.5, "backward_sparsity": 0.4, "gain": 1.0,
    "normalize": True, "project_features": True, "epsilon": 1e-6, "student_layer_names": ["a"], "teacher_layer_names": ["b"],
    "structure_type": "filter", "update_epochs": [1.0], "strict": True, "param_group_dependency_map": {"a": ["b"]},
    "momentum_buffer_reset": True, "model_fuse_fn_kwargs": {}, "global_sparsity": True,
    "leave_enabled": True, "num_grads": 64, "damp": 1e-7, "fisher_block_size": 50, "batch_size": 8, "sparsity_strategy": "uniform",
    "active_weight_decay": 1e-4, "reduce_range": False, "quantize_linear_activations": True, "tensorrt": False,
    "quantize_conv_activations": True, "quantize_embedding_activations": True, "exclude_module_types": ["a"],
    "activation_bits": 8, "weight_bits": 8, "activation_qconfig_kwargs": {}, "weight_qconfig_kwargs": {},
    "exclude_batchnorm": True, "num_calibration_steps": 10, "inter_func": "cubic", "mask_type": "unstructured",
}  # fmt: skip
"""Values for the placeholders of those that are Python templates, by the last part of their name."""

FILLED_OTHERWISE = {"test_modifier_pruning_structured": {"param_groups": [["a"]], "mask_type": "filter"}}

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "data" / "recipe_corpus"
FILES = sorted(path for path in CORPUS.glob("*") if path.name != "README.md") if CORPUS.is_dir() else []
GOOD = [path for path in FILES if path.name not in TOLD]
STEPS_PER_EPOCH = 4


def told(path: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert all(p.file == str(path) and p.line is not None and p.column is not None for p in caught.value.problems)
    return [p.message for p in caught.value.problems]


def loaded(path: Path) -> ModifierManager:
    """The recipe; a template is first told to be one, and then filled in."""
    if path.name.endswith("e2e_recipe.yaml"):
        assert all("unknown variable" in message for message in told(path))
        return load_recipe(path, UNDEFINED)
    try:
        return load_recipe(path)
    except RecipeError:
        names = [re.fullmatch(r"\{([\w.]+)\} is a placeholder of a template, not a value", m) for m in told(path)]
        special = next((values for part, values in FILLED_OTHERWISE.items() if part in path.name), {})
        values = {**FILLED, **special}
        return load_recipe(path, {name[1]: values[name[1].rpartition(".")[2]] for name in names if name})


def course(manager: ModifierManager) -> tuple[list[Any], list[Moment]]:
    total = manager.max_epochs * STEPS_PER_EPOCH
    steps = sorted({*range(0, total, max(1, total // 40)), max(total - 1, 0)}) if total else []
    fields = [(m.key, m.start, m.end, m.update_frequency, m.model_dump()) for m in manager.modifiers]
    return fields, timeline(manager.modifiers, STEPS_PER_EPOCH, steps=steps)


def test_it_is_whole(shared: Path) -> None:
    assert len(FILES) == 126
    assert set(TOLD) <= {path.name for path in FILES}


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_it_loads_and_what_is_written_out_has_an_equal_timeline(path: Path, tmp_path: Path) -> None:
    manager = loaded(path)
    expected = course(manager)
    manager.recipe.save(tmp_path / "recipe.yaml")
    again = load_recipe(tmp_path)
    assert again.recipe == manager.recipe
    assert course(again) == expected
    assert course(load_recipe(resolved(manager.recipe))) == expected
    variables = manager.recipe.variables
    numbers = {name: value for name, value in variables.items() if isinstance(value, int | float)}
    assert Recipe.load(manager.recipe.text, numbers).variables == variables


@pytest.mark.parametrize("path", [p for p in FILES if p.name in TOLD], ids=lambda path: path.name)
def test_it_is_no_recipe_and_that_is_said(path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    line, column, message = TOLD[path.name]
    first = caught.value.problems[0]
    assert (first.file, first.line, first.column) == (str(path), line, column)
    assert first.message.startswith(message)
