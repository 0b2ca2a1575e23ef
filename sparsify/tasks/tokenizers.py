"""Fast tokenizers that take words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparsify.errors import InputError
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.models import hub_options, told


def load_tokenizer(name: str, args: ModelArguments, flag: str = "--model_name_or_path") -> Any:
    """A fast tokenizer that takes sentences split into words.

    Args:
        name: A resolved model.
        args: Hub options.
        flag: The flag that named it, for messages.

    Raises:
        InputError: There is none, it is a slow one, or it knows no words.
    """
    from transformers import AutoTokenizer

    with told(name, flag):
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(name, args))
    if not tokenizer.is_fast:
        raise InputError(
            f"{flag} {name}: only a slow tokenizer ({type(tokenizer).__name__}); sub-tokens are matched to words by fast"
            " ones: give --tokenizer_name a tokenizer with a tokenizer.json"
        )
    # transformers makes an empty tokenizer of the right class where the files are missing
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        where = "the folder has no tokenizer files" if Path(name).is_dir() else "its tokenizer knows no words"
        raise InputError(f"{flag} {name}: {where}: give --tokenizer_name")
    split_words_apart(tokenizer)
    return tokenizer


def check_vocabulary(tokenizer: Any, config: Any) -> None:
    """Refuse a tokenizer that makes ids which the model has no embedding for.

    Raises:
        InputError: It does.
    """
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and len(tokenizer) > size:
        raise InputError(
            f"the tokenizer knows {len(tokenizer)} tokens and the model has embeddings for {size} only: is it another"
            " model's? --tokenizer_name names the right one"
        )


def split_words_apart(tokenizer: Any) -> None:
    """Make a byte-level tokenizer put a space before each word it is given, as it saw them when it was trained.

    Without it the words of a list run together. It is changed in place, and saved so with the model.
    """
    from tokenizers import Tokenizer

    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    if not _set_prefix(backend.get("pre_tokenizer")):
        return
    tokenizer.backend_tokenizer.pre_tokenizer = Tokenizer.from_str(json.dumps(backend)).pre_tokenizer
    tokenizer.add_prefix_space = True
    tokenizer.init_kwargs["add_prefix_space"] = True


def _set_prefix(part: Any) -> bool:
    """Set it in every byte-level part; whether any lacked it."""
    if not isinstance(part, dict):
        return False
    lacked = part.get("type") == "ByteLevel" and not part.get("add_prefix_space")
    if lacked:
        part["add_prefix_space"] = True
    return any([lacked, *(_set_prefix(inner) for inner in part.get("pretokenizers") or ())])
