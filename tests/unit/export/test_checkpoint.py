"""Model folders: read as they were saved, or refused with what is wrong with them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from sparsify.errors import InputError, SparsifyError, StateError
from sparsify.export.checkpoint import has_recipe, load_model, of_quantizers, quiet_transformers, shaped, state_to_load
from sparsify.export.compressed import compress, save_compressed
from sparsify.manager import load_recipe
from sparsify.quantization.layers import quantizers
from tests.helpers.models import VOCAB, tiny_classifier, token_batch

QUANTIZE = "modifiers:\n  - !QuantizationModifier {start_epoch: 0}\n"
PRUNE = "modifiers:\n  - !ConstantPruningModifier {start_epoch: 0, params: __ALL_PRUNABLE__}\n"
QUERY = "bert.encoder.layer.0.attention.self.query"
Change = Callable[[dict[str, Tensor]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_classifier().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    made_int8().save_pretrained(tmp_path)
    (tmp_path / "recipe.yaml").write_text(QUANTIZE)
    return tmp_path


def made_int8() -> Any:
    model = tiny_classifier()
    ids = torch.randint(5, VOCAB, (4, 12), generator=torch.Generator().manual_seed(0))
    load_recipe(QUANTIZE).apply(model, [{"input_ids": ids}])
    return model


def logits(model: Any) -> Tensor:
    batch = token_batch()
    del batch["labels"]
    with torch.no_grad():
        found: Tensor = model(**batch).logits
    return found


def change(folder: Path, how: Change) -> None:
    """Change the folder's tensors."""
    state = load_file(folder / "model.safetensors")
    how(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **fields: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


class TestWhatIsRead:
    def test_a_model_in_fp32_and_eval_mode(self, folder: Path) -> None:
        change(folder, lambda state: state.update({name: t.half() for name, t in state.items()}))
        model = load_model(folder)
        assert not model.training
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        torch.testing.assert_close(logits(model), logits(tiny_classifier().eval()), atol=1e-2, rtol=0)

    def test_quantizers_as_they_were_saved(self, quantized: Path) -> None:
        model, again = made_int8().eval(), load_model(str(quantized))
        assert torch.equal(logits(again), logits(model))
        found = quantizers(again)
        assert found.keys() == quantizers(model).keys()
        assert all(fq.enabled and not fq.observing for fq in found.values() if fq.calibrated)

    def test_what_no_batch_reached_stays_off(self, quantized: Path) -> None:
        name = f"{QUERY}.weight_fq"
        change(quantized, lambda state: state[f"{name}.scale"].zero_())
        found = quantizers(load_model(quantized))
        assert [key for key, fq in found.items() if not fq.enabled] == [name]

    def test_without_its_recipe_a_quantized_model_is_a_plain_one(self, quantized: Path) -> None:
        (quantized / "recipe.yaml").unlink()
        assert not has_recipe(quantized)
        assert not quantizers(load_model(quantized))

    def test_a_config_of_ones_own_replaces_the_folders(self, folder: Path) -> None:
        config = tiny_classifier().config
        config.id2label, config.architectures = {0: "x", 1: "y", 2: "z"}, ["BertForTokenClassification"]
        configure(folder, architectures=["nonsense"])
        assert load_model(folder, config=config).config.id2label[2] == "z"

    def test_another_class_may_have_parts_that_the_weights_lack(self, folder: Path) -> None:
        found = load_model(folder, task_class="BertModel")
        weight = load_model(folder).get_parameter(f"{QUERY}.weight")
        assert torch.equal(found.get_parameter(f"{QUERY.removeprefix('bert.')}.weight"), weight)
        with pytest.raises(InputError, match=r"task_class names the architecture 'BertModle', .*did it mean BertModel"):
            load_model(folder, task_class="BertModle")

    @pytest.mark.parametrize("name", ["Bert", "Albert", "ViT"])
    def test_an_encoder_that_was_saved_without_its_pooler(self, tmp_path: Path, name: str) -> None:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
        config = getattr(transformers, f"{name}Config")(**sizes)
        encoder = getattr(transformers, f"{name}Model")(config, add_pooling_layer=False)
        encoder.save_pretrained(tmp_path)
        found = load_model(tmp_path)
        assert found.state_dict().keys() == encoder.state_dict().keys()
        change(tmp_path, lambda state: state.pop(next(name for name in state if name.endswith(".bias"))))
        with pytest.raises(InputError, match="lack"):
            load_model(tmp_path)

    def test_layers_that_the_recipe_took_out_need_no_weights(self, folder: Path) -> None:
        recipe = "modifiers:\n  - !LayerPruningModifier {start_epoch: 0, layers: [bert.encoder.layer.1]}\n"
        (folder / "recipe.yaml").write_text(recipe)
        change(folder, lambda state: [state.pop(name) for name in list(state) if ".layer.1." in name])
        model = load_model(folder)
        assert not [name for name, _ in model.named_parameters() if ".layer.1." in name]
        (folder / "recipe.yaml").write_text(PRUNE)
        with pytest.raises(InputError, match="lack 16 tensors"):
            load_model(folder)

    def test_a_model_that_was_saved_over_one_in_parts(self, tmp_path: Path) -> None:
        tiny_classifier(seed=1).save_pretrained(tmp_path, max_shard_size="20KB")
        model = made_int8().eval()
        model.save_pretrained(tmp_path)  # transformers leaves the old index there
        (tmp_path / "recipe.yaml").write_text(QUANTIZE)
        assert (tmp_path / "model.safetensors.index.json").is_file()
        assert torch.equal(logits(load_model(tmp_path)), logits(model))
        compress(tmp_path, model)
        assert torch.equal(logits(load_model(tmp_path)), logits(model))


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("how", "told"),
        [
            (
                lambda state: [state.pop(name) for name in list(state) if ".layer.1." in name],
                r"lack 16 tensors of BertForTokenClassification, bert\.encoder\.layer\.1\.\S+ first",
            ),
            (lambda state: state.pop("classifier.bias"), r"lack 1 tensors of \w+, classifier\.bias first"),
            (
                lambda state: state.update({"classifier.weight": torch.zeros(7, 32)}),
                r"1 of its weights have another shape .*, classifier\.weight first: \[7, 32\], not \[3, 32\]",
            ),
        ],
        ids=["layer", "head", "shape"],
    )
    def test_weights_that_are_not_the_configs(self, how: Change, told: str, folder: Path) -> None:
        change(folder, how)
        with pytest.raises(InputError, match=told):
            load_model(folder)

    @pytest.mark.parametrize(
        "fields",
        [
            *({"hidden_size": 0}, {"hidden_size": 33}, {"hidden_act": "nix"}, {"architectures": ["GPT2LMHeadModel"]}),
            {"sparsify_widths": {"encoder.layer.0.attention.self": "x"}},
        ],
    )
    def test_configs_that_no_model_can_be_made_of(self, fields: dict[str, Any], folder: Path) -> None:
        configure(folder, **fields)
        with pytest.raises(InputError, match=rf"^{folder}: cannot load the weights \(\w+Error: .+\)$"):
            load_model(folder)

    @pytest.mark.parametrize("named", [None, [], [3], ["logging"], "Nix"])
    def test_architectures_that_are_none(self, named: Any, folder: Path) -> None:
        configure(folder, architectures=named)
        with pytest.raises(InputError, match=rf"^{folder}/config\.json names "):
            load_model(folder)

    def test_folders_and_files_that_are_not_there(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"none: no such model folder"):
            load_model(folder / "none")
        with pytest.raises(InputError, match=r"config\.json: no such model folder"):
            load_model(folder / "config.json")
        (folder / "model.safetensors").unlink()
        with pytest.raises(InputError, match="cannot load the weights"):
            load_model(folder)

    @pytest.mark.parametrize("data", [b"", b"not tensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      more"])
    def test_weights_that_are_damaged(self, data: bytes, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(data)
        with pytest.raises(InputError, match=r"model\.safetensors: the weights are corrupt"):
            load_model(folder)

    def test_old_weights_that_are_damaged_or_hold_more_than_tensors(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(b"xx")
        with pytest.raises(InputError, match=r"cannot load the weights \(UnpicklingError"):
            load_model(folder)
        (folder / "pytorch_model.bin").write_bytes(b"G")  # a float of eight bytes that are not there
        with pytest.raises(InputError, match=r"cannot load the weights \(error: unpack requires"):
            load_model(folder)
        torch.save({"a": print}, folder / "pytorch_model.bin")
        with pytest.raises(InputError, match=r"cannot load the weights \(UnpicklingError"):
            load_model(folder)

    @pytest.mark.parametrize(
        "index", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": [1]}}']
    )
    def test_an_index_that_is_none(self, index: str, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(index)
        with pytest.raises(InputError, match=r"index\.json: is no index of weights \(\w+: .+\)"):
            load_model(folder)

    def test_parts_that_are_missing(self, tmp_path: Path) -> None:
        tiny_classifier().save_pretrained(tmp_path, max_shard_size="20KB")
        parts = sorted(tmp_path.glob("model-*.safetensors"))
        assert torch.equal(logits(load_model(tmp_path)), logits(tiny_classifier().eval()))
        parts[1].unlink()
        told = rf"1 of the {len(parts)} files of its weights are missing, {parts[1].name} first"
        with pytest.raises(InputError, match=told):
            load_model(tmp_path)

    @pytest.mark.parametrize(
        ("how", "told"),
        [
            (
                lambda state: [state.pop(name) for name in list(state) if name.endswith(".zero_point")],
                r"lack \d+ quantizer tensors, bert\.embeddings\.position_embeddings\.weight_fq\.zero_point first",
            ),
            (
                lambda state: state.update({f"{QUERY}.weight_fq.scale": torch.ones(7)}),
                rf"{QUERY}\.weight_fq\.scale has the shape \[7\], its recipe asks for \[32\]",
            ),
        ],
        ids=["missing", "shape"],
    )
    def test_quantizers_of_another_recipe(self, how: Change, told: str, quantized: Path) -> None:
        change(quantized, how)
        with pytest.raises(StateError, match=told):
            load_model(quantized)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.5, 0.0])
    def test_a_scale_that_no_range_gives(self, value: float, quantized: Path) -> None:
        def spoil(state: dict[str, torch.Tensor]) -> None:
            state[f"{QUERY}.weight_fq.scale"][3] = value

        change(quantized, spoil)
        with pytest.raises(InputError, match=rf"{QUERY}: the scale of its weight_fq is {value:g}, no number above 0: "):
            load_model(quantized)

    def test_several_such_scales(self, quantized: Path) -> None:
        def spoil(state: dict[str, torch.Tensor]) -> None:
            for name in state:
                if name.endswith("input_fq.scale"):
                    state[name].fill_(float("nan"))

        change(quantized, spoil)
        with pytest.raises(InputError, match=r"the scale of its input_fq is nan, no number above 0 \(and \d+ more\)"):
            load_model(quantized)

    def test_a_quantizer_that_never_saw_a_range_stays_off(self, quantized: Path) -> None:
        def forget(state: dict[str, torch.Tensor]) -> None:
            state[f"{QUERY}.weight_fq.scale"].zero_()

        change(quantized, forget)
        found: Any = load_model(quantized).get_submodule(f"{QUERY}.weight_fq")
        assert not found.enabled

    @pytest.mark.parametrize("recipe", ["modifiers: [", "- 1"])
    def test_recipes_that_are_none(self, recipe: str, folder: Path) -> None:
        (folder / "recipe.yaml").write_text(recipe)
        with pytest.raises(SparsifyError, match=r"recipe\.yaml"):
            load_model(folder)


def test_what_transformers_is_given_in_place_of_files(folder: Path, tmp_path: Path) -> None:
    assert state_to_load(folder) is None
    save_compressed(tiny_classifier(), tmp_path / "small")
    state = state_to_load(tmp_path / "small")
    assert state is not None
    assert torch.equal(state[f"{QUERY}.weight"], tiny_classifier().get_parameter(f"{QUERY}.weight"))


def test_tensors_of_quantizers_are_told_by_their_names() -> None:
    names = ("a.weight", "a.weight_fq.scale", "a.input_fq.zero_point", "a.scale_of", "scale")
    assert list(of_quantizers({name: torch.ones(1) for name in names})) == [
        "a.weight_fq.scale",
        "a.input_fq.zero_point",
    ]


def test_a_model_of_the_usual_shape_has_its_own_class(folder: Path) -> None:
    model = tiny_classifier()
    assert shaped(type(model), model.config) is type(model)


@pytest.mark.parametrize("bars", [True, False])
def test_transformers_is_as_loud_afterwards_as_before(bars: bool) -> None:
    from transformers.utils import logging as theirs

    level, shown = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    try:
        (theirs.enable_progress_bar if bars else theirs.disable_progress_bar)()
        theirs.set_verbosity_info()
        with pytest.raises(RuntimeError, match="inside"), quiet_transformers():
            assert (theirs.get_verbosity(), theirs.is_progress_bar_enabled()) == (logging.ERROR, False)
            raise RuntimeError("inside")
        assert (theirs.get_verbosity(), theirs.is_progress_bar_enabled()) == (logging.INFO, bars)
    finally:
        theirs.set_verbosity(level)
        (theirs.enable_progress_bar if shown else theirs.disable_progress_bar)()
