"""Runs in an environment with sparsezoo 1.8.1: opens an entry of ours, and downloads one from a stand-in of its service.

Usage: python in_sparsezoo.py ENTRY_FOLDER STUB DOWNLOAD_FOLDER (SPARSEZOO_API_URL: the service; SPARSEZOO_MODELS_PATH: its cache)
"""

import json
import os
import sys

from sparsezoo import Model


def names(directory):
    return sorted(file.name for file in directory.files)


entry, stub, target = sys.argv[1:]
ours = Model(entry)
said = {
    "recipe": ours.recipes.default.path,
    "recipes": [recipe.name for recipe in ours.recipes.recipes],
    "training": names(ours.training),
    "training_path": ours.training.path,
    "deployment": names(ours.deployment),
    "deployment_path": ours.deployment.path,
    "model_card": ours.model_card.path,
}
flat = Model(stub, download_path=target)
asked = [flat.recipes.default.path, flat.training.path, flat.deployment.path]  # as SparseML did
cached = Model(stub)
cached.download()
cache = os.environ["SPARSEZOO_MODELS_PATH"]
for name, folder in (("flat", target), ("cached", cache)):
    found = (os.path.join(top, file) for top, _, files in os.walk(folder) for file in files)
    said[name] = sorted(os.path.relpath(path, folder) for path in found)
print(json.dumps(said))
