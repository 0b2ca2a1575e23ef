"""Any value under any key that the dialects know: a recipe that can be read, or an error that says what is wrong."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import RecipeError
from sparsify.recipe.convert.weight_pruning import KEYS
from sparsify.recipe.recipe import Recipe
from tests.unit.recipe.convert.made import converted

_NAMES = (
    *("pruning", "approach", "weight_compression", "weight_compression_pytorch", "pruners", "prune_type", "names"),
    *(
        "start_epoch",
        "end_epoch",
        "update_frequency",
        "initial_sparsity",
        "parameters",
        "alpha",
        "distillation",
        "train",
    ),
    *("criterion", "KnowledgeDistillationLoss", "IntermediateLayersKnowledgeDistillationLoss", "temperature"),
    *("loss_types", "loss_weights", "layer_mappings", "quantization", "calibration", "sampling_size", "model_wise"),
    *(
        "weight",
        "activation",
        "is_static",
        "dataset_num_samples",
        "neural_compressor_version",
        "sparsity",
        "excluded_names",
    ),
)
_WORDS = st.sampled_from(
    [
        "CE",
        "mha",
        "4x1",
        "0x1",
        "2:4",
        "magnitude",
        "pattern_lock",
        "group_lasso",
        "(",
        "a{9999999999}",
        "(?i)",
        "static",
    ]
)
_LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), _WORDS)
_KEYS = st.sampled_from(sorted({*KEYS, *_NAMES}))
_VALUES = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_a_recipe_or_an_error(config: dict[str, object]) -> None:
    with contextlib.suppress(RecipeError):
        found = converted(json.dumps(config), "config.json")
        assert Recipe.from_text(found.text).modifiers
