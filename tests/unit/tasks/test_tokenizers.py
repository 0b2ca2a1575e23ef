from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as kinds

from sparsify.errors import InputError
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.tokenizers import check_vocabulary, load_tokenizer, sequence_limit
from tests.helpers import ner

ARGS = ModelArguments()


@pytest.mark.parametrize("nested", [False, True])
def test_a_byte_level_tokenizer_keeps_words_apart(tmp_path: Path, nested: bool) -> None:
    from transformers import PreTrainedTokenizerFast

    vocab = {token: i for i, token in enumerate(["<pad>", "<unk>", "Ġ", "a", "b", "Ġa", "Ġb"])}
    backend = Tokenizer(kinds.BPE(vocab, [("Ġ", "a"), ("Ġ", "b")], unk_token="<unk>"))
    level: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([level]) if nested else level
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>").save_pretrained(tmp_path)
    ner.model(ner.LABELS).config.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), ARGS, words=True)
    again = tmp_path / "again"
    tokenizer.save_pretrained(again)
    for one in (tokenizer, load_tokenizer(str(again), ARGS)):
        encoded = one([["a", "b"]], is_split_into_words=True)
        assert one.convert_ids_to_tokens(encoded["input_ids"][0]) == ["Ġa", "Ġb"]


def test_a_roberta_tokenizer_takes_words(tmp_path: Path) -> None:
    import transformers

    listed = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", "a", "b", "Ġa", "Ġb"]
    vocab = {token: i for i, token in enumerate(listed)}
    transformers.RobertaTokenizer(vocab=vocab, merges=[("Ġ", "a"), ("Ġ", "b")]).save_pretrained(tmp_path)
    transformers.RobertaConfig(vocab_size=len(vocab)).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), ARGS, words=True)
    encoded = tokenizer([["a", "b"]], is_split_into_words=True)
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]) == ["<s>", "Ġa", "Ġb", "</s>"]
    assert encoded.word_ids(0) == [None, 0, 1, None]


def test_running_text_is_left_to_the_tokenizer(tmp_path: Path) -> None:
    import transformers

    listed = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", "a", "b", "Ġa", "Ġb"]
    vocab = {token: i for i, token in enumerate(listed)}
    transformers.RobertaTokenizer(vocab=vocab, merges=[("Ġ", "a"), ("Ġ", "b")]).save_pretrained(tmp_path)
    transformers.RobertaConfig(vocab_size=len(vocab)).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), ARGS)
    assert tokenizer.convert_ids_to_tokens(tokenizer("a b")["input_ids"]) == ["<s>", "a", "Ġb", "</s>"]


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    ner.model(ner.LABELS).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no tokenizer files: give --tokenizer_name"):
        load_tokenizer(str(tmp_path), ARGS)


def test_another_models_tokenizer_is_told() -> None:
    tokenizer, config = ner.tokenizer(), ner.model(ner.LABELS).config
    check_vocabulary(tokenizer, config)
    config.vocab_size -= 1
    with pytest.raises(InputError, match=f"knows {len(tokenizer)} tokens and the model has embeddings"):
        check_vocabulary(tokenizer, config)


def test_the_limit_is_what_model_and_tokenizer_take(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = ner.tokenizer()
    config = ner.model().config
    assert sequence_limit(config, tokenizer, None) == 24
    assert sequence_limit(config, tokenizer, 10) == 10
    assert sequence_limit(config, tokenizer, 99) == 24
    assert "more than the model takes: 24 is used" in caplog.text
    with pytest.raises(InputError, match="leaves no room"):
        sequence_limit(config, tokenizer, 2)
