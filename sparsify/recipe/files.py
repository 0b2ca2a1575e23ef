"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sparsify.errors import InputError


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all; text as UTF-8 with ``\\n``.

    Raises:
        InputError: The file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # what kept it from being written may also keep it from being found
            temporary.unlink()
        raise InputError(f"cannot write {path}: {error.strerror}") from error
