"""Entries to modifiers: other names of fields, retired ones, and one error for one mistake."""

from __future__ import annotations

import pytest
from pydantic import field_validator

from sparsify.errors import RecipeError
from sparsify.manager import load_recipe
from sparsify.modifiers import registry
from sparsify.modifiers.base import Modifier

DICT_STYLE = """\
sparsity: 0.5
prune_stage:
  run_type: train
  pruning_modifiers:
    MagnitudePruningModifier:
      start: 1.0
      end: eval(2 + 2)
      update: 0.5
      init_sparsity: 0.0
      final_sparsity: eval(sparsity)
      targets: ['re:.*weight']
"""


def problems(text: str) -> list[tuple[int | None, int | None, str]]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(text)
    return [(p.line, p.column, f"{p.message} | {p.path} | {p.hint}") for p in caught.value.problems]


def entry(*fields: str, name: str = "GMPruningModifier") -> str:
    return f"modifiers:\n  - !{name}\n" + "".join(f"    {field}\n" for field in fields)


def test_names_of_dict_style_are_the_same_fields() -> None:
    (modifier,) = load_recipe(DICT_STYLE).modifiers
    assert (modifier.start, modifier.end, modifier.update_frequency) == (1.0, 4.0, 0.5)
    assert modifier.params == ["re:.*weight"]  # type: ignore[attr-defined]


def test_errors_say_the_name_that_was_written() -> None:
    ((line, column, text),) = problems(DICT_STYLE.replace("start: 1.0", "start: x"))
    assert (line, column) == (6, 14)
    assert "start: input should be a valid number" in text
    assert "prune_stage.pruning_modifiers.MagnitudePruningModifier.start" in text


def test_one_field_under_two_names_is_refused() -> None:
    ((line, column, text),) = problems(DICT_STYLE.replace("      update:", "      start_epoch: 1.0\n      update:"))
    assert (line, column) == (8, 7)
    assert "'start_epoch' stands here under two names" in text


def test_a_name_of_dict_style_means_nothing_where_the_field_is_not() -> None:
    ((line, _, text),) = problems(
        entry("start: 1", "targets: [a]", name="SetLearningRateModifier\n    learning_rate: 1")
    )
    assert line == 5
    assert "SetLearningRateModifier has no field 'targets'" in text


def test_retired_fields_are_passed_over_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    lines = "start_epoch: 0.0", "end_epoch: 2.0", "log_types: __ALL__"
    text = entry(*lines, name="EpochRangeModifier") + entry(*lines, name="EpochRangeModifier").split("\n", 1)[1]
    with caplog.at_level("WARNING", "sparsify"):
        manager = load_recipe(text)
    assert [type(m).__name__ for m in manager.modifiers] == ["EpochRangeModifier"] * 2
    (warning,) = manager.warnings
    assert (warning.line, warning.column, warning.path) == (5, 5, "modifiers[0].log_types")
    assert "log_types is not used any more" in caplog.text


def test_many_warnings_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    entries = "".join(f"  - !EpochRangeModifier {{start_epoch: 0, end_epoch: 1, end_epoch: {i}}}\n" for i in range(9))
    with caplog.at_level("WARNING", "sparsify"):
        assert load_recipe("modifiers:\n" + entries).max_epochs == 8
    assert len(caplog.records) == 6
    assert "4 more like these" in caplog.text


GOOD = "init_sparsity: 0.0", "final_sparsity: 0.5", "start_epoch: 0.0", "end_epoch: 2.0", "params: [a]"


@pytest.mark.parametrize(
    ("was", "now", "place", "told"),
    [
        ("params: [a]", "params: [1]", (7, 14), "params: input should be a valid string, got 1"),
        ("params: [a]", "params: {a: 1}", (7, 13), "params: input should be a valid string"),
        ("final_sparsity", "final_sparsit", (4, 5), "no field 'final_sparsit' | modifiers[0].final_sparsit | did you mean final_sparsity?"),
        ("start_epoch: 0.0", "start_epoch: .inf", (5, 18), "start_epoch: input should be a finite number, got inf"),
        ("start_epoch: 0.0", "start_epoch: .nan", (5, 18), "start_epoch: input should be a finite number, got nan"),
        ("start_epoch: 0.0", "start_epoch: 3.0", (6, 16), "end_epoch 2 is before start_epoch 3"),
        ("    start_epoch: 0.0\n", "", (2, 5), "GMPruningModifier needs the field 'start_epoch'"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_error(was: str, now: str, place: tuple[int, int], told: str) -> None:
    ((line, column, text),) = problems(entry(*GOOD).replace(was, now))
    assert (line, column) == place
    assert told in text


def test_a_union_speaks_of_the_branch_that_was_meant() -> None:
    fields = "trainable: true", "start_epoch: 0.0"
    ((line, column, text),) = problems(entry("params: [a, 3]", *fields, name="TrainableParamsModifier"))
    assert (line, column) == (3, 17)
    assert "params: input should be a valid string, got 3" in text
    ((line, column, text),) = problems(entry("params: 3", *fields, name="TrainableParamsModifier"))
    assert (line, column) == (3, 13)
    assert "params: input should be a valid list or a valid string, got 3" in text


def test_fields_are_those_of_the_class() -> None:
    assert Modifier.model_config["allow_inf_nan"] is False


def test_checks_that_fail_themselves_are_a_recipe_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(Modifier):
        """A modifier of somebody else's."""

        @field_validator("start_epoch")
        @classmethod
        def _check(cls, value: float) -> float:
            return value / 0

    monkeypatch.setattr(registry, "_classes", {"FaultyModifier": Faulty})
    ((line, column, text),) = problems(entry("start_epoch: 1.0", name="FaultyModifier"))
    assert (line, column) == (2, 5)
    assert "the fields cannot be checked: ZeroDivisionError" in text


@pytest.mark.parametrize("overrides", ["{a: 3.5}", "{a: [1]}", "{a: {weights: 3}}", "{a: {weights: {num_bits: x}}}"])
def test_schemes_of_any_kind_are_checked(overrides: str) -> None:
    ((line, _, text),) = problems(entry(f"scheme_overrides: {overrides}", name="QuantizationModifier"))
    assert line == 3
    assert "scheme_overrides: " in text
