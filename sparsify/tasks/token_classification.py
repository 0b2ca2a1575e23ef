"""Token classification: from flags to a trained, measured and saved model."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from transformers import Trainer

from sparsify.errors import InputError
from sparsify.tasks import models
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.best import BestAfter
from sparsify.tasks.columns import Sentences
from sparsify.tasks.datasets import limited, load_sentences
from sparsify.tasks.encode import Encoded, collator, encode, sequence_limit
from sparsify.tasks.labels import label_list
from sparsify.tasks.loss import token_loss
from sparsify.tasks.metrics import decode, entity_metrics
from sparsify.tasks.sampling import set_samplers
from sparsify.tasks.tokenizers import check_vocabulary, load_tokenizer

if TYPE_CHECKING:
    from transformers import EvalPrediction

logger = logging.getLogger(__name__)


@dataclass
class Result:
    """What a run of a training command came to.

    Attributes:
        metrics: ``eval_f1``, ``predict_f1``, ``train_runtime``, ...
        output_dir: Where the files are.
        model: The model as saved.
        interrupted: Whether Ctrl-C ended training early.
    """

    metrics: dict[str, float]
    output_dir: Path
    model: nn.Module
    interrupted: bool = False


@dataclass
class Job:
    """All parts of a run, ready to go.

    Attributes:
        own_recipe: The recipe that the model to start from was made by, where its structure was built again.
        max_length: Sub-tokens of the longest input.
    """

    args: Arguments
    splits: dict[str, Sentences]
    labels: list[str]
    tokenizer: Any
    model: nn.Module
    max_length: int
    encoded: dict[str, Encoded] = field(default_factory=dict)
    own_recipe: Path | None = None


def prepare(args: Arguments) -> Job:
    """Read data, find labels, load model and tokenizer, tokenize.

    Raises:
        InputError: Anything about data or model that cannot be used.
    """
    if not args.model.model_name_or_path:
        raise InputError("--model_name_or_path says which model to start from (a folder, a zoo: stub or a Hub id)")
    splits = load_sentences(args)
    name = models.resolve(args.model.model_name_or_path, "--model_name_or_path")
    config_from = models.resolve(args.model.config_name, "--config_name") if args.model.config_name else name
    tokenizer_from, tokenizer_flag = name, "--model_name_or_path"
    if args.model.tokenizer_name:
        tokenizer_flag = "--tokenizer_name"
        tokenizer_from = models.resolve(args.model.tokenizer_name, tokenizer_flag, needs_config=False)
    config = models.load_config(config_from, args.model)
    tokenizer = load_tokenizer(tokenizer_from, args.model, tokenizer_flag)
    check_vocabulary(tokenizer, config)
    labels = label_list(splits, model_labels=models.config_labels(config), given=args.data.class_names)
    splits = limited(args, splits)
    limit = sequence_limit(config, tokenizer, args.data.max_seq_length)
    loaded = models.load_token_classifier(name, config, labels, args.model)
    job = Job(args, splits, labels, tokenizer, loaded.model, limit, own_recipe=loaded.recipe)
    job.encoded = {split: _encode(job, found) for split, found in splits.items()}
    return job


def _encode(job: Job, split: Sentences) -> Encoded:
    data = job.args.data
    encoded = encode(
        split,
        job.tokenizer,
        job.labels,
        max_length=job.max_length,
        all_tokens=data.label_all_tokens,
        workers=data.preprocessing_num_workers,
    )
    read = set(inspect.signature(job.model.forward).parameters)  # tokenizers may give more (token types)
    encoded.features = [{k: v for k, v in row.items() if k in read} for row in encoded.features]
    return encoded


def make_trainer(job: Job) -> Trainer:
    """A Hugging Face Trainer with this task's loss and metrics."""
    args, data = job.args.training, job.args.data
    padded = job.max_length if data.pad_to_max_length else None
    early = job.args.recipe.best_model_after_epoch
    trainer = Trainer(
        model=job.model,
        args=args,
        train_dataset=_features(job, "train"),
        eval_dataset=_features(job, "validation"),
        processing_class=job.tokenizer,
        data_collator=collator(job.tokenizer, max_length=padded, multiple=8 if args.fp16 else None),
        compute_loss_func=token_loss(args.label_smoothing_factor),
        compute_metrics=_measure(job),
        preprocess_logits_for_metrics=_argmax,
        callbacks=None if early is None else [BestAfter(early)],
    )
    set_samplers(trainer)
    return trainer


def _features(job: Job, split: str) -> Any:
    return job.encoded[split].features if split in job.encoded else None


def _argmax(logits: Any, labels: Any) -> Any:
    logits = logits[0] if isinstance(logits, tuple) else logits
    return logits.argmax(-1)


def _measure(job: Job) -> Any:
    def measure(given: EvalPrediction) -> dict[str, float]:
        predicted, true = decode(np.asarray(given.predictions), np.asarray(given.label_ids), job.labels)
        return entity_metrics(predicted, true, per_entity=job.args.data.return_entity_level_metrics)

    return measure


def write_predictions(job: Job, ids: np.ndarray[Any, Any], folder: Path) -> list[Path]:
    """Write predicted tags: ``predictions.txt`` (a line of tags per sentence), ``predictions.jsonl`` (with words)."""
    rows = []
    for words, first, row in zip(job.splits["test"].words, job.encoded["test"].first_tokens, ids, strict=True):
        tags = [job.labels[row[position]] if position >= 0 else "O" for position in first]
        rows.append({"tokens": words, "predicted": tags})
    text, lines = folder / "predictions.txt", folder / "predictions.jsonl"
    text.write_text("".join(" ".join(row["predicted"]) + "\n" for row in rows), encoding="utf-8")
    lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return [text, lines]


def save_results(metrics: Mapping[str, Any], folder: Path) -> Path:
    """Write ``all_results.json``."""
    path = folder / "all_results.json"
    path.write_text(json.dumps(dict(metrics), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path
