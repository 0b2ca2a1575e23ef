"""Models without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsify.errors import InputError
from sparsify.export.structure import empty_model
from sparsify.pruning.shrink import shrink
from tests.helpers.models import tiny_classifier
from tests.helpers.units import kill, uneven


def test_a_config_is_enough(tmp_path: Path, make_tiny_bert: Any) -> None:
    real = make_tiny_bert()
    real.config.architectures = [type(real).__name__]
    real.config.save_pretrained(tmp_path)
    model = empty_model(tmp_path)
    assert {n: p.shape for n, p in model.named_parameters()} == {n: p.shape for n, p in real.named_parameters()}
    assert all(p.is_meta for p in model.parameters())


def test_recorded_widths_are_followed(tmp_path: Path) -> None:
    model = tiny_classifier("bert")
    kill(model, uneven)
    shrink(model)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)
    found = empty_model(tmp_path)
    assert {n: p.shape for n, p in found.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


def test_a_config_without_architecture_gives_the_bare_model(tmp_path: Path, make_tiny_bert: Any) -> None:
    config = make_tiny_bert().config.to_dict() | {"architectures": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert type(empty_model(tmp_path)).__name__ == "BertModel"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no config.json there"),
        ("{", "cannot read config.json"),
        ('{"model_type": "bert", "architectures": ["NoSuchModel"]}', "'NoSuchModel'"),
    ],
)
def test_what_is_no_model_folder_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=told):
        empty_model(tmp_path)
