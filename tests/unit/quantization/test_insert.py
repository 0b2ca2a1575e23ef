"""Quantizers in whole models: which layers, which attentions, what is shared, what survives copies and checkpoints."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sparsify.errors import InputError, RecipeError
from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.insert import coverage_of, insert_quantizers
from sparsify.quantization.layers import (
    QEmbedding,
    QLinear,
    enable_calibrated,
    quantizers,
    set_enabled,
    set_observing,
)
from sparsify.quantization.qparams import WEIGHT_AFFINE
from sparsify.quantization.schemes import Scheme, Selection
from tests.helpers.models import FAMILIES, tiny_classifier, token_batch


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.fc2 = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.norm(self.fc1(x))))


def trained(model: nn.Module, steps: int = 3) -> nn.Module:
    """Observed for a few batches, then frozen."""
    set_enabled(model, True)
    set_observing(model, True)
    model.train()
    for seed in range(steps):
        model(**token_batch(seed)).loss.backward()
    set_observing(model, False)
    enable_calibrated(model)
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_and_embedding_that_is_called(family: str) -> None:
    model = tiny_classifier(family)
    coverage = insert_quantizers(model)
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert linears
    assert all(isinstance(m, QLinear) for m in linears)
    skipped = {"deberta.encoder.rel_embeddings"} if family == "deberta-v2" else set()
    assert set(coverage.left) == skipped
    assert all(
        isinstance(m, QEmbedding) for n, m in model.named_modules() if isinstance(m, nn.Embedding) and n not in skipped
    )
    assert len(coverage.attention) == (0 if family == "deberta-v2" else 2)
    assert bool(coverage.attention_reason) == (family == "deberta-v2")
    model = trained(model)
    assert all(fq.calibrated for fq in quantizers(model).values())


def test_switched_off_nothing_changes() -> None:
    plain = tiny_classifier().eval()
    model = copy.deepcopy(plain)
    insert_quantizers(model)
    batch = token_batch()
    assert not model.training
    torch.testing.assert_close(model(**batch).logits, plain(**batch).logits, rtol=0, atol=1e-5)


def test_the_attention_mask_still_counts() -> None:
    model = tiny_classifier().eval()
    insert_quantizers(model)
    batch = token_batch()
    padded = batch["attention_mask"] == 0
    other = batch | {"input_ids": torch.where(padded, 7, batch["input_ids"])}
    assert padded.any()
    torch.testing.assert_close(model(**batch).logits[~padded], model(**other).logits[~padded])


def test_layers_fed_by_one_tensor_share_a_quantizer_that_is_registered_once() -> None:
    model = tiny_classifier()
    insert_quantizers(model)
    attention = model.bert.encoder.layer[0].attention.self
    assert attention.query.input_fq is attention.key.input_fq is attention.value.input_fq
    names = [n for n, _ in model.named_modules(remove_duplicate=False) if n.endswith("input_fq")]
    assert sum("layer.0.attention.self." in n for n in names) == 1
    set_enabled(model, True)
    set_observing(model, True)
    model.train()(**token_batch())
    assert attention.query.input_fq.count.item() == 1


class LateFirst(nn.Module):
    """Calls what it registers last first, both with one tensor; then with that tensor changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(vocab_size=7, _attn_implementation="eager")
        self.embedding, self.first, self.last = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.changed = nn.Linear(4, 4)

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.embedding(input_ids)
        out = self.last(found) + self.first(found)
        found.detach().mul_(3.0)
        return {"logits": out + self.changed(found)}

    main_input_name = "input_ids"

    def set_attn_implementation(self, name: str) -> None:
        self.config._attn_implementation = name


def test_of_layers_with_one_input_the_first_to_be_called_owns_its_range() -> None:
    model = LateFirst()
    insert_quantizers(model)
    assert (model.last.owns_input, model.first.owns_input, model.changed.owns_input) == (True, False, True)
    assert model.first.input_fq is model.last.input_fq is not model.changed.input_fq
    set_enabled(model, True)
    set_observing(model, True)
    ids = torch.arange(6).view(2, 3)
    rounded = model.train()(ids)["logits"]  # the first batch has a range already
    set_enabled(model, False)
    torch.testing.assert_close(rounded, model(ids)["logits"], atol=0.1, rtol=0.0)


