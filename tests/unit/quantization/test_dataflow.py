"""What becomes of the outputs of convolutions, in models of several styles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsify.quantization.dataflow import convolution_flows
from sparsify.quantization.insert import insert_quantizers
from tests.helpers.convnets import Residual


def test_norm_relu_pool_and_flatten_lead_to_the_reader() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(2, 2, 3), nn.Dropout(0.1), nn.Flatten(), nn.Linear(2, 2)),
    )
    flows = convolution_flows(model)
    assert (flows["0"].norm, flows["0"].tail, flows["0"].readers, flows["0"].closed) == ("1", "2", ("4",), True)
    assert (flows["4"].norm, flows["4"].tail, flows["4"].readers, flows["4"].closed) == (None, "4", ("7",), True)


def test_attributes_functions_and_residual_sums() -> None:
    flows = convolution_flows(Residual())
    assert flows["stem"].norm is None
    assert flows["stem"].tail == "stem"  # its relu is a function, which no quantizer can be put behind
    assert set(flows["stem"].readers) == {"block.conv1", "block.down.0"}
    assert flows["stem"].closed
    assert (flows["block.conv1"].norm, flows["block.conv1"].readers) == ("block.norm1", ("block.conv2",))
    for name, norm in (("block.conv2", "block.norm2"), ("block.down.0", "block.down.1")):
        assert (flows[name].norm, flows[name].tail, flows[name].closed) == (norm, norm, False)
    assert flows["block.conv1"].source == flows["block.down.0"].source != flows["block.conv2"].source


class Shared(nn.Module):
    """One ReLU and one norm serve two convolutions, and one convolution is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(2, 2, 1) for _ in range(3))
        self.norm, self.relu = nn.BatchNorm2d(2), nn.ReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.relu(self.norm(self.first(x)))
        y = self.relu(self.norm(self.second(x)))
        z = self.third(y)
        return nn.functional.relu(z), z + y


def test_what_serves_several_is_no_tail_and_what_several_read_has_no_norm() -> None:
    flows = convolution_flows(Shared())
    assert [(f.norm, f.tail) for f in flows.values()] == [(None, "first"), (None, "second"), (None, "third")]
    assert not any(flow.closed for flow in flows.values())


class NormAct(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


class Bounded(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1)


def test_subclasses_that_may_compute_more_are_neither_norm_nor_tail() -> None:
    flow = convolution_flows(nn.Sequential(nn.Conv2d(1, 2, 3), NormAct(2), nn.Flatten()))["0"]
    assert (flow.norm, flow.tail, flow.closed) == (None, "0", False)
    flow = convolution_flows(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Bounded()))["0"]
    assert (flow.norm, flow.tail) == ("1", "1")


def test_a_quantized_model_flows_as_the_plain_one() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    for made in (model, nn.Sequential(*list(model)[:2])):
        plain = convolution_flows(made)
        insert_quantizers(made)
        assert convolution_flows(made) == plain


class Branches(nn.Module):
    """Its forward depends on data; its body does not."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = nn.Conv2d(1, 2, 3)
        self.body = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3))
        self.listed = nn.ModuleList([nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.alone(x)
        return self.body(x) if x.sum() > 0 else self.listed[0](self.listed[1](x))


def test_parts_of_a_model_that_cannot_be_traced() -> None:
    flows = convolution_flows(Branches())
    assert set(flows) == {"body.0", "body.3"}  # the order in which a list's modules run is not known
    assert (flows["body.0"].norm, flows["body.0"].readers) == ("body.1", ("body.3",))
    assert not flows["body.3"].closed


def test_models_without_convolutions_are_not_traced() -> None:
    class Explodes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise SystemExit

    assert convolution_flows(nn.Sequential(nn.Linear(2, 2), Explodes())) == {}


def test_a_traced_model_is_left_as_it_was() -> None:
    model = Residual().eval()
    x = torch.randn(2, 1, 6, 6)
    before = model(x)
    names = [name for name, _ in model.named_modules()]
    convolution_flows(model)
    assert [name for name, _ in model.named_modules()] == names
    assert torch.equal(model(x), before)
