"""One entry: its recipes, its model, its deployment, as local paths that were checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sparsify.errors import ZooError
from sparsify.zoo import layout
from sparsify.zoo.archive import unpacked
from sparsify.zoo.convert import converted
from sparsify.zoo.manifest import FileRecord, Manifest
from sparsify.zoo.roots import Listing, Root
from sparsify.zoo.stub import Stub


@dataclass(frozen=True)
class Entry:
    """What a stub stands for, in the root where it was found.

    Attributes:
        stub: As it was asked for.
        root: Where it was found.
        listing: Its files there.
        cache: Folder for what is unpacked and converted.
        alias: Address or stub that stood in for it, if any.
    """

    stub: Stub
    root: Root = field(repr=False)
    listing: Listing
    cache: Path
    alias: str | None = None

    @property
    def manifest(self) -> Manifest | None:
        """Its manifest, None where it has none."""
        return self.listing.manifest

    @property
    def files(self) -> Mapping[str, FileRecord]:
        """Its files, the manifest left out."""
        return self.listing.files

    @property
    def recipes(self) -> list[str]:
        """Names of its recipe files."""
        return layout.recipes(self.files)

    @property
    def has_model(self) -> bool:
        """Whether there is a trained model in it, of the checkpoint that was asked for."""
        return self._model_prefix() is not None or self._in_archive(layout.TRAINING)

    @property
    def has_deployment(self) -> bool:
        """Whether there is a deployment in it."""
        return bool(self._in(layout.DEPLOYMENT)) or layout.DEPLOYMENT + layout.ARCHIVE in self.files

    def file(self, name: str) -> Path:
        """One file.

        Raises:
            ZooError: There is none of that name, or it is damaged.
        """
        if name not in self.files:
            raise ZooError(f"{self.stub.base} in {self.root.shown} has no {name[:80]!r}; in it: {self.contents()}")
        return self.root.local(self.listing, name)

    def recipe_name(self) -> str | None:
        """Name of the recipe file that the stub asks for, None if it is not there."""
        return layout.choose_recipe(self.files, self.stub.recipe)

    def recipe(self) -> Path:
        """The recipe that the stub asks for.

        Raises:
            ZooError: There is none of that name, or several could be meant; names those there are.
        """
        name = self.recipe_name()
        if name is None:
            asked = f"recipe_{self.stub.recipe}.yaml" if self.stub.recipe else "recipe.yaml"
            there = ", ".join(self.recipes) or "no recipe"
            how = " (?recipe=NAME chooses)" if self.recipes else ""
            raise ZooError(f"{self.stub.base} in {self.root.shown} has no {asked}; in it: {there}{how}")
        return self.file(name)

    def training(self) -> Path:
        """Folder of the trained model, weights as safetensors.

        Raises:
            ZooError: There is none, a file is damaged, or old weights hold more than tensors.
        """
        prefix = self._model_prefix()
        if prefix is None:
            return self._from_archive(layout.TRAINING, "training/ with a model")
        names = layout.below(self.files, prefix)
        paths = [self.root.local(self.listing, name) for name in names]
        return converted(self.root.folder(self.listing, prefix.rstrip("/")), paths, self.cache)

    def deployment(self) -> Path:
        """Folder of what it takes to run the model.

        Raises:
            ZooError: There is none, or a file is damaged.
        """
        names = self._in(layout.DEPLOYMENT)
        if not names:
            return self._from_archive(layout.DEPLOYMENT, "deployment/")
        for name in names:
            self.root.local(self.listing, name)
        return self.root.folder(self.listing, layout.DEPLOYMENT)

    def all(self) -> dict[str, Path]:
        """Every file, fetched and checked, by its name."""
        return {name: self.root.local(self.listing, name) for name in sorted(self.files)}

    def contents(self) -> str:
        """What is in it, in a few words."""
        tops = sorted({name.split("/", 1)[0] + ("/" if "/" in name else "") for name in self.files})
        return ", ".join(tops[:10]) + (", ..." if len(tops) > 10 else "") or "nothing"

    def _in(self, folder: str) -> list[str]:
        return layout.below(self.files, f"{folder}/")

    def _model_prefix(self) -> str | None:
        return layout.training_folder(self.files, self.stub.checkpoint)

    def _in_archive(self, name: str) -> bool:
        whole = name != layout.TRAINING or self.stub.checkpoint in (None, "preqat")
        return whole and name + layout.ARCHIVE in self.files

    def _from_archive(self, name: str, what: str) -> Path:
        if not self._in_archive(name):
            asked = f" for the checkpoint {self.stub.checkpoint}" if self.stub.checkpoint else ""
            raise ZooError(f"{self.stub.base} in {self.root.shown} has no {what}{asked}; in it: {self.contents()}")
        folder = unpacked(self.root.local(self.listing, name + layout.ARCHIVE), name, self.cache)
        return converted(folder, [path for path in folder.rglob("*") if path.is_file()], self.cache)
