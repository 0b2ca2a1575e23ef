"""``Model``, for code written for SparseZoo: the same names, answered from plain files.

from sparsify.zoo import Model
zoo_model = Model(stub, download_path="./transfer_recipe")
recipe_path = zoo_model.recipes.default.path
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from sparsify.errors import ZooError
from sparsify.zoo import cache, layout
from sparsify.zoo.entry import Entry
from sparsify.zoo.names import expanded, inside
from sparsify.zoo.registry import entry_in, resolve
from sparsify.zoo.stub import is_stub


class File:
    """A file or folder of an entry; asking for its ``path`` fetches it."""

    def __init__(self, name: str, fetch: Callable[[], Path]) -> None:
        self.name = name
        self._fetch = fetch

    @property
    def path(self) -> str:
        """Local path.

        Raises:
            ZooError: It cannot be fetched, or is damaged.
        """
        return str(self._fetch())

    @property
    def default(self) -> File:
        """The folder itself (SparseZoo's folders had a default)."""
        return self

    def __repr__(self) -> str:
        return f"File({self.name!r})"


class Recipes:
    """The recipes of an entry."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def recipes(self) -> list[File]:
        """All of them."""
        return [self._model.file(name) for name in self._model.entry.recipes]

    @property
    def available(self) -> list[str]:
        """Their file names."""
        return self._model.entry.recipes

    @property
    def default(self) -> File:
        """The one that the stub asks for.

        Raises:
            ZooError: There is none of that name.
        """
        return self._model.file(self._model.entry.recipe_name() or self._model.entry.recipe().name)

    def get_recipe_by_name(self, recipe_name: str) -> File | None:
        """The recipe with this file name, None if there is none."""
        return self._model.file(recipe_name) if recipe_name in self.available else None


class Model:
    """An entry, as SparseZoo's class of that name gave it.

    Args:
        source: A stub, or a local folder laid out as an entry.
        download_path: Folder that files are copied to when their path is asked for; without it they are used where
            they are.

    Raises:
        ZooError: The stub leads nowhere, or the folder is no entry.
    """

    def __init__(self, source: str | os.PathLike[str], download_path: str | os.PathLike[str] | None = None) -> None:
        self.source = os.fspath(source)
        entry = resolve(self.source) if is_stub(self.source) else entry_in(expanded(self.source))
        if entry is None:
            raise ZooError(f"{self.source}: neither a stub (zoo:...) nor a folder with a recipe or a model")
        self.entry: Entry = entry
        self._target = expanded(download_path) if download_path is not None else None

    @property
    def recipes(self) -> Recipes:
        """Its recipes."""
        return Recipes(self)

    @property
    def training(self) -> File | None:
        """Its trained model, None if there is none."""
        return (
            File(layout.TRAINING, lambda: self._placed(layout.TRAINING, self.entry.training()))
            if self.entry.has_model
            else None
        )

    @property
    def deployment(self) -> File | None:
        """What it takes to run it, None if there is none."""
        if not self.entry.has_deployment:
            return None
        return File(layout.DEPLOYMENT, lambda: self._placed(layout.DEPLOYMENT, self.entry.deployment()))

    @property
    def onnx_model(self) -> File | None:
        """Its ONNX file, None if there is none."""
        name = next((n for n in ("model.onnx", f"{layout.DEPLOYMENT}/model.onnx") if n in self.entry.files), None)
        return self.file(name) if name else None

    @property
    def model_card(self) -> File | None:
        """Its ``model.md``, None if there is none."""
        return self.file("model.md") if "model.md" in self.entry.files else None

    @property
    def path(self) -> str:
        """Folder of all its files, which are fetched."""
        return str(self.download())

    def file(self, name: str) -> File:
        """One of its files."""
        return File(name, lambda: self._placed(name, self.entry.file(name)))

    def download(self) -> Path:
        """Fetch all files, and return the folder they are in.

        Raises:
            ZooError: One cannot be fetched, or is damaged.
        """
        for name, path in self.entry.all().items():
            self._placed(name, path)
        return self._target or self.entry.root.folder(self.entry.listing, "")

    def _placed(self, name: str, path: Path) -> Path:
        return path if self._target is None else copied(path, self._target / name)


def copied(source: Path, target: Path) -> Path:
    """Copy a file or folder, each file whole or not at all; what lies there else stays.

    Of a folder, links to folders are left out.

    Raises:
        ZooError: The target cannot be written, or a link leads out of the folder.
    """
    with cache.told(target):
        if not source.is_dir():
            return _copied_file(source, target)
        target.mkdir(parents=True, exist_ok=True)
        for name in list(_below(source)):  # listed first: the target may lie inside
            _copied_file(inside(source, name), target / name)
    return target


def _below(folder: Path) -> Iterator[PurePosixPath]:
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            yield PurePosixPath((Path(top) / name).relative_to(folder).as_posix())


def _copied_file(source: Path, target: Path) -> Path:
    with cache.told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".copying-")
        os.close(descriptor)
        try:
            shutil.copyfile(source, name)
            os.chmod(name, 0o666 & ~cache.umask())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return target
