"""Example inputs, outputs and labels beside a model, for whoever deploys it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sparsify.distillation.teacher import NOT_FOR_TEACHERS
from sparsify.quantization.modes import evaluating


def save_samples(
    model: nn.Module,
    features: Sequence[Mapping[str, list[int]]],
    collate: Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]],
    folder: Path,
    *,
    outputs: Sequence[str] = ("logits",),
) -> Path:
    """Write one ``.npz`` per example under ``sample-inputs/``, ``sample-outputs/`` and ``sample-labels/``.

    Args:
        model: Gives the outputs; its mode is kept.
        features: Examples with ``labels``.
        collate: Makes a batch of one of them.
        folder: Where the three folders go.
        outputs: Names of the model's outputs to keep.

    Returns:
        ``folder``.
    """
    for stale in folder.glob("sample-*/*-[0-9][0-9][0-9][0-9].npz"):
        stale.unlink()  # of an earlier run with more of them
    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad():
        for index, feature in enumerate(features):
            batch = dict(collate([dict(feature)]))
            labels = {key: batch.pop(key).numpy() for key in list(batch) if key in NOT_FOR_TEACHERS}
            given = model(**{key: value.to(device) for key, value in batch.items()})
            inputs = {key: value.numpy() for key, value in batch.items()}
            _write(folder / "sample-inputs", f"inp-{index:04d}", inputs)
            _write(folder / "sample-outputs", f"out-{index:04d}", {key: given[key].cpu().numpy() for key in outputs})
            _write(folder / "sample-labels", f"lab-{index:04d}", labels)
    return folder


def _write(folder: Path, name: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
