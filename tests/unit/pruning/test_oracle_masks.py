"""Masks against those that SparseML and Neural Compressor really made; deviations are stated where they are tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparsify.pruning import compute_masks

Masks = dict[str, Tensor]


class Oracle:
    """One archive: weights, and masks by case."""

    def __init__(self, path: Path) -> None:
        self._arrays: Any = np.load(path)
        self.cases = sorted({key.split("/")[1] for key in self._arrays.files if key.startswith("mask/")})

    def scores(self, source: str = "weights") -> Masks:
        names = [key.split("/")[1] for key in self._arrays.files if key.startswith(f"{source}/")]
        return {name: torch.from_numpy(self._arrays[f"{source}/{name}"]).abs() for name in names}

    def masks(self, case: str) -> Masks:
        return {name: torch.from_numpy(self._arrays[f"mask/{case}/{name}"]) for name in self.scores()}


def zeros(masks: Masks) -> dict[str, int]:
    return {name: int((~mask).sum()) for name, mask in masks.items()}


def differing(ours: Masks, theirs: Masks) -> dict[str, int]:
    return {name: int((ours[name] != theirs[name]).sum()) for name in ours}


def ours(scores: Masks, case: str) -> Masks:
    pattern, scope, sparsity = case.split("|")
    form = json.loads(pattern) if pattern.startswith("[") else pattern
    return compute_masks(scores, float(sparsity), form, "layer" if scope == "local" else "global")


@pytest.fixture(scope="module")
def sparseml(shared: Path) -> Oracle:
    return Oracle(shared / "oracle" / "sparseml_masks.npz")


@pytest.fixture(scope="module")
def inc(shared: Path) -> Oracle:
    return Oracle(shared / "oracle" / "inc_masks.npz")


def test_plain_weights_give_sparsemls_masks(sparseml: Oracle) -> None:
    cases = [case for case in sparseml.cases if case.startswith("plain|") and "[2, 2]" not in case]
    assert len(cases) > 35
    for case in cases:
        found = ours(sparseml.scores(), case.removeprefix("plain|"))
        assert differing(found, sparseml.masks(case)) == {"fc1": 0, "fc2": 0, "fc3": 0}, case


def test_equal_weights_give_the_same_counts(sparseml: Oracle) -> None:
    """On ties it is not said which of equal weights go: per layer the counts agree, over all layers the total."""
    for case in (c for c in sparseml.cases if c.startswith("ties|") and "[2, 2]" not in c):
        found, theirs = zeros(ours(sparseml.scores("ties"), case.removeprefix("ties|"))), zeros(sparseml.masks(case))
        if "|local|" in case:
            assert found == theirs, case
        else:
            assert sum(found.values()) == sum(theirs.values()), case


def test_two_by_two_blocks_deviate_in_being_blocks(sparseml: Oracle) -> None:
    """Deviation: theirs are four neighbours in a row of the flat weight; ours are squares, as many of them."""
    case = "plain|[2, 2]|local|0.5"
    found, theirs = ours(sparseml.scores(), case.removeprefix("plain|")), sparseml.masks(case)
    assert zeros(found) == zeros(theirs)
    for name, mask in found.items():
        squares = mask.view(mask.shape[0] // 2, 2, mask.shape[1] // 2, 2).transpose(1, 2).flatten(2)
        assert torch.equal(squares.all(-1), squares.any(-1))
        flat = theirs[name].view(-1, 4)
        assert torch.equal(flat.all(-1), flat.any(-1))


def test_n_of_m_deviates_in_having_masks_below_its_ratio(sparseml: Oracle) -> None:
    """Deviation: theirs exists at 0 and at its exact ratio only; ours moves group by group in between."""
    assert not any(case.startswith("plain|2:4|") and not case.endswith(("|0.0", "|0.5")) for case in sparseml.cases)
    found = ours(sparseml.scores(), "2:4|local|0.25")
    assert {name: int((~m).sum()) / m.numel() for name, m in found.items()} == {"fc1": 0.25, "fc2": 0.25, "fc3": 0.25}


def _inc_pattern(text: str) -> str | list[int]:
    if "x" not in text or text == "1x1":
        return {"1x1": "unstructured"}.get(text, text)
    return [-1 if extent == "channel" else int(extent) for extent in text.split("x")]


def test_inc_masks_within_one_unit(inc: Oracle) -> None:
    """Deviation: Neural Compressor cuts counts off where ours are rounded, so a layer may differ by one unit."""
    for case in inc.cases:
        text, scope, sparsity = case.split("|")
        if "channel" in text and scope == "global":
            continue
        pattern = _inc_pattern(text)
        scores = inc.scores()
        found = compute_masks(
            scores, float(sparsity), pattern, "layer" if scope == "local" else "global", max_layer_sparsity=0.98
        )
        for name, count in differing(found, inc.masks(case)).items():
            unit = 1
            if isinstance(pattern, list):
                rows, columns = (e if e > 0 else scores[name].shape[i] for i, e in enumerate(pattern))
                unit = rows * columns
            assert count <= unit, (case, name)


def test_inc_counts_rows_of_any_length_as_one(inc: Oracle) -> None:
    """Deviation: over layers of different width Neural Compressor prunes half of the rows, ours half of the weights."""
    theirs = inc.masks("1xchannel|global|0.5")
    rows = sum(int((~m).all(1).sum()) for m in theirs.values())
    assert rows == sum(len(m) for m in theirs.values()) / 2
    total = sum(m.numel() for m in theirs.values())
    assert sum(zeros(theirs).values()) / total > 0.6
    found = compute_masks(inc.scores(), 0.5, [1, -1], "global")
    assert sum(zeros(found).values()) / total == pytest.approx(0.5, abs=0.005)
