"""Example inputs, outputs and labels beside a model, for whoever deploys it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


def save_samples(
    model: nn.Module,
    features: Sequence[Mapping[str, list[int]]],
    collate: Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]],
    folder: Path,
) -> Path:
    """Write one ``.npz`` per example under ``sample-inputs/``, ``sample-outputs/`` and ``sample-labels/``.

    Args:
        model: Gives the outputs; its mode is kept.
        features: Examples with ``labels``.
        collate: Makes a batch of one of them.
        folder: Where the three folders go.

    Returns:
        ``folder``.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for index, feature in enumerate(features):
        batch = dict(collate([dict(feature)]))
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = model(**{key: value.to(device) for key, value in batch.items()}).logits
        inputs = {key: value.numpy() for key, value in batch.items()}
        _write(folder / "sample-inputs", f"inp-{index:04d}", inputs)
        _write(folder / "sample-outputs", f"out-{index:04d}", {"logits": logits.cpu().numpy()})
        _write(folder / "sample-labels", f"lab-{index:04d}", {"labels": labels.numpy()})
    model.train(training)
    return folder


def _write(folder: Path, name: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
