"""Which files of a folder are published, and under which names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo import layout
from sparsify.zoo.names import inside, safe_set

_CARDS = ("model.md", "README.md")
_PLAIN = (".json", ".txt", ".md", ".yaml", ".yml", ".model", ".tiktoken", ".bpe", ".jinja", ".csv")
_WEIGHTS = (".safetensors", ".onnx", ".onnx_data", ".data")
_PARTS = (layout.TRAINING, layout.DEPLOYMENT)
_EXTRAS = ("analysis.yaml", "benchmark.yaml", "benchmarks.yaml", "eval.yaml", "metrics.yaml")
_OF_TRAINING = (
    *(
        "trainer_state.json",
        "training_args.bin",
        "optimizer.pt",
        "scheduler.pt",
        "scaler.pt",
        "sparsify_state.safetensors",
    ),
    *("all_results.json", "train_results.json", "eval_results.json", "predict_results.json", "manifest.json"),
)


@dataclass(frozen=True)
class Collected:
    """What of a folder is published.

    Attributes:
        files: Local path by name in the entry.
        skipped: Names of files that are left out.
    """

    files: dict[str, Path]
    skipped: list[str]


def collect(folder: Path) -> Collected:
    """Files of a folder that training wrote, or of one that is laid out as an entry already.

    A model folder (config.json and weights at its top) becomes ``training/``, its ``deployment/`` stays, its recipe and
    card are copied to the top of the entry as well. Only safetensors are taken as weights.

    Raises:
        ZooError: No such folder, nothing to publish in it, pickled weights only, a link that leads out of it or nowhere.
    """
    if not folder.is_dir():
        raise ZooError(f"{folder}: no such folder")
    names = dict(_walk(folder))
    flat = "config.json" in names and not any(name.startswith(f"{layout.TRAINING}/") for name in names)
    files: dict[str, Path] = {}
    skipped: list[str] = []
    for name, path in names.items():
        targets = _targets(name, flat)
        if not targets:
            skipped.append(name)
        files |= dict.fromkeys(targets, path)
    safe_set(files, str(folder))
    _check(folder, files, skipped)
    return Collected(dict(sorted(files.items())), skipped)


def _targets(name: str, flat: bool) -> list[str]:
    top, _, rest = name.partition("/")
    if not rest:
        atop = [name] if name in layout.recipes([name]) or name in (*_CARDS, *_EXTRAS) else []
        model = flat and name not in _OF_TRAINING and name.endswith((*_PLAIN, ".safetensors")) and name not in _CARDS
        return [*atop, *([f"{layout.TRAINING}/{name}"] if model else [])]
    if top in _PARTS and rest.rsplit("/", 1)[-1] not in _OF_TRAINING and name.endswith((*_PLAIN, *_WEIGHTS)):
        return [name]
    return []


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "checkpoint-")))
        for name in sorted(name for name in files if not name.startswith(".")):
            relative = (Path(top) / name).relative_to(folder).as_posix()
            path = inside(folder, relative)
            if not _is_file(path):
                raise ZooError(f"{path}: no plain file but a link to nothing, a pipe or a device; remove it to publish")
            yield relative, path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a link to itself
        return False


def _check(folder: Path, files: dict[str, Path], skipped: list[str]) -> None:
    if not layout.is_entry(files):
        raise ZooError(
            f"{folder}: nothing to publish: no recipe*.yaml, no model (config.json), no training/ or deployment/"
        )
    has_model = layout.training_folder(files, None) is not None
    weights = any(name.startswith(f"{layout.TRAINING}/") and name.endswith(".safetensors") for name in files)
    if has_model and not weights:
        pickled = [name for name in skipped if layout.is_old_weights(name)]
        how = f" {pickled[0]} is pickled: load it and save_pretrained() it again." if pickled else ""
        raise ZooError(f"{folder}: the model has no weights in safetensors, the only format that is published.{how}")
