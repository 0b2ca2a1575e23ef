"""Whole layers of the model left out."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import nn

from sparsify.errors import InputError, RecipeError
from sparsify.modifiers.base import Modifier
from sparsify.modifiers.masking import Selectors
from sparsify.modifiers.registry import register
from sparsify.pruning.skip import skip, skipped
from sparsify.select import clean_name, select_modules


@register("LayerPruningModifier")
class LayerPruningModifier(Modifier):
    """Takes whole layers out before training begins: a BERT of 12 layers becomes one of 6.

    The layers that stay keep their names. What is taken out is gone from the optimizer, the weights file and the
    exported model; ``recipe.yaml`` beside the weights says so to whoever loads them. A layer can be left out if what
    goes in has the shape of what comes out, and if its ``forward`` is annotated with what it returns.
    ``update_frequency`` is accepted and has no meaning.
    """

    paper: ClassVar[str] = (
        "Sajjad et al. 2020, On the Effect of Dropping Layers of Pre-trained Transformer Models, "
        "https://arxiv.org/abs/2004.03844"
    )

    order: ClassVar[int] = 10
    kind: ClassVar[str] = "pruning"
    structural: ClassVar[bool] = True

    layers: Selectors = Field(description="module names, re: patterns or class names", min_length=1)

    @property
    def unavailable(self) -> str | None:
        """Layers that go, or come back, in the middle of a run."""
        if not self.before_training:
            return f"LayerPruningModifier with start_epoch {self.start:g}: layers are taken out before training only"
        return None if self.end_epoch < 0 else "LayerPruningModifier with an end_epoch: layers do not come back"

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the parameters that would go; see the base class."""
        gone = [f"{name}." for name in self._chosen(model)]
        names = [clean_name(name) for name, _ in model.named_parameters()]
        return tuple(name for name in names if name.startswith(tuple(gone)))

    def on_structure(self, model: nn.Module) -> None:
        """Take the layers out.

        Raises:
            RecipeError: A name matches nothing, or a layer cannot be left out.
        """
        if self.unavailable:
            raise RecipeError(f"not available yet: {self.unavailable}")
        chosen = self._chosen(model)
        try:
            skip(model, [layer for name, layer in chosen.items() if not _below(name, chosen)])
        except InputError as error:
            raise RecipeError(f"layers: {error}") from error

    def _chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        """Layers to leave out; names of classes that are gone already still count as found."""
        gone = {layer.replaces for layer in skipped(model).values()}
        selectors = [selector for selector in self.layers if selector not in gone]
        if not selectors:
            return {}
        return {clean_name(name): layer for name, layer in select_modules(model, selectors).items()}


def _below(name: str, chosen: dict[str, nn.Module]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:end]) in chosen for end in range(1, len(parts)))
