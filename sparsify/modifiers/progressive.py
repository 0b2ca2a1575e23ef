"""Masks that move to the next ones weight by weight, between the updates of a gradual schedule."""

from __future__ import annotations

import itertools
from bisect import bisect
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import PrivateAttr

from sparsify.clock import Clock
from sparsify.modifiers.base import Run
from sparsify.modifiers.scored_pruning import ScoredPruning
from sparsify.pruning.mask_set import MaskSet
from sparsify.pruning.masks import partial_masks
from sparsify.pruning.shrink import Shrinkage


class ProgressivePruning(ScoredPruning):
    """Gradual pruning that, if ``is_progressive``, takes four sub-steps from each update's masks to the next one's.

    At an update the masks of the *next* update are chosen; a quarter of the weights that they add goes at each sub-step,
    lowest scores first, over all layers. So the schedule's sparsity is reached on time, and whole blocks or groups of
    N:M never go at once (Neural Compressor's ``*_progressive``, which reaches them one update late).
    """

    SUBSTEPS: ClassVar[int] = 4

    _coming: MaskSet = PrivateAttr(default_factory=lambda: MaskSet({}))
    _zeros: int = PrivateAttr(default=0)

    @property
    def is_progressive(self) -> bool:
        """Whether there are sub-steps."""
        return False

    def on_attach(self, run: Run) -> None:
        """Resolve the parameters; see the base class."""
        super().on_attach(run)
        self._coming, self._zeros = MaskSet(self._held.parameters), 0

    def update_steps(self, clock: Clock) -> list[int]:
        """Steps of the updates, and of the sub-steps between them."""
        updates = super().update_steps(clock)
        if not self.is_progressive:
            return updates
        return sorted({step for pair in _pairs(updates) for step in _split(*pair, self.SUBSTEPS)} | set(updates))

    def on_update(self, run: Run) -> None:
        """Prune to the schedule's sparsity, or take a sub-step towards the next update's."""
        updates = super().update_steps(run.clock) if self.is_progressive else []
        step = min(run.clock.step, updates[-1]) if updates else run.clock.step
        if not self.is_progressive or not self._scores.ready or step == updates[-1]:
            self._finish_coming()
            super().on_update(run)
        elif step in updates:
            self._finish_coming()
            self._choose(run, updates[bisect(updates, step)], updates[-1])
        else:
            if not self._coming.masks:  # at the update before there was no gradient yet
                self._choose(run, updates[bisect(updates, step)], updates[-1])
            self._sub_step(step, updates)

    def _finish_coming(self) -> None:
        if self._coming.masks:
            self._held.replace(self._coming.masks)
            self._held.apply()
            self._coming.replace({})

    def _choose(self, run: Run, following: int, last: int) -> None:
        epoch = self.end if following == last else run.clock.epoch_of(following)
        self._held.check_finite()
        targets = {name: self._at(epoch, self._from[name], final) for name, final in self._to.items()}
        self._coming.replace(self.masks_for(targets))
        self._zeros = self._held.zeros()

    def _sub_step(self, step: int, updates: list[int]) -> None:
        before, after = next(pair for pair in _pairs(updates) if pair[0] < step < pair[1])
        share = (_split(before, after, self.SUBSTEPS).index(step) + 1) / self.SUBSTEPS
        wanted = round((self._coming.zeros() - self._zeros) * share)
        count = wanted - (self._held.zeros() - self._zeros)
        if count > 0:
            self._held.replace(partial_masks(self._scores.scores(), self._held.masks, self._coming.masks, count))
            self._held.apply()

    def on_resize(self, run: Run, change: Shrinkage) -> None:
        """Cut masks, scores, and the masks that are on their way."""
        before = self._held.zeros()
        super().on_resize(run, change)
        self._coming.resize(change.cuts)
        self._zeros -= before - self._held.zeros()

    def state_dict(self) -> dict[str, Any]:
        """What the base class saves, and the masks that are on their way."""
        return super().state_dict() | {"coming": self._coming.state_dict(), "zeros": self._zeros}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back what ``state_dict`` gave."""
        super().load_state_dict(state, run)
        self._coming.load_state_dict(state["coming"])
        self._zeros = state["zeros"]


def _pairs(updates: list[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(updates))


def _split(before: int, after: int, parts: int) -> list[int]:
    """Steps strictly between two updates at which a sub-step falls."""
    return sorted({before + (after - before) * part // parts for part in range(1, parts)} - {before, after})
