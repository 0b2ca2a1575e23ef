"""What the files of an entry are: which is the recipe, which belong to the model. Knows names only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from pathlib import PurePosixPath

RECIPE_SUFFIXES = (".yaml", ".yml", ".md", ".json")
_RECIPE = re.compile(r"recipe(?:[_.-][^/]*)?\.(?:yaml|yml|md|json)")
TRAINING, DEPLOYMENT = "training", "deployment"
ARCHIVE = ".tar.gz"
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib", ".npy", ".npz")
"""Suffixes of files that hold pickles, or that a loader may take for such."""
WEIGHTS = "model.safetensors"
OLD_WEIGHTS = "pytorch_model.bin"
_MODEL_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".tiktoken", ".yaml", ".bpe", ".jinja")


def recipes(names: Collection[str]) -> list[str]:
    """Recipe files, at the top of the entry: ``recipe.yaml``, ``recipe_NAME.md`` and so on."""
    return sorted(filter(_RECIPE.fullmatch, names))


def choose_recipe(names: Collection[str], wanted: str | None) -> str | None:
    """The recipe file that is asked for.

    Args:
        names: Files of the entry.
        wanted: Of ``?recipe=``: the file is ``recipe_<wanted>``, or the only one that begins so; None: ``recipe``,
            else ``recipe_original``, else the only one there is.

    Returns:
        Its name, None where there is none or several could be meant.
    """
    found = recipes(names)
    by_stem: dict[str, str] = {}
    for suffix in RECIPE_SUFFIXES:
        for name in found:
            if name.endswith(suffix):
                by_stem.setdefault(name.removesuffix(suffix), name)
    for stem in (f"recipe_{wanted}",) if wanted else ("recipe", "recipe_original"):
        if stem in by_stem:
            return by_stem[stem]
    begun = (
        [n for stem, n in by_stem.items() if stem.startswith(f"recipe_{wanted}")] if wanted else list(by_stem.values())
    )
    return begun[0] if len(begun) == 1 else None


def training_folder(names: Collection[str], checkpoint: str | None) -> str | None:
    """Folder of the trained model, as a prefix: ``training/``, one of its checkpoints, or the entry itself ("").

    SparseZoo called the whole ``training/`` folder the checkpoint ``preqat``, so that is what it is taken for where
    there is no folder of that name.
    """
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    if checkpoint:
        for prefix in (f"{TRAINING}/{checkpoint}/", f"{checkpoint}/"):
            if any(name.startswith(prefix) for name in names):
                return prefix
        if checkpoint != "preqat":
            return None
    if TRAINING in tops:
        return f"{TRAINING}/"
    return "" if "config.json" in names else None


def below(names: Collection[str], prefix: str) -> list[str]:
    """Files of a folder of the entry; for the entry itself (a bare model folder) those that a model consists of."""
    if prefix:
        return sorted(name for name in names if name.startswith(prefix))
    return sorted(n for n in names if "/" not in n and (n.endswith(_MODEL_SUFFIXES) or is_old_weights(n)))


def is_old_weights(name: str) -> bool:
    """Whether this is a file of pickled weights as transformers once wrote them."""
    base = PurePosixPath(name).name
    return base.startswith("pytorch_model") and base.endswith(".bin")


def is_entry(names: Collection[str]) -> bool:
    """Whether files of these names make an entry: it has a recipe, a model, or the archive of one."""
    parts = (TRAINING, DEPLOYMENT)
    return bool(recipes(names)) or "config.json" in names or any(
        n.split("/", 1)[0] in parts or n in {p + ARCHIVE for p in parts} for n in names
    )  # fmt: skip


def nearest(name: str, known: Collection[str], count: int = 3) -> list[str]:
    """The known names most like one that was not found."""
    return difflib.get_close_matches(name, known, n=count, cutoff=0.5)
