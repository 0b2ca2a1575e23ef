"""How many tokens a model takes, by its table of positions and its tokenizer. No torch, no transformers: a deployment is read without them."""

from __future__ import annotations

# Position 0 of these models is padding_idx + 1, so that many rows of the table are never used.
_OFFSET = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
_PADDING = 1  # padding_idx of these families, where a config leaves it out
_USUAL = 512
_UNBOUNDED = 1_000_000  # tokenizers without a limit state a number beyond all bounds


def longest_input(model_type: object, positions: object, padding: object, model_max_length: object) -> int:
    """Longest input in tokens, special ones included: what model and tokenizer take; 512 where the config states none.

    Args:
        model_type: See ``usable_positions``; ``positions`` and ``padding`` too.
        positions: See there.
        padding: See there.
        model_max_length: Of the tokenizer.
    """
    limit = usable_positions(model_type, positions, padding) or _USUAL
    return min(limit, stated_length(model_max_length) or limit)


def usable_positions(model_type: object, positions: object, padding: object) -> int | None:
    """Longest input by ``max_position_embeddings``; None where the config states none.

    Args:
        model_type: Of the config.
        positions: Its ``max_position_embeddings``: rows of the table.
        padding: Its ``pad_token_id``.
    """
    if not isinstance(positions, int) or isinstance(positions, bool) or positions <= 0:
        return None
    if model_type not in _OFFSET:
        return positions
    index = padding if isinstance(padding, int) and padding >= 0 else _PADDING
    return positions - index - 1 if positions > index + 1 else positions


def stated_length(model_max_length: object) -> int | None:
    """A tokenizer's ``model_max_length``; None where it is no bound that a model can have."""
    if isinstance(model_max_length, float) and model_max_length.is_integer():
        model_max_length = int(model_max_length)  # JSON may have it as 512.0, and the unbounded one as 1e30
    if not isinstance(model_max_length, int) or isinstance(model_max_length, bool):
        return None
    return model_max_length if 0 < model_max_length < _UNBOUNDED else None
