"""SparseZoo's cache: which folder stands for which stub."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from sparsify.zoo.sparsezoo import SparseZooCache, card_stub

FIELDS = {"domain": "nlp", "sub_domain": "ner", "architecture": "obert", "sub_architecture": "base", "framework": "pytorch",
          "repo": "huggingface"}  # fmt: skip


def card(folder: Path, fields: dict[str, object], line: str = "---", end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = [line, *(f"{name}: {value}" for name, value in fields.items()), line, "# Card", ""]
    (folder / "model.md").write_bytes(end.join(text).encode())
    return folder / "model.md"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"dataset": "conll2003", "sparse_tag": "pruned90-none"}, "conll2003/pruned90-none"),
        (
            {"train_dataset": "squad", "training_scheme": "v2", "optim_name": "base", "optim_category": "none"},
            "squad-v2/base-none",
        ),
        (
            {"dataset": "d", "sparse_name": "12layer", "sparse_category": "pruned", "sparse_target": 90},
            "d/12layer-pruned-90",
        ),
    ],
)
def test_what_a_card_spells_out(fields: dict[str, object], path: str, tmp_path: Path) -> None:
    stub = card_stub(card(tmp_path, {**FIELDS, **fields}))
    assert stub is not None
    assert str(stub.path) == f"nlp/ner/obert-base/pytorch/huggingface/{path}"


@pytest.mark.parametrize(("line", "end"), [("---", "\r\n"), ("+++", "\n"), ("---  ", "\n")])
def test_cards_of_other_editors(line: str, end: str, tmp_path: Path) -> None:
    assert card_stub(card(tmp_path, {**FIELDS, "dataset": "d", "sparse_tag": "t"}, line, end)) is not None


@pytest.mark.parametrize(
    "fields",
    [{"dataset": "../../etc", "sparse_tag": "x"}, {"dataset": "[1, 2]", "sparse_tag": "x"}, {"dataset": "d"}, {}],
)
def test_a_card_that_names_no_stub(fields: dict[str, object], tmp_path: Path) -> None:
    assert card_stub(card(tmp_path, {**FIELDS, **fields})) is None


def test_no_card_and_one_that_never_ends(tmp_path: Path) -> None:
    assert card_stub(tmp_path / "model.md") is None
    (tmp_path / "model.md").write_text("---" + "\n" * 200_000)  # squared, this would be minutes
    assert card_stub(tmp_path / "model.md") is None


def test_a_folder_is_found_by_name_card_and_path(tmp_path: Path) -> None:
    named, told = tmp_path / "space" / "opt-1.3b-c4-pruned50", tmp_path / "0a1b"
    for folder in (named, told):
        folder.mkdir(parents=True)
        (folder / "recipe.md").write_text("---\nmodifiers: []\n---\n")
    card(told, {**FIELDS, "dataset": "d", "sparse_tag": "t"})
    (tmp_path / "mine-is-not").mkdir()  # a short stub's name, but with nothing of an entry in it
    root = SparseZooCache(tmp_path)
    found = root.entry(PurePosixPath("opt-1.3b-c4-pruned50"))
    assert found is not None
    assert found.path == PurePosixPath("space/opt-1.3b-c4-pruned50")
    by_card = root.entry(PurePosixPath("nlp/ner/obert-base/pytorch/huggingface/d/t"))
    assert by_card is not None
    assert root.local(by_card, "recipe.md") == told / "recipe.md"
    assert {"zoo:opt-1.3b-c4-pruned50", "zoo:nlp/ner/obert-base/pytorch/huggingface/d/t"} <= set(root.stubs())
    assert root.entry(PurePosixPath("opt-c4-other")) is None


def test_links_to_folders_are_not_searched(tmp_path: Path) -> None:
    card(tmp_path / "outside", {**FIELDS, "dataset": "d", "sparse_tag": "t"})
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "linked").symlink_to(tmp_path / "outside")
    assert SparseZooCache(tmp_path / "old").stubs() == []
    assert SparseZooCache(tmp_path / "gone").stubs() == []
