"""Which tokens a model is to guess, as a function of seed, epoch and example alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sparsify.distillation.losses import IGNORED
from sparsify.errors import InputError

FIXED = (2018, 0)
"""Seed and epoch of the masks that do not change: those of evaluation."""
_MASKED, _REPLACED = 0.8, 0.9


@dataclass(frozen=True, eq=False)
class Masking:
    """How tokens are hidden (Devlin et al., 2018, arXiv:1810.04805, section 3.1).

    Attributes:
        probability: Share of the tokens to be guessed, above 0 and at most 1.
        mask: Id of the mask token, which stands for 8 of 10 of them.
        special: Ids that are never guessed.
        words: Ids of which one stands for 1 of 10; the last one stays as it is.
    """

    probability: float
    mask: int
    special: frozenset[int]
    words: NDArray[np.int64]

    @classmethod
    def of(cls, tokenizer: Any, probability: float) -> Masking:
        """That of a tokenizer.

        Raises:
            InputError: It has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise InputError(
                "the tokenizer has no mask token, so its model cannot learn to fill one: start from a masked language"
                " model, or name its tokenizer with --tokenizer_name"
            )
        special = frozenset(tokenizer.all_special_ids)
        words = np.array([i for i in range(len(tokenizer)) if i not in special], dtype=np.int64)
        return cls(probability, tokenizer.mask_token_id, special, words)

    def hide(self, ids: Sequence[int], *key: int) -> tuple[list[int], list[int]]:
        """Hide some tokens: ``probability`` of those that are not special, at least one.

        Args:
            ids: Token ids of one example, special ones included.
            key: What the choice is a function of: seed, epoch, number of the example; each at least 0.

        Returns:
            Ids with some replaced; labels: the true id where one is to be guessed, -100 elsewhere.
        """
        shown = np.array(ids, dtype=np.int64)
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        places = np.array([i for i, token in enumerate(ids) if token not in self.special], dtype=np.int64)
        if len(places):
            rng = np.random.default_rng(key)
            chosen = rng.choice(places, size=max(1, round(len(places) * self.probability)), replace=False)
            labels[chosen] = shown[chosen]
            chance = rng.random(len(chosen))
            others = rng.choice(self.words, size=len(chosen))
            replaced = np.where(chance < _REPLACED, others, shown[chosen])
            shown[chosen] = np.where(chance < _MASKED, self.mask, replaced)
        return shown.tolist(), labels.tolist()


class MaskedExamples(Dataset[dict[str, Any]]):
    """Examples whose hidden tokens change with the epoch, and with nothing else.

    The Trainer restores torch's random state when it resumes, but a loader that reads ahead has drawn from it already:
    masks out of that state would not be those of a run that went through.

    Args:
        features: One dict of model inputs per example.
        ids: Its ``input_ids`` with nothing hidden.
        masking: How tokens are hidden.
        seed: Of the choice.
    """

    def __init__(
        self, features: Sequence[dict[str, Any]], ids: Sequence[Sequence[int]], masking: Masking, seed: int
    ) -> None:
        self._features, self._ids, self._masking, self._seed = features, ids, masking, seed
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # workers of a loader see it change

    def set_epoch(self, epoch: int) -> None:
        """Hide other tokens."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        shown, labels = self._masking.hide(self._ids[index], self._seed, int(self._epoch), index)
        return {**self._features[index], "input_ids": shown, "labels": labels}
