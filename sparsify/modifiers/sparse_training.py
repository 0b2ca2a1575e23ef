"""Sparse training: masks that come and go while the model learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator
from torch import Tensor

from sparsify.modifiers.base import Flag, Run
from sparsify.modifiers.masking import PatternModifier, check_ratio
from sparsify.modifiers.registry import register
from sparsify.pruning.masks import Scope

_EPS = 1e-6  # epochs
_MOMENTA = ("momentum_buffer", "exp_avg")  # of SGD, of Adam and its kin


@register("ACDCPruningModifier")
class ACDCPruningModifier(PatternModifier):
    """Alternates dense and compressed phases (AC/DC, Peste et al. 2021), the first dense, the last compressed.

    A phase lasts ``update_frequency`` epochs. A compressed phase prunes to ``compression_sparsity`` by magnitude; in a
    dense phase all weights learn, and momentum that masked weights gathered is reset on entering it.
    """

    paper: ClassVar[str] = (
        "Peste et al. 2021, AC/DC: Alternating Compressed/DeCompressed Training of Deep Neural Networks, "
        "https://arxiv.org/abs/2106.12379"
    )
    example: ClassVar[Mapping[str, Any]] = {"compression_sparsity": 0.9, "end_epoch": 6.0, "update_frequency": 1.0}

    compression_sparsity: Annotated[float, Field(gt=0, lt=1)] = Field(description="sparsity of compressed phases")
    start_epoch: float
    end_epoch: float
    update_frequency: float = Field(description="epochs that a phase lasts")
    global_sparsity: Flag = Field(True, description="one threshold for all parameters")
    momentum_buffer_reset: Flag = Field(True, description="zero momentum when a dense phase begins")

    @field_validator("start_epoch", "end_epoch", "update_frequency")
    @classmethod
    def _whole(cls, value: float) -> float:
        if not value.is_integer():
            raise ValueError("phases begin and end with whole epochs")
        return value

    @model_validator(mode="after")
    def _phases_fit(self) -> ACDCPruningModifier:
        if self.update_frequency < 1:
            raise ValueError(f"a phase lasts update_frequency epochs: at least 1, not {self.update_frequency:g}")
        if self.end_epoch < 0:
            raise ValueError("the last phase is the one that ends at end_epoch, so it cannot be -1 (never)")
        check_ratio(self.mask_type, "compression_sparsity", self.compression_sparsity)
        return self

    @property
    def scope(self) -> Scope:
        """As ``global_sparsity`` says."""
        return "global" if self.global_sparsity else "layer"

    def values(self, epoch: float) -> dict[str, float]:
        """``sparsity`` of the phase; nothing before the start."""
        if epoch < self.start - _EPS or (not self.leave_enabled and epoch > self.end + _EPS):
            return {}
        return {"sparsity": self.compression_sparsity if self._compressed(epoch) else 0.0}

    def _compressed(self, epoch: float) -> bool:
        phase = math.floor((epoch - self.start) / self.update_frequency + _EPS)
        return phase % 2 == 1 or epoch >= self.end - self.update_frequency - _EPS

    def on_update(self, run: Run) -> None:
        """Enter the phase that begins now."""
        if self._compressed(self.schedule_epoch(run)):
            self.prune(dict.fromkeys(self._held.parameters, self.compression_sparsity))
        elif self._held.masks:
            self._held.replace({})
            if self.momentum_buffer_reset:
                self._reset_momentum(run)

    def _reset_momentum(self, run: Run) -> None:
        for weight in self._held.parameters.values():
            for name, value in run.optimizer.state.get(weight, {}).items():
                if name in _MOMENTA and isinstance(value, Tensor):
                    value.zero_()
