"""A small CNN on handwritten digits: prune it, train it in int8, export it, and see that no convolution runs in float.

Run it with ``python tutorials/digits_cnn.py --output_dir runs/digits`` (seconds on a CPU, no network: the 1797 images
of 8x8 pixels come with scikit-learn). The model is an ordinary ``nn.Module``, the loop an ordinary loop.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import sparsify

# The first half of the run prunes, the second trains with int8 rounding. Names of layers are the model's own.
RECIPE = """
num_epochs: 12
sparsity: 0.7

modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
    {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: cosine, init_lr: 3e-3, final_lr: 0}
  - !GMPruningModifier
    params: [features.3.weight, features.7.weight, classifier.weight]
    init_sparsity: 0.0
    final_sparsity: eval(sparsity)
    start_epoch: 1.0
    end_epoch: eval(num_epochs / 2)
    update_frequency: 0.25
  - !QuantizationModifier
    start_epoch: eval(num_epochs / 2)
    disable_quantization_observer_epoch: eval(num_epochs - 2)
    freeze_bn_stats_epoch: eval(num_epochs - 1)
"""


class DigitsCNN(nn.Module):
    """Three convolutions with batch norm, an average over the image, and a classifier."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU()),
        )
        self.classifier = nn.Linear(2 * width, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, 1, 8, 8] to [batch, 10]."""
        return self.classifier(self.features(pixels).mean((2, 3)))


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images (in 0 to 1) and labels."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    train, test = train_test_split(range(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    return images[train], labels[train], images[test], labels[test]


def train(model: nn.Module, images: Tensor, labels: Tensor, manager: Any, batch_size: int = 32) -> None:
    """An ordinary loop; ``attach`` is the one line that the recipe needs."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    steps = len(labels) // batch_size
    model.train()
    with manager.attach(model, optimizer, steps_per_epoch=steps) as run:
        for epoch in range(manager.max_epochs):
            for rows in torch.randperm(len(labels))[: steps * batch_size].split(batch_size):
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {run.values()}")
    model.eval()


def runtime(path: Path, images: Tensor, folder: Path) -> tuple[Tensor, Counter[str]]:
    """What ONNX Runtime answers, and the operators that it runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    (logits,) = session.run(None, {"pixels": images.numpy()})
    return torch.from_numpy(logits), Counter(node.op_type for node in graph.node)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/digits"))
    parser.add_argument("--num_epochs", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)

    images, labels, test_images, test_labels = load()
    model = DigitsCNN()
    manager = sparsify.load_recipe(RECIPE, recipe_args={"num_epochs": options.num_epochs})
    train(model, images, labels, manager)
    report = manager.report(model)
    print(f"sparsity of the prunable layers: {report.sparsity_prunable:.1%}, bits of the weights: {report.bits}")

    # Any module can be exported: `inputs` are batches of its inputs, on which file and model are compared.
    exported = sparsify.export_onnx(
        model,
        options.output_dir / "deployment",
        inputs=list(test_images.split(50)),
        recipe=manager.recipe.text,
        strict=True,
    )
    print(f"exported to {exported.deployment}, equal to the model: {exported.passed}")

    logits, operators = runtime(exported.deployment / "model.onnx", test_images, options.output_dir)
    print("operators in ONNX Runtime:", ", ".join(f"{count} {name}" for name, count in sorted(operators.items())))
    with torch.no_grad():
        accuracy = [(out.argmax(1) == test_labels).float().mean().item() for out in (model(test_images), logits)]
    print(f"accuracy: {accuracy[0]:.3f} in torch, {accuracy[1]:.3f} in ONNX Runtime")


if __name__ == "__main__":
    main()
