"""The task's metrics for anything that gives logits: a deployed ONNX file above all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsify.errors import InputError
from sparsify.export.session import fixed_shape, metadata, open_session
from sparsify.export.task import max_length as model_limit
from sparsify.tasks import models
from sparsify.tasks.arguments import ModelArguments
from sparsify.tasks.labels import label_list
from sparsify.tasks.readers import read_table
from sparsify.tasks.token_classification.columns import sentences
from sparsify.tasks.token_classification.encode import collator, encode
from sparsify.tasks.token_classification.metrics import decode, entity_metrics
from sparsify.tasks.token_classification.tags import TAGS
from sparsify.tasks.tokenizers import load_tokenizer

Array = np.ndarray[Any, Any]
Predict = Callable[[dict[str, Array]], Array]


def evaluate_onnx(
    deployment: str | Path,
    data_file: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    max_length: int | None = None,
    batch_size: int = 8,
    threads: int = 0,
    per_entity: bool = False,
) -> dict[str, float]:
    """Entity-level metrics of a deployment folder's ONNX file on labelled data.

    Args:
        deployment: Folder with ``model.onnx``, ``config.json`` and the tokenizer.
        data_file: Labelled data in any format of ``read_table``.
        text_column: Column of words; found as in training if None.
        label_column: Column of tags; found as in training if None.
        max_length: Sub-tokens kept of each sentence; what the model takes if None. Give training's to compare.
        batch_size: Sentences at a time, where the file's batch is not fixed.
        threads: Threads of ONNX Runtime; 0 leaves it to it.
        per_entity: Also the metrics of each entity type.

    Raises:
        InputError: The folder or the data cannot be used.
    """
    folder = Path(deployment)
    session = open_session(folder / "model.onnx", threads=threads)
    name, own = models.resolve(str(folder), "deployment"), ModelArguments()
    config, tokenizer = models.load_config(name, own), load_tokenizer(name, own, words=True)
    batch, length = fixed_shape(session)
    limit = min(filter(None, (model_limit(config, tokenizer), length, max_length)))
    labels = json.loads(metadata(session).get("labels", "null")) or models.config_labels(config)
    wanted = {entry.name for entry in session.get_inputs()}

    def predict(inputs: dict[str, Array]) -> Array:
        rows = len(inputs["input_ids"])
        given = {key: _filled(value, batch) for key, value in inputs.items() if key in wanted}
        return np.asarray(session.run(["logits"], given)[0])[:rows]

    return evaluate_logits(
        predict,
        data_file,
        tokenizer,
        labels,
        text_column=text_column,
        label_column=label_column,
        max_length=limit,
        pad_to=length,
        batch_size=batch or batch_size,
        per_entity=per_entity,
    )


def evaluate_logits(
    predict: Predict,
    data_file: str | Path,
    tokenizer: Any,
    labels: Sequence[str] | Mapping[int, str],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    max_length: int,
    pad_to: int | None = None,
    batch_size: int = 8,
    per_entity: bool = False,
) -> dict[str, float]:
    """Entity-level metrics of any function from padded inputs (int64 [batch, length]) to logits [batch, length, C].

    Raises:
        InputError: The data cannot be used, or has tags that the model does not know.
    """
    names = list(labels.values()) if isinstance(labels, Mapping) else list(labels)
    table = read_table(data_file, text_column=text_column or "tokens", label_column=label_column or "ner_tags")
    split = sentences(table, text=text_column, label=label_column)
    if unknown := sorted(set(label_list({"data": split}, TAGS, model_labels=names)) - set(names)):
        raise InputError(f"{data_file}: tags that the model does not know: {', '.join(unknown)}")
    features = encode(split, tokenizer, names, max_length=max_length).features
    predicted: list[Sequence[str]] = []
    true: list[Sequence[str]] = []
    for start in range(0, len(features), batch_size):
        inputs = _padded(features[start : start + batch_size], tokenizer, pad_to)
        found = decode(predict({k: v for k, v in inputs.items() if k != "labels"}), inputs["labels"], names)
        predicted += found[0]
        true += found[1]
    return entity_metrics(predicted, true, per_entity=per_entity)


def _padded(features: Sequence[dict[str, list[int]]], tokenizer: Any, pad_to: int | None) -> dict[str, Array]:
    batch = collator(tokenizer, max_length=pad_to)([dict(f) for f in features])
    return {key: value.numpy().astype(np.int64) for key, value in batch.items()}


def _filled(value: Array, batch: int | None) -> Array:
    """Rows repeated up to the batch that the graph was exported for."""
    missing = (batch or 0) - len(value)
    return value if missing <= 0 else np.concatenate([value, np.repeat(value[-1:], missing, axis=0)])
