"""Output folders: writable before anything is spent, and which checkpoint a resume starts from."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sparsify.errors import InputError
from sparsify.export.checkpoint import RECIPE_FILE
from sparsify.export.compressed import COMPRESSED, INDEX, weight_files
from sparsify.state import STATE_FILE
from sparsify.zoo.names import expanded

logger = logging.getLogger(__name__)


def writable(folder: str | None, given: bool) -> Path:
    """Create the output folder and prove that it can be written.

    Raises:
        InputError: None was given, or it cannot be created or written.
    """
    if not given or not folder:
        raise InputError("--output_dir says where the model goes")
    path = expanded(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"--output_dir {folder}: cannot be written: {error.strerror or error}") from error
    return path


def checkpoint_to_resume(asked: str | None, folder: Path) -> str | bool | None:
    """What ``Trainer.train`` is to resume from: a folder, True for the newest in ``folder``, or None.

    Raises:
        InputError: There is no such checkpoint; those there are get named.
    """
    if asked is None or asked.lower() in ("false", "0", "no"):
        return None
    numbered = (path for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal() and path.is_dir())
    there = sorted(numbered, key=lambda path: int(path.name[11:]))
    if asked.lower() in ("true", "1", "yes", "last"):
        if not there:
            raise InputError(f"--resume_from_checkpoint {asked}: no checkpoint in {folder}")
        return True
    path = expanded(asked)
    if not (path / "trainer_state.json").is_file():
        names = f"; in {folder} there are: {', '.join(p.name for p in there)}" if there else ""
        raise InputError(f"--resume_from_checkpoint {asked}: not a checkpoint folder (no trainer_state.json){names}")
    return str(path)


def move_into(source: Path, target: Path) -> None:
    """Move the files of ``source`` into ``target``, each replaced in one step, and remove ``source``.

    A model saved elsewhere first and moved then is never half written over an earlier one.
    """
    for path in sorted(source.iterdir()):
        os.replace(path, target / path.name)
    source.rmdir()


def set_aside(file: Path) -> None:
    """Rename ``file``, if it is there, to ``NAME.old``: what a user may have put there is never deleted."""
    if file.is_file():
        aside = file.with_name(f"{file.name}.old")
        os.replace(file, aside)
        logger.warning("%s is of another model than the one saved now: it is called %s from here on", file, aside.name)


class NoRecipe(TrainerCallback):
    """Takes out of the checkpoints of a run without a recipe what an earlier run with one left in folders of that name."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take it out."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            for name in (RECIPE_FILE, STATE_FILE):
                (folder / name).unlink(missing_ok=True)


def drop_other_weights(folder: Path, compressed: bool) -> None:
    """Remove weights that an earlier run left in the other of the two ways to store them: one folder, one model."""
    files = [*weight_files(folder), folder / INDEX] if compressed else [folder / COMPRESSED]
    for file in files:
        file.unlink(missing_ok=True)
