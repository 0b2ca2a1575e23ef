"""From flags to all parts of a run: data, labels, model, tokenizer, Trainer."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer

from sparsify.errors import InputError
from sparsify.tasks import models
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.base import AnyJob, AnyTask, Job, only_read
from sparsify.tasks.best import BestAfter
from sparsify.tasks.datasets import limited, load_splits
from sparsify.tasks.sampling import set_samplers
from sparsify.tasks.tokenizers import check_vocabulary, load_tokenizer, sequence_limit


def prepare(task: AnyTask, args: Arguments[Any]) -> AnyJob:
    """Read data, find labels, load model and tokenizer, tokenize.

    Raises:
        InputError: Anything about data or model that cannot be used.
    """
    if not args.model.model_name_or_path:
        raise InputError("--model_name_or_path says which model to start from (a folder, a zoo: stub or a Hub id)")
    splits = load_splits(task, args)
    name = models.resolve(args.model.model_name_or_path, "--model_name_or_path")
    config_from = models.resolve(args.model.config_name, "--config_name") if args.model.config_name else name
    config = models.load_config(config_from, args.model)
    tokenizer = _tokenizer(task, name, args)
    check_vocabulary(tokenizer, config)
    labels = task.configure(splits, args, config)
    splits = limited(args, splits)
    limit = sequence_limit(config, tokenizer, args.data.max_seq_length)
    loaded = models.load(task.kind, name, config, labels, args.model)
    job = Job(task, args, splits, labels, tokenizer, loaded.model, limit, own_recipe=loaded.recipe)
    accepted = set(inspect.signature(loaded.model.forward).parameters)
    for split, found in splits.items():
        encoded = task.encode(found, job)
        encoded.features = only_read(encoded.features, accepted)
        job.encoded[split] = encoded
    return job


def _tokenizer(task: AnyTask, model: str, args: Arguments[Any]) -> Any:
    if not args.model.tokenizer_name:
        return load_tokenizer(model, args.model, words=task.words)
    flag = "--tokenizer_name"
    name = models.resolve(args.model.tokenizer_name, flag, needs_config=False)
    return load_tokenizer(name, args.model, flag, words=task.words)


def make_trainer(job: AnyJob) -> Trainer:
    """A Hugging Face Trainer with the task's loss and metrics."""
    args, task = job.args.training, job.task
    padded = job.max_length if job.args.data.pad_to_max_length else None
    early = job.args.recipe.best_model_after_epoch
    trainer = Trainer(
        model=job.model,
        args=args,
        train_dataset=_features(job, "train"),
        eval_dataset=_features(job, "validation"),
        processing_class=job.tokenizer,
        data_collator=task.collator(job.tokenizer, max_length=padded, multiple=8 if args.fp16 else None),
        compute_loss_func=task.loss(job),
        compute_metrics=task.measure(job, "validation"),
        preprocess_logits_for_metrics=task.for_metrics,
        callbacks=None if early is None else [BestAfter(early)],
    )
    set_samplers(trainer)
    return trainer


def _features(job: AnyJob, split: str) -> Any:
    return job.encoded[split].features if split in job.encoded else None


def save_results(metrics: Mapping[str, Any], folder: Path) -> Path:
    """Write ``all_results.json``."""
    path = folder / "all_results.json"
    path.write_text(json.dumps(dict(metrics), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path
