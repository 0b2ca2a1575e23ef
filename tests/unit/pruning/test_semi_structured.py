from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsify import to_semi_structured
from sparsify.errors import InputError
from sparsify.pruning.masks import compute_masks
from sparsify.pruning.semi_structured import is_2_of_4

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0),
    reason="needs an NVIDIA GPU of compute capability 8.0 or more",
)


def _model(pattern: str = "2:4") -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128), nn.Linear(128, 3))
    for index in (0, 2):
        layer = model[index]
        assert isinstance(layer, nn.Linear)
        mask = compute_masks({"w": layer.weight.detach().abs()}, 0.5, pattern=pattern)["w"]
        layer.weight.data *= mask
    return model.eval()


def test_what_is_2_of_4_is_recognised() -> None:
    model = _model()
    assert is_2_of_4(model[0].weight)
    assert not is_2_of_4(model[3].weight)


def test_half_of_the_weights_anywhere_is_not_2_of_4() -> None:
    assert not is_2_of_4(_model("unstructured")[0].weight)


def test_more_zeros_than_two_in_four_still_fit() -> None:
    assert is_2_of_4(torch.zeros(4, 8))


def test_a_width_that_four_does_not_divide_is_not_2_of_4() -> None:
    assert not is_2_of_4(torch.zeros(4, 6))


def test_a_dense_model_is_refused_with_the_recipe_that_makes_one() -> None:
    with pytest.raises(InputError, match=r"mask_type: '2:4'"):
        to_semi_structured(nn.Sequential(nn.Linear(8, 8)).eval())


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(InputError, match="eval"):
        to_semi_structured(_model().train())


def test_a_model_on_the_cpu_is_refused_and_left_as_it_was() -> None:
    model = _model()
    before = model[0].weight
    with pytest.raises(InputError, match="0 is on cpu"):
        to_semi_structured(model)
    assert model[0].weight is before


@needs_gpu
def test_fp32_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.half"):
        to_semi_structured(_model().cuda())


@needs_gpu
def test_outputs_are_those_of_the_masked_model() -> None:
    model = _model().half().cuda()
    inputs = torch.randn(64, 128, dtype=torch.float16, device="cuda")
    with torch.inference_mode():
        expected = model(inputs)
    found = to_semi_structured(model)
    with torch.inference_mode():
        torch.testing.assert_close(model(inputs), expected, atol=2e-3, rtol=2e-2)
    assert found.converted == ("0", "2")
    assert list(found.left) == ["3"]
