"""Longest inputs, against models that really read them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf

from sparsify.export.positions import stated_length, usable_positions

ROWS = 20
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": ROWS,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": {},
    "Electra": {"embedding_size": 16},
    "Roberta": {},
    "XLMRoberta": {},
    "XLMRobertaXL": {},
    "Camembert": {},
    "RobertaPreLayerNorm": {},
    "Data2VecText": {},
    "MPNet": {},
    "Longformer": {"attention_window": [4]},
    "IBert": {},
    "Xmod": {"default_language": "en_XX"},
    "Luke": {"entity_vocab_size": 3},
    "Esm": {"pad_token_id": 1, "mask_token_id": 2, "position_embedding_type": "absolute"},
}


def longest(family: str, more: dict[str, Any]) -> tuple[Any, int]:
    """A config, and how many tokens its model takes."""
    config = getattr(hf, f"{family}Config")(**{**SIZES, **more})
    model = getattr(hf, f"{family}Model")(config).eval()
    takes = 0
    for length in range(ROWS - 5, ROWS + 1):
        ids = torch.full((1, length), 7)
        try:
            with torch.no_grad():
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (IndexError, RuntimeError):
            break
        takes = length
    return config, takes


@pytest.mark.parametrize(
    ("family", "padding"),
    [*((family, {}) for family in FAMILIES), ("Roberta", {"pad_token_id": 0}), ("Luke", {"pad_token_id": 3})],
)
def test_it_is_what_the_model_takes(family: str, padding: dict[str, int]) -> None:
    config, takes = longest(family, {**FAMILIES[family], **padding})
    found = usable_positions(config.model_type, config.max_position_embeddings, config.pad_token_id)
    assert found == takes


def test_a_config_that_leaves_padding_out_means_its_familys() -> None:
    assert usable_positions("roberta", 514, None) == 512
    assert usable_positions("bert", 512, None) == 512
    assert usable_positions(None, 512, 0) == 512


@pytest.mark.parametrize("positions", [None, 0, -1, "512", True, 1.5])
def test_what_states_nothing(positions: object) -> None:
    assert usable_positions("roberta", positions, 1) is None


@pytest.mark.parametrize(
    ("stated", "length"),
    [(512, 512), (512.0, 512), (int(1e30), None), (1e30, None), (0, None), (-1, None), ("512", None), (True, None)],
)
def test_a_tokenizers_word(stated: object, length: int | None) -> None:
    assert stated_length(stated) == length
