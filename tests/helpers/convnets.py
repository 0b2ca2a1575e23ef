"""Small models with convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions with norms as attributes, a projected shortcut, a residual sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, height, width'] to the same."""
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return self.relu(y + self.down(x))


class Residual(nn.Module):
    """A residual network of one block: images [batch, 1, height, width] to logits [batch, 5]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.block = Block(width)
        self.head = nn.Linear(width, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        """Images to logits."""
        return self.head(self.block(torch.relu(self.stem(pixels))).mean((2, 3)))


def images(count: int = 8, seed: int = 0, size: int = 8) -> Tensor:
    """Random images [count, 1, size, size]."""
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def normalized(model: nn.Module) -> nn.Module:
    """``model`` in eval mode, its norms with statistics, factors and shifts of their own."""
    model.train()
    for seed in range(3):
        model(images(16, seed))
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(std=0.1)
    return model.eval()
