"""``WeightPruningConfig``: fields, local configurations, bounds, what has no equivalent."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import RecipeError
from sparsify.manager import ModifierManager
from sparsify.recipe.convert.spans import span_of
from sparsify.recipe.convert.values import Fields
from sparsify.recipe.convert.weight_pruning import DECAYS, TYPES
from sparsify.recipe.recipe import Recipe
from tests.helpers.models import tiny_classifier
from tests.unit.recipe.convert.made import converted, fields, modifiers


def one(**config: Any) -> dict[str, Any]:
    ((kind, found),) = fields({"end_step": 100, "start_step": 10, **config})
    assert kind == "WeightPruningModifier"
    return found


def test_defaults_are_neural_compressors() -> None:
    assert one() == {
        "final_sparsity": 0.9,
        "start_epoch": "10 steps",
        "end_epoch": "100 steps",
        "update_frequency": "1 step",
        "inter_func": "exp",
        "mask_type": "4x1",
        "score_type": "snip_momentum",
        "pruning_scope": "global",
    }


def test_n_of_m_pruned_becomes_n_of_m_kept() -> None:
    found = one(pattern="1:4", target_sparsity=0.25)
    assert (found["mask_type"], found["final_sparsity"]) == ("3:4", 0.25)
    assert "1:4 there prunes 1 of every 4" in converted({"pattern": "1:4", "end_step": 9}).text


@pytest.mark.parametrize(
    ("start", "end", "frequency", "expected"),
    [
        (0, 100, 40, (0, "80 steps", "40 steps")),
        (2, 22, 1, ("2 steps", "22 steps", "1 step")),
        (5, 5, 1, ("5 steps", "5 steps", "1 step")),
        (5, 9, 10, ("5 steps", "5 steps", "10 steps")),
    ],
)
def test_the_last_update_is_the_end(start: int, end: int, frequency: int, expected: tuple[Any, ...]) -> None:
    found = one(start_step=start, end_step=end, pruning_frequency=frequency, pruning_type="magnitude")
    assert (found["start_epoch"], found["end_epoch"], found["update_frequency"]) == expected


def test_without_an_end_it_is_the_run() -> None:
    for config in ({"target_sparsity": 0.8}, {"target_sparsity": 0.8, "end_step": -1}, {"end_step": 0}):
        ((_, found),) = fields(config)
        assert (found["start_epoch"], found["end_epoch"]) == (0, "100%")


def test_bounds_of_layers_clip_the_target() -> None:
    found = one(target_sparsity=0.99, max_sparsity_ratio_per_op=0.95, min_sparsity_ratio_per_op=0.5)
    assert (found["final_sparsity"], found["max_layer_sparsity"], found["min_layer_sparsity"]) == (0.95, 0.95, 0.5)
    assert "target_sparsity was 0.99" in converted({"target_sparsity": 0.99, "end_step": 9}).text


def test_the_mixed_list_of_the_seed_prunes_each_layer_once(shared: Path) -> None:
    seed = (shared / "seeds" / "004_d0d8d2b9b9d0958c.txt").read_text()
    text = seed[seed.index("pruning_configs=[") : seed.index("```", seed.index("pruning_configs=["))]
    model = tiny_classifier("bert")
    first, second = (set(m.choose(model)) for m in modifiers(text, "seed.txt"))  # type: ignore[attr-defined]
    assert not first & second
    assert {name.split(".")[-2] for name in second} == {"query", "key", "value"}
    assert {name.split(".")[-2] for name in first} == {"dense"}
    assert len(first) == 6


def test_the_entry_that_names_less_wins() -> None:
    configs = [{"pattern": "4x1"}, {"op_names": ["query"], "pattern": "1x1"}]
    (_, wide), (_, narrow) = fields({"pruning_configs": configs, "end_step": 100})
    assert wide["exclude"] == narrow["params"] == [r"re:.*query.*\.weight$"]
    assert "exclude" not in narrow


def test_local_wins_over_global() -> None:
    config = {"target_sparsity": 0.5, "end_step": 50, "op_names": ["x"], "pruning_configs": [{"target_sparsity": 0.7}]}
    ((_, found),) = fields(config)
    assert (found["final_sparsity"], found["end_epoch"]) == (0.7, "50 steps")
    assert "params" not in found
    assert converted(config).lost == ("op_names beside pruning_configs: each of those has its own",)


def test_pattern_lock_and_heads() -> None:
    ((kind, found),) = fields({"pruning_type": "pattern_lock"})
    assert (kind, found) == ("ConstantPruningModifier", {"start_epoch": 0})
    (heads,) = modifiers([{"pattern": "mha", "target_sparsity": 0.6, "end_step": 40}])
    assert type(heads).__name__ == "StructuredPruningModifier"
    found_heads = heads.model_dump()
    assert (found_heads["mask_type"], found_heads["final_sparsity"]) == ("heads", 0.6)
    assert (found_heads["score_type"], found_heads["global_sparsity"]) == ("taylor", True)


def test_heads_say_what_they_leave_out() -> None:
    config = {"pattern": "mha", "op_names": ["layer.0"], "max_sparsity_ratio_per_op": 0.5, "end_step": 9}
    assert converted(config).lost == (
        "op_names: has no meaning here",
        "max_sparsity_ratio_per_op: has no meaning here",
    )


def test_what_has_no_equivalent_is_said() -> None:
    found = converted({"pruning_configs": [{"pruning_type": "block_mask"}, {"op_names": ["fc"], "end_step": 8}]})
    assert found.lost == (
        "pruning_configs[0].pruning_type block_mask: trains one mask value per block; score_type snip_momentum comes"
        " nearest",
    )
    assert found.lost[0][:50] in found.text.replace("\n#     ", " ")
    with pytest.raises(RecipeError, match="nothing in it has an equivalent"):
        converted({"pruning_type": "sparse_gpt", "target_sparsity": 0.5})


def test_unknown_keys_are_named_with_the_nearest() -> None:
    assert converted({"end_step": 8, "target_sparsty": 0.5}).lost == (
        "target_sparsty: unknown, left out (did you mean target_sparsity?)",
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"target_sparsity": "much"}, "target_sparsity is a number from 0 to 1, got 'much'"),
        ({"pruning_type": "snip_momentun"}, "did you mean 'snip_momentum'?"),
        ({"pattern": "4by1", "end_step": 4}, "'4x1', '1xchannel'"),
        ({"start_step": 9, "end_step": 4}, "end_step 4 is before start_step 9"),
        ({"op_names": ["("], "end_step": 4}, "is not a regular expression"),
        ({"op_names": ["a{99999999999}"], "end_step": 4}, "is not a regular expression"),
        ({"op_names": ["("], "pruning_type": "pattern_lock"}, "is not a regular expression"),
        ({"end_step": 50.7}, "end_step is a whole number, got 50.7"),
        ({"pattern": "mha", "target_sparsity": 1, "end_step": 4}, "target_sparsity is below 1, got 1"),
        ({"pruning_configs": [{"pruning_frequency": 1.5}]}, "pruning_frequency is a whole number"),
        ({"min_sparsity_ratio_per_op": 0.9, "max_sparsity_ratio_per_op": 0.5, "end_step": 1}, "at most max_sparsity"),
    ],
)
def test_mistakes_name_the_key_and_the_value(config: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        converted(config)
    assert message in str(caught.value)
    assert "config.yaml" in str(caught.value)


def test_span_keeps_what_the_config_does_not_say() -> None:
    from sparsify.recipe.convert.spans import Span

    default = Span(2.0, 10.0, 0.2, "")
    assert span_of(Fields({}), default, True) == default
    assert span_of(Fields({"pruning_frequency": 50}), default, True) == Span(2.0, 10.0, "50 steps", "")
    assert span_of(Fields({"end_step": 90}), default, True).end == "90 steps"


_CONFIGS = st.fixed_dictionaries(
    {"pruning_type": st.sampled_from(TYPES), "pattern": st.sampled_from(["4x1", "1x1", "2:4", "1:4", "1xchannel"])},
    optional={
        "target_sparsity": st.floats(0.01, 0.99),
        "start_step": st.integers(0, 50),
        "end_step": st.integers(-1, 200),
        "pruning_frequency": st.integers(1, 90),
        "sparsity_decay_type": st.sampled_from(DECAYS),
        "pruning_scope": st.sampled_from(["global", "local"]),
        "min_sparsity_ratio_per_op": st.floats(0, 1),
        "max_sparsity_ratio_per_op": st.floats(0, 1),
        "op_names": st.lists(st.sampled_from([".*a", "b$", "c|d"]), max_size=2),
        "lock_init_sparsity": st.booleans(),
        "criterion_reduce_type": st.sampled_from(["mean", "sum", "max"]),
    },
)


@given(_CONFIGS)
def test_what_converts_is_a_valid_recipe(config: dict[str, Any]) -> None:
    try:
        text = converted(config).text
    except RecipeError:
        return
    ModifierManager(Recipe.from_text(text))
    literal = converted(repr(config), "config.py").text
    assert literal.split("\n")[1:] == text.split("\n")[1:]
    assert ast.literal_eval(repr(config)) == config
