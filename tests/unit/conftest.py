"""A token classifier small enough to be exported in a test, as a folder with tokenizer, and as a deployment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

LABELS = ("O", "B-person", "I-person", "B-place", "I-place")
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] ada lovelace met charles babbage in london paris . , river ##s a b c d e f g h"


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A WordPiece tokenizer with a vocabulary of a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(WORDS.split())}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=32,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in special.items()},
    )


@pytest.fixture(scope="session")
def make_tiny_bert() -> Callable[..., Any]:
    """Make a tiny BERT of any head, with weights large enough that its logits differ from token to token."""

    def make(head: str = "TokenClassification", seed: int = 0, **config: Any) -> Any:
        import transformers

        settings = {
            "vocab_size": len(WORDS.split()),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 32,
            "id2label": dict(enumerate(LABELS)),
            "label2id": {label: i for i, label in enumerate(LABELS)},
            "initializer_range": 0.2,
        }
        torch.manual_seed(seed)
        return getattr(transformers, f"BertFor{head}")(transformers.BertConfig(**settings | config)).eval()

    return make


@pytest.fixture(scope="session")
def tiny_ner_dir(
    tmp_path_factory: pytest.TempPathFactory, make_tiny_bert: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """A model folder; half of one layer's weights are zero."""
    folder = tmp_path_factory.mktemp("models") / "ner"
    model = make_tiny_bert()
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.weight[::2] = 0
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_deployment(tiny_ner_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder's export, verified."""
    from sparsify.export.deployment import export_onnx

    target = tmp_path_factory.mktemp("deployments") / "deployment"
    return export_onnx(tiny_ner_dir, target).deployment


@pytest.fixture(scope="session")
def tiny_text_dir(
    tmp_path_factory: pytest.TempPathFactory, make_tiny_bert: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """A text classifier's folder."""
    folder = tmp_path_factory.mktemp("models") / "text"
    names = {"id2label": {0: "no", 1: "yes", 2: "maybe"}, "label2id": {"no": 0, "yes": 1, "maybe": 2}}
    make_tiny_bert("SequenceClassification", problem_type="single_label_classification", **names).save_pretrained(
        folder
    )
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_text_deployment(tiny_text_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, verified."""
    from sparsify.export.deployment import export_onnx

    target = tmp_path_factory.mktemp("deployments") / "text"
    return export_onnx(tiny_text_dir, target).deployment


@pytest.fixture(scope="session")
def tiny_qa_dir(
    tmp_path_factory: pytest.TempPathFactory, make_tiny_bert: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """A model that answers questions, or says that there is no answer, of at most four tokens."""
    folder = tmp_path_factory.mktemp("models") / "qa"
    rules = {"version_2_with_negative": True, "null_score_diff_threshold": -1.5, "max_answer_length": 4}
    names = {"id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    make_tiny_bert("QuestionAnswering", question_answering=rules, **names).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_qa_deployment(tiny_qa_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, verified."""
    from sparsify.export.deployment import export_onnx

    target = tmp_path_factory.mktemp("deployments") / "qa"
    return export_onnx(tiny_qa_dir, target).deployment


@pytest.fixture
def ner_copy(tiny_ner_dir: Path, tiny_deployment: Path, tmp_path: Path) -> Path:
    """A model folder of the test's own, with a deployment inside."""
    folder = tmp_path / "ner"
    shutil.copytree(tiny_ner_dir, folder)
    shutil.copytree(tiny_deployment, folder / "deployment")
    return folder


@pytest.fixture(scope="session")
def tiny_int8_model(make_tiny_bert: Callable[..., Any]) -> Any:
    """The tiny token classifier, quantized and calibrated."""
    from sparsify.quantization.calibrate import calibrate
    from sparsify.quantization.insert import insert_quantizers

    model = make_tiny_bert()
    insert_quantizers(model)
    torch.manual_seed(0)
    calibrate(model, [{"input_ids": torch.randint(5, len(WORDS.split()), (8, 20))} for _ in range(10)])
    return model


@pytest.fixture(scope="session")
def tiny_int8_deployment(tiny_int8_model: Any, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export, verified."""
    from sparsify.export.deployment import export_onnx

    target = tmp_path_factory.mktemp("deployments") / "int8"
    export_onnx(tiny_int8_model, target, tokenizer=tiny_tokenizer, recipe="modifiers: []\n")
    return target
