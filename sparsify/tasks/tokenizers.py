"""Fast tokenizers that take words."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from sparsify.errors import InputError
from sparsify.export.task import max_length
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.models import hub_options, told

logger = logging.getLogger(__name__)


def load_tokenizer(name: str, args: ModelArguments, flag: str = "--model_name_or_path", *, words: bool = False) -> Any:
    """A fast tokenizer.

    Args:
        name: A resolved model.
        args: Hub options.
        flag: The flag that named it, for messages.
        words: Whether it will be given sentences split into words.

    Raises:
        InputError: There is none, it is a slow one, or it knows no words.
    """
    from transformers import AutoTokenizer

    with told(name, flag):
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_options(name, args))
    if not tokenizer.is_fast:
        raise InputError(
            f"{flag} {name}: only a slow tokenizer ({type(tokenizer).__name__}); what stands where in a text, and a"
            " deployment, need a fast one: give --tokenizer_name a tokenizer with a tokenizer.json"
        )
    # transformers makes an empty tokenizer of the right class where the files are missing
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        where = "the folder has no tokenizer files" if Path(name).is_dir() else "its tokenizer knows no words"
        raise InputError(f"{flag} {name}: {where}: give --tokenizer_name")
    if words:
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


def sequence_limit(config: Any, tokenizer: Any, asked: int | None, *, given: bool = True) -> int:
    """Longest input in sub-tokens: what was asked for, within what model and tokenizer take.

    Args:
        config: The model's configuration.
        tokenizer: Its tokenizer.
        asked: ``--max_seq_length``.
        given: Whether the user asked for it, who is then told where it is too long.

    Raises:
        InputError: What was asked for is too short to hold a word.
    """
    limit = max_length(config, tokenizer)
    if asked is None:
        return limit
    if asked < 3:
        raise InputError(f"--max_seq_length {asked} leaves no room for words; the model takes up to {limit}")
    if asked > limit and given:
        logger.warning("--max_seq_length %d is more than the model takes: %d is used", asked, limit)
    return min(asked, limit)


def use_threads(count: int | None) -> None:
    """Let tokenizers use so many threads; takes effect before the first batch of a process."""
    if count:
        os.environ.setdefault("RAYON_NUM_THREADS", str(count))


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
