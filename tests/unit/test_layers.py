"""Imports go down the layers of docs/architecture.md only, and importing sparsify stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "sparsify"

# From the top; a module may import its own layer and those below.
LAYERS = [
    {"cli"},
    {"tasks"},
    {"integrations", "export", "analysis"},
    {"manager"},
    {"plan"},
    {"run", "phases", "rates"},
    {"modifiers"},
    {"recipe", "pruning", "quantization", "distillation", "select", "clock", "distributed", "state", "wrappers"},
    {"zoo"},
    {"errors"},
]
LEVEL = {name: len(LAYERS) - i for i, names in enumerate(LAYERS) for name in names}
# Pure packages know nothing of recipes, schedules or trainers, though they share a layer with them.
PURE = {"pruning", "quantization", "distillation"}
NOT_FOR_PURE = {"recipe", "clock"}
# Doors upward that the public API needs; they are imported when called, never at the top of a module.
DOORS = {("manager", "integrations"), ("manager", "analysis"), ("recipe", "modifiers")}


def imports(tree: ast.AST) -> list[tuple[str, bool]]:
    """Parts of sparsify that a module imports, and whether it does so at module level."""
    top = {id(node) for node in getattr(tree, "body", [])}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for inner in ast.walk(node):
                top.discard(id(inner))
            node.body = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found += [(n.split(".")[1], id(node) in top) for n in names if n.startswith("sparsify.")]
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" or p.parent != PACKAGE)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    mine = parts[0].removesuffix(".py")
    assert mine in LEVEL, f"{mine} has no layer: give it one here and in docs/architecture.md"
    for other, at_top in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if (mine, other) in DOORS:
            assert not at_top, f"{path}: {other} is a door upward, import it where it is used"
            continue
        assert LEVEL[other] <= LEVEL[mine], f"{path} imports {other}, which is above it"
        assert not (mine in PURE and other in NOT_FOR_PURE), f"{path} imports {other}: pure packages know no recipes"


def test_importing_sparsify_loads_neither_transformers_nor_onnx() -> None:
    code = (
        "import sys, sparsify; "
        "bad = [m for m in sys.modules if m.split('.')[0] in {'transformers', 'onnx', 'onnxruntime', 'datasets'}]; "
        "sys.exit(1 if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_resolve() -> None:
    import sparsify

    assert all(getattr(sparsify, name) is not None for name in sparsify.__all__)
    assert set(sparsify.__all__) <= set(dir(sparsify))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        sparsify.nonsense  # noqa: B018
