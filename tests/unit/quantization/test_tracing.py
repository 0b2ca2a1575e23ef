"""Which models the attention function is given to, and what one run of a model shows of its layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify.quantization.attention import IMPLEMENTATION
from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.insert import insert_quantizers
from sparsify.quantization.tracing import trace
from tests.helpers.models import tiny_classifier


def test_half_precision_takes_it_where_full_precision_does() -> None:
    """Or a model that was trained in bfloat16 could not be loaded in float32."""
    names = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        model = tiny_classifier().to(dtype)
        names[dtype] = insert_quantizers(model).attention
        assert model.config._attn_implementation == IMPLEMENTATION
    assert len(names[torch.float32]) == 2
    assert names[torch.bfloat16] == names[torch.float16] == names[torch.float32]


@pytest.mark.parametrize(("softcap", "taken"), [(50.0, 0), (None, 1)])
def test_a_term_that_is_nothing_at_small_scores_is_seen(softcap: float | None, taken: int) -> None:
    """A bound on scores changes nothing in a new model, and much in a trained one."""
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(0)
    size = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0, "sliding_window": 8}
    model = Gemma2Model(Gemma2Config(**size, **heads, attn_logit_softcapping=softcap))
    before = model.config._attn_implementation
    coverage = insert_quantizers(model)
    assert len(coverage.attention) == taken
    assert model.config._attn_implementation == (IMPLEMENTATION if taken else before)
    assert ("something else" in coverage.attention_reason) is not bool(taken)


class Odd(nn.Module):
    """Looks like a model of transformers; what its forward does is given."""

    main_input_name = "input_ids"

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(vocab_size=7, _attn_implementation="eager")
        self.embedding, self.layer = nn.Embedding(7, 4), nn.Linear(4, 4)
        self.run = forward

    def set_attn_implementation(self, name: str) -> None:
        self.config._attn_implementation = name

    def forward(self, input_ids: Tensor) -> Any:
        return self.run(self, input_ids)


def raising(error: Exception) -> Any:
    def run(model: Odd, ids: Tensor) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (raising(NotImplementedError()), "(NotImplementedError)"),
        (raising(AssertionError("six tokens\nor seven")), "(six tokens)"),
        (raising(ZeroDivisionError("division by zero")), "(division by zero)"),
        (lambda model, ids: {"loss": None}, "(it gives no tensor)"),
    ],
    ids=["says nothing", "asserts", "divides", "no tensor"],
)
def test_a_model_that_does_not_run_is_a_reason_and_no_error(forward: Any, said: str) -> None:
    model = Odd(forward).train()
    coverage = insert_quantizers(model)
    assert coverage.layers == ("embedding", "layer")
    assert coverage.attention_reason == f"the model does not run on plain token ids {said}"
    assert model.training
    assert model.config._attn_implementation == "eager"


def test_a_layer_that_is_called_by_keyword_was_called() -> None:
    model = Odd(lambda model, ids: {"logits": model.layer(input=model.embedding(ids))})
    seen = trace(model, {"layer": model.layer, "embedding": model.embedding})
    assert set(seen.inputs) == {"layer", "embedding"}
    assert (seen.attention, seen.reason, seen.replaced) == ({}, "it has no attention to replace", None)
    coverage = insert_quantizers(model)
    assert coverage.layers == ("embedding", "layer")
    assert coverage.left == {}
    set_to = model.layer.input_fq
    calibrate(model, [{"input_ids": torch.arange(6).view(2, 3)}])
    assert set_to.calibrated


def test_looking_leaves_no_trace() -> None:
    model = tiny_classifier(attn_implementation="sdpa").train()
    model.bert.encoder.layer[0].eval()
    modes = [m.training for m in model.modules()]
    layer = model.bert.encoder.layer[0].output.dense
    seen = trace(model, {"dense": layer}, attention=False)
    assert (list(seen.inputs), seen.attention, seen.replaced) == (["dense"], {}, None)
    assert model.config._attn_implementation == "sdpa"
    assert not layer._forward_pre_hooks
    assert [m.training for m in model.modules()] == modes
    assert trace(model, {}).replaced == "sdpa"
