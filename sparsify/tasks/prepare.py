"""From flags to all parts of a run: data, labels, model, tokenizer, Trainer."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, Trainer

from sparsify.errors import InputError
from sparsify.recipe.files import write_atomically
from sparsify.tasks import models
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.base import AnyTask, Job, Reading
from sparsify.tasks.best import BestAfter, KnownMetric
from sparsify.tasks.datasets import limited, load_splits
from sparsify.tasks.progress import ProgressLines
from sparsify.tasks.sampling import EpochOfData, set_samplers
from sparsify.tasks.tokenizers import check_vocabulary, load_tokenizer, sequence_limit


def prepare(task: AnyTask, args: Arguments[Any]) -> Job:
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
    labels = task.configure(splits, args.data, config)
    splits = limited(args, splits)
    given = bool({"max_seq_length", "max_length"} & args.explicit)
    limit = sequence_limit(config, tokenizer, args.data.max_seq_length, given=given)
    loaded = models.load(task.kind, name, config, labels, args.model)
    reading = Reading(task, args.data, splits, labels, tokenizer, config, limit)
    reading.encode(set(inspect.signature(loaded.model.forward).parameters))
    return Job(args, reading, loaded.model, loaded.recipe, loaded.left_out)


def _tokenizer(task: AnyTask, model: str, args: Arguments[Any]) -> Any:
    if not args.model.tokenizer_name:
        return load_tokenizer(model, args.model, words=task.words)
    flag = "--tokenizer_name"
    name = models.resolve(args.model.tokenizer_name, flag, needs_config=False)
    return load_tokenizer(name, args.model, flag, words=task.words)


def make_trainer(job: Job) -> Trainer:
    """A Hugging Face Trainer with the task's loss and metrics."""
    args, task, reading = job.args.training, job.task, job.reading
    padded = reading.max_length if job.args.data.pad_to_max_length else None
    early = job.args.recipe.best_model_after_epoch
    trainer = Trainer(
        model=job.model,
        args=args,
        train_dataset=task.training_set(reading, args.seed) if "train" in reading.encoded else None,
        eval_dataset=reading.encoded["validation"].features if "validation" in reading.encoded else None,
        processing_class=reading.tokenizer,
        data_collator=task.collator(reading.tokenizer, max_length=padded, multiple=8 if args.fp16 else None),
        compute_loss_func=task.loss(reading, args.label_smoothing_factor),
        compute_metrics=task.measure(reading, "validation") if "validation" in reading.encoded else None,
        preprocess_logits_for_metrics=task.for_metrics,
        callbacks=[KnownMetric(), *([] if early is None else [BestAfter(early)])],
    )
    if args.disable_tqdm:
        trainer.pop_callback(PrinterCallback)  # whole dictionaries, in place of the bar
        trainer.add_callback(ProgressLines())
    if hasattr(trainer.train_dataset, "set_epoch"):
        trainer.add_callback(EpochOfData(trainer.train_dataset))
    trainer.label_names = ["labels"]  # a question answering model has others, which only its own loss reads
    set_samplers(trainer)
    return trainer


def save_results(metrics: Mapping[str, Any], folder: Path) -> Path:
    """Write ``all_results.json``."""
    path = folder / "all_results.json"
    write_atomically(path, json.dumps(dict(metrics), indent=2, sort_keys=True) + "\n")
    return path
