from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsify.errors import RecipeError
from sparsify.select import clean_name, names_of, prunable_parameters, select_modules, select_parameters


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)


class Tagger(nn.Module):
    """An embedding tied to a decoder, a convolution, blocks, and a module used under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.positions = nn.Embedding(10, 8)
        self.conv = nn.Conv1d(8, 8, 3)
        self.layer = nn.ModuleList([Block() for _ in range(11)])
        self.shared = self.layer[0]
        self.decoder = nn.Linear(8, 20, bias=False)
        self.decoder.weight = self.embed.weight


@pytest.fixture(scope="module")
def model() -> Tagger:
    return Tagger()


def test_exact_names_and_patterns_come_in_the_models_order(model: Tagger) -> None:
    found = select_parameters(model, ["re:layer.1.query", "conv.weight"])
    assert list(found) == ["conv.weight", "layer.1.query.weight", "layer.1.query.bias"]
    assert found["conv.weight"] is model.conv.weight


def test_patterns_match_from_the_start_only(model: Tagger) -> None:
    assert set(select_parameters(model, "re:.*norm.weight")) == {f"layer.{i}.norm.weight" for i in range(11)}
    with pytest.raises(RecipeError):
        select_parameters(model, "re:norm.weight")


def test_exact_names_are_exact(model: Tagger) -> None:
    assert list(select_parameters(model, ["layer.1.query.weight"])) == ["layer.1.query.weight"]
    with pytest.raises(RecipeError):
        select_parameters(model, ["layer.1.quer"])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("layer.1.query", ["layer.1.query.weight"]),
        (r"re:layer\.1\.(query|key)$", ["layer.1.query.weight", "layer.1.key.weight"]),
        ("Conv1d", ["conv.weight"]),
        ("LayerNorm", [f"layer.{i}.norm.weight" for i in range(11)]),
    ],
)
def test_a_layer_that_no_parameter_is_called_after_stands_for_its_weight(
    model: Tagger, selector: str, expected: list[str]
) -> None:
    assert list(select_parameters(model, [selector])) == expected


def test_a_module_without_a_weight_stands_for_nothing(model: Tagger) -> None:
    with pytest.raises(RecipeError, match=r"no parameter of the model matches 'layer\.1'"):
        select_parameters(model, ["layer.1"])


def test_all(model: Tagger) -> None:
    found = select_parameters(model, "__ALL__")
    assert list(found.values()) == list(model.parameters())
    assert list(found) == list(select_parameters(model, ["__all__"]))


def test_all_prunable_leaves_tied_embeddings_out(model: Tagger) -> None:
    found = set(select_parameters(model, "__ALL_PRUNABLE__"))
    assert "positions.weight" in found
    assert "conv.weight" in found
    assert not found & {"embed.weight", "decoder.weight"}
    assert all(name.endswith(("query.weight", "key.weight")) for name in found - {"positions.weight", "conv.weight"})
    assert len(found) == 2 + 22


def test_tied_parameter_named_by_any_name_is_one_under_the_first(model: Tagger) -> None:
    for selector in ("embed.weight", "decoder.weight", "re:decoder"):
        found = select_parameters(model, [selector])
        assert list(found) == ["embed.weight"]
        assert found["embed.weight"] is model.decoder.weight
    assert list(select_parameters(model, ["shared.query.weight"])) == ["layer.0.query.weight"]


def test_linears_tied_to_each_other_stay_prunable() -> None:
    pair = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    pair["b"].weight = pair["a"].weight
    assert list(select_parameters(pair, "__ALL_PRUNABLE__")) == ["a.weight"]
    assert list(prunable_parameters(pair)) == ["a.weight"]


def test_subclasses_count_as_their_layer() -> None:
    class QLinear(nn.Linear):
        pass

    tree = nn.Sequential(QLinear(4, 4))
    assert list(select_parameters(tree, "__ALL_PRUNABLE__")) == ["0.weight"]
    assert list(select_modules(tree, ["Linear"])) == ["0"]


def test_reports_count_linear_and_conv_only(model: Tagger) -> None:
    found = prunable_parameters(model)
    assert len(found) == 23
    assert not {"positions.weight", "embed.weight", "decoder.weight"} & set(found)


def test_a_bare_layer_is_its_own_model() -> None:
    layer = nn.Linear(3, 3)
    assert list(select_parameters(layer, "__ALL_PRUNABLE__")) == ["weight"]
    assert list(prunable_parameters(layer)) == ["weight"]


def test_every_selector_without_match_is_a_problem_with_near_names(model: Tagger) -> None:
    with pytest.raises(RecipeError) as caught:
        select_parameters(model, ["convv.weight", "layer.0.query.weight", "re:.*layer.3.quary.weight"])
    first, second = caught.value.problems
    assert "'convv.weight'" in first.message
    assert first.hint is not None
    assert "conv.weight" in first.hint
    assert "quary" in second.message
    assert second.hint is not None
    assert "layer.3.query.weight" in second.hint


def test_unlike_names_get_some_of_the_models(model: Tagger) -> None:
    with pytest.raises(RecipeError, match=r"it has, among others: embed\.weight"):
        select_parameters(model, ["zzzzzzzzzzzzzzzzzzzzzz"])


def test_misspelt_token_gets_the_token(model: Tagger) -> None:
    with pytest.raises(RecipeError, match="__ALL_PRUNABLE__"):
        select_parameters(model, ["__ALL_PRUNEABLE__"])


def test_bad_regular_expression(model: Tagger) -> None:
    for select in (select_parameters, select_modules):
        with pytest.raises(RecipeError, match=r"'re:\(' is not a regular expression"):
            select(model, ["re:("])


@pytest.mark.parametrize(
    ("wrapped", "clean"),
    [
        ("module.fc.weight", "fc.weight"),
        ("_orig_mod.fc.weight", "fc.weight"),
        ("module._orig_mod.fc.weight", "fc.weight"),
        ("_orig_mod.module.fc.weight", "fc.weight"),
        ("layer.0._fsdp_wrapped_module.fc.weight", "layer.0.fc.weight"),
        ("head.module.weight", "head.module.weight"),
        ("submodule.weight", "submodule.weight"),
    ],
)
def test_clean_name(wrapped: str, clean: str) -> None:
    assert clean_name(wrapped) == clean


@given(st.lists(st.sampled_from(["module.", "_orig_mod.", "_fsdp_wrapped_module."]), max_size=4))
def test_wrappers_in_any_order_leave_the_name(wrappers: list[str]) -> None:
    assert clean_name("".join(wrappers) + "encoder.fc.weight") == "encoder.fc.weight"


def test_wrapped_models_have_clean_names(model: Tagger) -> None:
    wrapped = nn.DataParallel(model)
    assert list(select_parameters(wrapped, ["conv.weight"])) == ["conv.weight"]
    assert list(select_parameters(model, ["module.conv.weight"])) == ["conv.weight"]
    compiled = torch.compile(model)
    assert isinstance(compiled, nn.Module)
    assert list(select_parameters(compiled, "__ALL_PRUNABLE__")) == list(select_parameters(model, "__ALL_PRUNABLE__"))


def test_a_child_called_module_does_not_hide_a_namesake() -> None:
    tree = nn.ModuleDict({"fc": nn.Linear(2, 2), "module": nn.ModuleDict({"fc": nn.Linear(2, 2)})})
    assert len(select_parameters(tree, "__ALL__")) == 4


def test_modules_by_name_pattern_and_class(model: Tagger) -> None:
    assert list(select_modules(model, ["conv"])) == ["conv"]
    assert list(select_modules(model, ["re:layer.1$"])) == ["layer.1"]
    assert list(select_modules(model, ["Block"])) == [f"layer.{i}" for i in range(11)]
    assert list(select_modules(model, ["Embedding", "shared"])) == ["embed", "positions", "layer.0"]
    assert select_modules(model, "LayerNorm")["layer.0.norm"] is model.layer[0].norm


def test_modules_without_match(model: Tagger) -> None:
    with pytest.raises(RecipeError, match=r"no module of the model matches 'LayerNrom'\n.*LayerNorm"):
        select_modules(model, ["LayerNrom", "conv"])
    for everything in ("Module", "object"):
        with pytest.raises(RecipeError):
            select_modules(model, [everything])


def test_names_of_a_modifier_that_has_none() -> None:
    assert names_of(object()) == ()
