"""Any PyTorch module to export: its inputs are batches that the caller gives, its outputs what it returns for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsify.errors import ExportError, InputError
from sparsify.export.samples import Batch, Sample
from sparsify.export.source import MAX_SAMPLES, Source, frozen_copy
from sparsify.export.task import Task

TASK = "module"
"""The task of such a model, as reports and the file's metadata name it."""
Inputs = Iterable[Any]
"""Batches of model inputs: each a mapping by name, a tensor, or a tuple of tensors; or one such mapping or tensor."""


@dataclass(frozen=True, slots=True)
class ModuleSource(Source):
    """A module and the batches it is compared on; it has neither config nor tokenizer."""

    given: tuple[Batch, ...] = ()

    @property
    def config(self) -> Any:
        """None."""
        return None

    @property
    def inputs(self) -> list[str]:
        """Names of the graph's inputs: those of the first batch."""
        return list(self.given[0].inputs)

    @property
    def max_length(self) -> int:
        """Nothing is counted in tokens: 0."""
        return 0

    @property
    def labels(self) -> list[str]:
        """None are known."""
        return []

    def batches(
        self,
        samples: str | Path | Sequence[Sample] | None,
        shape: tuple[int, int] | None,
        limit: int = MAX_SAMPLES,
        inputs: Sequence[str] | None = None,
    ) -> tuple[list[Batch], str]:
        """The batches that were given.

        Raises:
            InputError: ``samples`` are given too: only a tokenizer could read them.
        """
        if samples is not None:
            raise InputError("samples are texts for a tokenizer: a module is compared on inputs=... alone.")
        return list(self.given), "samples"

    def example(self, shape: tuple[int, int] | None = None) -> dict[str, NDArray[Any]]:
        """The first batch's inputs."""
        return self.given[0].inputs


def open_module(
    model: nn.Module, inputs: Inputs, *, recipe: str | None = None, limit: int = MAX_SAMPLES
) -> ModuleSource:
    """Make ready to export a module that is no transformers model.

    Args:
        model: Copied, never changed.
        inputs: Batches of its inputs; the first axis of each tensor is the batch. Tensors without a name are those of
            its forward, in order.
        recipe: Text of the recipe that made it.
        limit: Take batches until so many rows.

    Raises:
        InputError: There is no batch, or the module does not run on one.
        ExportError: Its output has no tensors to write.
    """
    batches: list[Batch] = []
    for values in _each(inputs):
        batches.append(_batch(_by_name(model, values)))
        if sum(len(batch.real) for batch in batches) >= limit:
            break
    if not batches:
        raise InputError("inputs: there is no batch to compare on; give some batches of the model's inputs.")
    twin = frozen_copy(model)
    task = Task(TASK, "", _outputs(twin, batches[0]), ())
    return ModuleSource(twin, task, None, None, recipe, (), tuple(batches))


def _each(inputs: Inputs) -> Iterator[Any]:
    yield from (inputs,) if isinstance(inputs, Tensor | Mapping) else inputs


def _by_name(model: nn.Module, values: Any) -> dict[str, Tensor]:
    if isinstance(values, Mapping):
        named = dict(values)
    else:
        listed = list(values) if isinstance(values, tuple | list) else [values]
        names = list(islice(inspect.signature(model.forward).parameters, len(listed)))
        if len(names) < len(listed):
            raise InputError(f"inputs: {len(listed)} tensors in a batch, but forward of the model takes {len(names)}.")
        named = dict(zip(names, listed, strict=True))
    wrong = next((name for name, value in named.items() if not isinstance(value, Tensor) or value.ndim == 0), None)
    if wrong is not None or not named:
        raise InputError(f"inputs: {wrong or 'a batch'} must be a tensor whose first axis is the batch.")
    return named


def _batch(values: Mapping[str, Tensor]) -> Batch:
    arrays = {name: value.detach().cpu().numpy() for name, value in values.items()}
    rows = np.ones(len(next(iter(arrays.values()))), dtype=bool)
    return Batch(arrays, rows, rows)


@torch.no_grad()
def _outputs(model: nn.Module, batch: Batch) -> tuple[str, ...]:
    try:
        result = model(**{name: torch.from_numpy(value) for name, value in batch.inputs.items()})
    except Exception as error:  # whatever the model's own code raises
        raise InputError(f"inputs: {type(model).__name__} does not run on them: {error}") from error
    if isinstance(result, Tensor):
        return ("output",)
    if isinstance(result, Mapping):
        names = tuple(str(name) for name, value in result.items() if isinstance(value, Tensor) and value.ndim)
    else:
        listed = isinstance(result, tuple | list) and all(isinstance(value, Tensor) for value in result)
        names = tuple(f"output_{i}" for i in range(len(result))) if listed else ()
    if not names:
        raise ExportError(f"{type(model).__name__} returns {type(result).__name__}: return tensors to export it.")
    return names
