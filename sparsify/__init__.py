"""sparsify: one recipe file says how a model gets small; any PyTorch loop runs it; the ONNX file is proven equal."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsify.export.benchmark import benchmark
    from sparsify.export.checkpoint import load_model
    from sparsify.export.compressed import save_compressed
    from sparsify.export.deployment import export_onnx
    from sparsify.export.verify import verify
    from sparsify.manager import ModifierManager, load_recipe
    from sparsify.modifiers.base import Modifier
    from sparsify.modifiers.registry import register
    from sparsify.pruning.semi_structured import to_semi_structured
    from sparsify.pruning.shrink import shrink
    from sparsify.recipe.recipe import Recipe

_HOMES = {
    "Modifier": "sparsify.modifiers.base",
    "ModifierManager": "sparsify.manager",
    "Recipe": "sparsify.recipe.recipe",
    "benchmark": "sparsify.export.benchmark",
    "export_onnx": "sparsify.export.deployment",
    "load_model": "sparsify.export.checkpoint",
    "load_recipe": "sparsify.manager",
    "register": "sparsify.modifiers.registry",
    "save_compressed": "sparsify.export.compressed",
    "shrink": "sparsify.pruning.shrink",
    "to_semi_structured": "sparsify.pruning.semi_structured",
    "verify": "sparsify.export.verify",
}

__all__ = [
    "Modifier",
    "ModifierManager",
    "Recipe",
    "benchmark",
    "export_onnx",
    "load_model",
    "load_recipe",
    "register",
    "save_compressed",
    "shrink",
    "to_semi_structured",
    "verify",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparsify' has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
