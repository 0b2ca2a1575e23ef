"""The attention function against plain formulas, and what lasts of it in a model."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsify.quantization.attention import AttentionQuant, quantized_attention
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.insert import coverage_of, insert_quantizers
from sparsify.quantization.qparams import ACTIVATION
from sparsify.quantization.remove import remove_quantizers
from tests.helpers.models import tiny_classifier, token_batch


def inputs(heads: int = 4, groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, heads, 5, 8), torch.randn(2, heads // groups, 7, 8), torch.randn(2, heads // groups, 7, 6)


# the function


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_attention(groups: int, scaling: float | None, masked: bool) -> None:
    query, key, value = inputs(groups=groups)
    mask = torch.zeros(2, 1, 5, 7)
    mask[0, :, :, 4:] = torch.finfo(torch.float32).min
    given = mask if masked else None
    output, weights = quantized_attention(nn.Module(), query, key, value, given, scaling, ignored=1)
    key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    expected = nn.functional.scaled_dot_product_attention(query, key, value, given, scale=scaling)
    torch.testing.assert_close(output, expected.transpose(1, 2))
    assert output.is_contiguous()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5))
    assert bool((weights[0, :, :, 4:] == 0).all()) is masked


def test_dropout_is_for_training() -> None:
    query, key, value = inputs()
    module = nn.Module().eval()
    plain, weights = quantized_attention(module, query, key, value, None)
    assert torch.equal(quantized_attention(module, query, key, value, None, dropout=0.5)[0], plain)
    _, dropped = quantized_attention(module.train(), query, key, value, None, dropout=0.5)
    kept = dropped != 0
    assert 0.3 < kept.float().mean() < 0.7
    torch.testing.assert_close(dropped[kept], 2 * weights[kept])


def test_what_it_multiplies_is_on_the_grids_of_its_quantizers() -> None:
    query, key, value = inputs(groups=2)
    module = nn.Module().eval()
    module.attention_fq = fq = AttentionQuant(ACTIVATION, 0.05).eval()
    parts: dict[str, ActivationQuant] = {n: m for n, m in fq.named_children() if isinstance(m, ActivationQuant)}
    assert list(parts) == ["query", "key", "probabilities", "value"]
    for part, values in zip(parts.values(), (query, key, torch.tensor([0.0, 0.6]), value), strict=True):
        part.observe(values)
        part.enabled = True
    output, weights = quantized_attention(module, query, key, value, None)
    key, value = (fq_(t).repeat_interleave(2, dim=1) for fq_, t in ((fq.key, key), (fq.value, value)))
    scores = fq.query(query) @ key.transpose(2, 3) / 8**0.5
    expected = fq.probabilities(scores.softmax(-1))
    torch.testing.assert_close(weights, expected)
    assert weights.max() <= 0.6 + 1e-6  # clipped to the range that was seen: softmax itself is not
    torch.testing.assert_close(output, (expected @ value).transpose(1, 2))


# what lasts


def test_without_its_quantizers_a_model_has_its_own_attention_again() -> None:
    model = tiny_classifier(attn_implementation="sdpa").eval()
    batch = token_batch()
    expected = model(**batch).logits
    insert_quantizers(model)
    assert coverage_of(model).replaced == "sdpa"
    remove_quantizers(model)
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model(**batch).logits, expected)
    assert coverage_of(model).replaced is None


def test_a_pickled_model_runs_in_another_process(tmp_path: Any) -> None:
    model = tiny_classifier().eval()
    insert_quantizers(model)
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(copy.deepcopy(model)))
    code = (
        "import pickle, sys, torch; model = pickle.load(open(sys.argv[1], 'rb')); "
        "print(model(input_ids=torch.arange(6).view(1, 6)).logits.sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    expected = model(input_ids=torch.arange(6).view(1, 6)).logits.sum().item()
    assert float(done.stdout) == pytest.approx(expected, abs=1e-4)
