"""What the names in an entry mean."""

from __future__ import annotations

import pytest

from sparsify.zoo.layout import below, choose_recipe, is_entry, recipes, training_folder


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (["recipe.yaml", "recipe.md"], None, "recipe.yaml"),
        (["recipe.md", "recipe_transfer.md"], None, "recipe.md"),
        (["recipe_original.md", "recipe_transfer.md"], None, "recipe_original.md"),
        (["recipe_transfer.md"], None, "recipe_transfer.md"),
        (["recipe_a.md", "recipe_b.md"], None, None),
        (["recipe_a.md", "recipe_b.md"], "b", "recipe_b.md"),
        (["recipe_transfer_learn.md", "recipe_original.md"], "transfer", "recipe_transfer_learn.md"),
        (["recipe_transfer-a.md", "recipe_transfer-b.md"], "transfer", None),
        (["recipe_transfer.md", "recipe_transfer-b.md"], "transfer", "recipe_transfer.md"),
        (["recipe.yaml"], "transfer", None),
        (["training/recipe.yaml", "recipes.yaml", "recipe.py"], None, None),
        ([], None, None),
    ],
)
def test_the_recipe_that_is_meant(names: list[str], wanted: str | None, found: str | None) -> None:
    assert choose_recipe(names, wanted) == found


def test_recipes() -> None:
    assert recipes(["recipe_b.md", "recipe.yaml", "model.md", "x/recipe.yaml"]) == ["recipe.yaml", "recipe_b.md"]


@pytest.mark.parametrize(
    ("names", "checkpoint", "found"),
    [
        (["training/config.json"], None, "training/"),
        (["config.json", "model.safetensors"], None, ""),
        (["recipe.yaml"], None, None),
        (["training/config.json"], "preqat", "training/"),
        (["training/config.json"], "postqat", None),
        (["training/config.json", "training/postqat/config.json"], "postqat", "training/postqat/"),
        (["preqat/config.json", "training/config.json"], "preqat", "preqat/"),
    ],
)
def test_the_model_that_is_meant(names: list[str], checkpoint: str | None, found: str | None) -> None:
    assert training_folder(names, checkpoint) == found


def test_of_a_bare_model_folder_only_the_model_is_taken() -> None:
    names = [
        "config.json",
        "vocab.txt",
        "pytorch_model.bin",
        "optimizer.pt",
        "flax_model.msgpack",
        "run.py",
        "logs/x.txt",
    ]
    assert below(names, "") == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert below(["training/a", "trainingx/b"], "training/") == ["training/a"]


def test_what_makes_an_entry() -> None:
    assert is_entry(["recipe_a.md"])
    assert is_entry(["deployment.tar.gz"])
    assert is_entry(["training/x"])
    assert not is_entry(["README.md", "src/x.py"])