def test_convbert_trains_from_the_first_step_on() -> None:
    from transformers import ConvBertConfig, ConvBertForTokenClassification

    size = {"hidden_size": 32, "embedding_size": 32, "intermediate_size": 64}
    config = ConvBertConfig(vocab_size=64, num_hidden_layers=1, num_attention_heads=2, num_labels=3, **size)
    torch.manual_seed(0)
    model = ConvBertForTokenClassification(config)  # with dropout: zeros in what its layers read
    insert_quantizers(model)
    set_enabled(model, True)
    set_observing(model, True)
    loss = model.train()(**token_batch(0)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_a_copy_shares_nothing_with_the_original() -> None:
    model = tiny_classifier()
    insert_quantizers(model)
    copied = copy.deepcopy(model)
    attention = copied.bert.encoder.layer[0].attention.self
    assert attention.key.input_fq is attention.query.input_fq
    assert attention.key.input_fq is not model.bert.encoder.layer[0].attention.self.query.input_fq


def test_a_second_call_changes_nothing_and_other_settings_are_refused() -> None:
    model = tiny_classifier()
    first = insert_quantizers(model)
    names = list(quantizers(model))
    assert insert_quantizers(model) is first is coverage_of(model)
    assert list(quantizers(model)) == names
    with pytest.raises(RecipeError, match="quantized already"):
        insert_quantizers(model, Selection(embeddings=False))


def test_checkpoints_keep_weight_names_and_round_trip(tmp_path: Path) -> None:
    from transformers import BertForTokenClassification

    model = trained_with_quantizers()
    model.save_pretrained(tmp_path)
    again = BertForTokenClassification.from_pretrained(tmp_path)
    insert_quantizers(again)
    from safetensors.torch import load_file

    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    enable_calibrated(again)
    batch = token_batch(9)
    assert torch.equal(again.eval()(**batch).logits, model(**batch).logits)
    assert "attn_implementation" not in (tmp_path / "config.json").read_text()


def trained_with_quantizers() -> nn.Module:
    model = tiny_classifier()
    insert_quantizers(model)
    return trained(model)


def test_bfloat16_models_keep_their_qparams() -> None:
    model = trained_with_quantizers()
    scales = {n: fq.scale.clone() for n, fq in quantizers(model).items()}
    model.to(torch.bfloat16)
    assert all(torch.equal(fq.scale, scales[n]) for n, fq in quantizers(model).items())
    assert model(**token_batch()).logits.dtype == torch.bfloat16


def test_a_plain_torch_model_without_transformers() -> None:
    model = Plain()
    coverage = insert_quantizers(model)
    assert coverage.layers == ("fc1", "fc2")
    assert not coverage.attention
    assert "not a transformers model" in coverage.attention_reason
    torch.manual_seed(0)
    x = torch.randn(32, 8)
    calibrate(model, [x])
    reference = Plain()
    reference.load_state_dict(model.state_dict(), strict=False)
    quantized, plain = model.eval()(x), reference.eval()(x)
    assert 0 < float((quantized - plain).abs().max()) < 0.05


def test_a_tied_weight_stays_float_and_says_so() -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    model = BertForMaskedLM(config)
    coverage = insert_quantizers(model)
    assert "tied" in coverage.left["cls.predictions.decoder"]
    assert "tied" in coverage.left["bert.embeddings.word_embeddings"]


def test_torchs_fused_encoder_layer_does_not_bypass_the_quantizers() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1).eval()
    insert_quantizers(model)
    calibrate(model, [torch.randn(4, 5, 16)])
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        rounded = model(x)
        set_enabled(model, False)
        assert not torch.equal(rounded, model(x))


def test_weights_that_are_not_symmetric_are_for_embeddings_only() -> None:
    affine = Scheme(weights=WEIGHT_AFFINE)
    with pytest.raises(RecipeError, match="embeddings only"):
        insert_quantizers(Plain(), Selection(default=affine))
    model = nn.Sequential(nn.Embedding(10, 4))
    insert_quantizers(model, Selection(default=affine))
    with torch.no_grad():
        model[0].weight.copy_(torch.linspace(0, 1, 40).view(10, 4) + 5)
    calibrate(model, None)
    ids = torch.arange(10)
    assert float((model(ids) - model[0].weight).abs().max()) <= 6 / 255


def test_calibration_needs_data_for_activations_only() -> None:
    model = Plain()
    insert_quantizers(model)
    with pytest.raises(InputError, match="calibration data"):
        calibrate(model, [])
    assert not any(fq.enabled for fq in quantizers(model).values())
    weights = Plain()
    insert_quantizers(weights, Selection(default=Scheme(inputs=None)))
    assert calibrate(weights, None) == 0
    assert all(fq.enabled for fq in quantizers(weights).values())
    assert not any(isinstance(fq, ActivationQuant) for fq in quantizers(weights).values())


def test_calibration_takes_batches_of_every_form_and_as_many_as_asked() -> None:
    model = Plain().train()
    insert_quantizers(model)
    batches = [{"x": torch.randn(2, 8)}, (torch.randn(2, 8),), torch.randn(2, 8)]
    assert calibrate(model, iter(batches), steps=2) == 2
    assert calibrate(model, batches) == 3
    assert model.training
    assert model.fc1.input_fq.training


def test_a_weight_without_elements_stays_float_and_says_so() -> None:
    model = nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 4), nn.Linear(4, 2))
    coverage = insert_quantizers(model)
    assert coverage.layers == ("2",)
    assert {coverage.left["0"], coverage.left["1"]} == {"its weight has no elements"}
    calibrate(model, [torch.randn(3, 4)])
    assert model(torch.randn(3, 4)).shape == (3, 2)
