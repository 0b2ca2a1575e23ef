"""What is known of an entry: by its manifest, or by its files where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sparsify.errors import SparsifyError
from sparsify.recipe.recipe import Recipe
from sparsify.zoo.entry import Entry
from sparsify.zoo.manifest import FileRecord, Metric, record
from sparsify.zoo.roots import FolderRoot


def measured(entry: Entry) -> list[Metric] | None:
    """What was measured on an entry; None where nothing was.

    Without a manifest it is the ``metrics`` of the recipe that the stub asks for.
    """
    if entry.manifest is not None:
        return entry.manifest.metrics
    if entry.recipe_name() is None:
        return None
    try:
        recipe = Recipe.load(entry.recipe())
    except SparsifyError:  # what is wrong with a recipe is for sparsify-recipe validate to say
        return None
    found = recipe.variables.get("metrics")
    try:
        return [Metric.model_validate(one) for one in found] if isinstance(found, list) and found else None
    except ValidationError:  # a variable of that name that holds something else
        return None


def file_records(entry: Entry) -> Mapping[str, FileRecord]:
    """Size and sha256 of each file; of a folder without manifest its files are read."""
    if entry.manifest is not None or not isinstance(entry.root, FolderRoot):
        return entry.files
    return {name: record(entry.file(name)) for name in entry.files}


def facts(entry: Entry) -> dict[str, Any]:
    """What is known of an entry without manifest, for JSON."""
    metrics = measured(entry)
    return {
        "stub": entry.stub.base,
        "root": entry.root.shown,
        "taken_from": entry.alias,
        "recipes": entry.recipes,
        "manifest": None,
        "metrics": None if metrics is None else [metric.model_dump(exclude_none=True) for metric in metrics],
        "files": {
            name: file.model_dump(include={"sha256", "size"}) for name, file in sorted(file_records(entry).items())
        },
    }
