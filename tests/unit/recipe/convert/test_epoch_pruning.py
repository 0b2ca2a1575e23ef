"""1.x YAML: epochs, ``!Pruner`` and older names."""

from __future__ import annotations

import pytest

from sparsify.clock import Clock
from sparsify.errors import RecipeError
from sparsify.phases import settle
from tests.unit.recipe.convert.made import converted, fields, modifiers

EPOCHS = """\
pruning:
  approach:
    weight_compression:
      initial_sparsity: {initial}
      target_sparsity: {target}
      start_epoch: {start}
      end_epoch: {end}
      pruners:
        - !Pruner
            prune_type: basic_magnitude
            names: [fc1.weight]
            update_frequency: {every}
"""


def legacy(initial: float, target: float, start: int, end: int, every: int, epoch: int) -> float:
    """The formula of the old scheduler."""
    if epoch > end or start == end:
        return target if epoch >= start else initial
    return initial + (target - initial) * ((epoch - start + 1) // every * every) / (end - start + 1)


@pytest.mark.parametrize(
    ("initial", "target", "start", "end", "every"),
    [(0.0, 0.3, 1, 3, 1), (0.0, 0.97, 0, 9, 1), (0.1, 0.8, 2, 5, 2), (0.0, 0.5, 3, 3, 1), (0.0, 0.6, 0, 5, 3)],
)
def test_steps_up_at_the_same_epochs(initial: float, target: float, start: int, end: int, every: int) -> None:
    (modifier,) = modifiers(EPOCHS.format(initial=initial, target=target, start=start, end=end, every=every))
    clock = Clock(4, 4 * (end + 3))
    settle([modifier], clock)
    held: float | None = None
    for epoch in range(end + 3):
        if 4 * epoch in modifier.update_steps(clock):
            held = modifier.values(epoch)["sparsity"]
        if held is not None:
            assert held == pytest.approx(legacy(initial, target, start, end, every, epoch), abs=1e-9)
    assert held == target


def test_an_interval_that_does_not_divide_is_said() -> None:
    text = EPOCHS.format(initial=0.0, target=0.5, start=1, end=4, every=3)
    assert "there the last step came at epoch 5" in converted(text).text


def test_pattern_lock_group_lasso_and_no_equivalent() -> None:
    text = """\
pruning:
  approach:
    weight_compression:
      start_epoch: 0
      end_epoch: 3
      pruners:
        - !Pruner {prune_type: pattern_lock, names: [a.weight]}
        - !Pruner {prune_type: group_lasso, names: [b.weight], pattern: tile_pattern_4x1, parameters: {alpha: 0.01}}
        - !Pruner {prune_type: gradient_sensitivity, names: [c.weight]}
"""
    (first, held), (second, shrunk) = fields(text)
    assert (first, held) == ("ConstantPruningModifier", {"params": ["a.weight"], "start_epoch": 0})
    assert (second, shrunk["mask_type"], shrunk["group_lasso"]) == ("WeightPruningModifier", "4x1", 0.01)
    assert any("gradient_sensitivity" in line for line in converted(text).lost)


def test_names_of_1_14() -> None:
    text = """\
pruning:
  approach:
    weight_compression_pytorch:
      target_sparsity: 0.9
      start_step: 0
      end_step: 1000
      excluded_names: [classifier]
      pruners:
        - !Pruner
            prune_type: snip_momentum
            prune_domain: local
            update_frequency_on_step: 50
            extra_excluded_names: [pooler]
            prune_layer_type: [Linear]
            names: [encoder]
            max_sparsity_ratio_per_layer: 0.95
            pattern: 2x1
"""
    ((_, found),) = fields(text)
    assert found["update_frequency"] == "50 steps"
    assert found["end_epoch"] == "1000 steps"
    assert (found["mask_type"], found["pruning_scope"], found["max_layer_sparsity"]) == ("2x1", "local", 0.95)
    assert (found["layer_types"], found["params"]) == (["Linear"], [r"re:.*encoder.*\.weight$"])
    assert found["exclude"] == [r"re:.*classifier.*\.weight$", r"re:.*pooler.*\.weight$"]
    assert not converted(text).lost


def test_mistakes_are_named() -> None:
    with pytest.raises(RecipeError, match="end_epoch is at least start_epoch 5, got 2"):
        converted(EPOCHS.format(initial=0.0, target=0.5, start=5, end=2, every=1))


def test_without_pruners_it_is_an_error_that_says_so() -> None:
    text = "pruning: {approach: {weight_compression: {start_epoch: 0, end_epoch: 3}}}\n"
    with pytest.raises(RecipeError, match="pruners is a list of at least one"):
        converted(text)


def test_patterns_are_checked_and_n_of_m_is_what_is_kept() -> None:
    body = "pruning: {{approach: {{weight_compression: {{target_sparsity: 0.25, end_epoch: 0, pruners: [{{pattern: {}}}]}}}}}}"
    ((_, found),) = fields(body.format("'1:4'"))
    assert found["mask_type"] == "3:4"
    with pytest.raises(RecipeError, match=r"got 'nonsense' \(pruning.approach.weight_compression.pruners\[0\]"):
        converted(body.format("nonsense"))


def test_parameters_of_no_use_are_named() -> None:
    pruner = "{prune_type: group_lasso, names: [a.weight], parameters: {alpha: 0.01, beta: 2}}"
    text = f"pruning: {{approach: {{weight_compression: {{pruners: [{pruner}]}}}}}}\n"
    assert converted(text).lost == (
        "pruning.approach.weight_compression.pruners[0].parameters.beta: unknown, left out",
    )
