"""A task's metrics for anything that gives its outputs: a deployed ONNX file above all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.distillation.teacher import NOT_FOR_TEACHERS
from sparsify.errors import InputError
from sparsify.export.session import fixed_shape, metadata, open_session
from sparsify.tasks import models
from sparsify.tasks.arguments import DataArguments, ModelArguments
from sparsify.tasks.base import AnyReading, AnyTask, Examples, Reading
from sparsify.tasks.catalog import data_arguments, get_task
from sparsify.tasks.labels import generic
from sparsify.tasks.split import ANY, Shape, answers, prediction
from sparsify.tasks.tokenizers import load_tokenizer, sequence_limit

if TYPE_CHECKING:
    from sparsify.export.deployment import Evaluate, Outputs, Shapes
    from sparsify.export.source import Source

_BATCH = 16


@dataclass(frozen=True)
class Deployed:
    """Something that does a task, ready to be measured.

    Attributes:
        run: From graph inputs (int64 [batch, length]) to the task's outputs, in their order.
        inputs: Names of the graph inputs.
        config: The model's configuration.
        tokenizer: Its tokenizer.
        shape: Batch and length that it is fixed to, None where any will do.
    """

    run: Outputs
    inputs: Sequence[str]
    config: Any
    tokenizer: Any
    shape: Shape = ANY


def evaluate_onnx(
    deployment: str | Path, data_file: str | Path, *, batch_size: int = _BATCH, threads: int = 0, **flags: Any
) -> dict[str, float]:
    """The task's metrics of a deployment folder's ONNX file on labelled data.

    Args:
        deployment: Folder with ``model.onnx``, ``config.json`` and the tokenizer.
        data_file: Labelled data in any format that training reads.
        batch_size: Examples at a time, where the file's batch is not fixed.
        threads: Threads of ONNX Runtime; 0 leaves it to it.
        **flags: Data flags of the task's training command: ``label_column_name``, ``max_seq_length``, ...

    Raises:
        InputError: The folder or the data cannot be used.
    """
    folder = Path(deployment)
    session = open_session(folder / "model.onnx", threads=threads)
    task = get_task(metadata(session).get("task", ""))
    name, own = models.resolve(str(folder), "deployment"), ModelArguments()
    config, tokenizer = models.load_config(name, own), load_tokenizer(name, own, words=task.words)
    inputs = [entry.name for entry in session.get_inputs()]
    outputs = list(task.kind.outputs)
    deployed = Deployed(lambda given: session.run(outputs, given), inputs, config, tokenizer, fixed_shape(session))
    return evaluate(task, data_arguments(task.name)(validation_file=str(data_file), **flags), deployed, batch_size)


def evaluation(
    task_name: str,
    data_file: str | Path,
    *,
    shapes: Shapes = "dynamic",
    model: str | Path | None = None,
    **flags: Any,
) -> Evaluate:
    """What ``export_onnx(evaluate=...)`` takes: the metrics of a task on one labelled file.

    Args:
        task_name: The task.
        data_file: Labelled data in any format that training reads.
        shapes: Those of the export.
        model: Its folder, whose configuration says how some data is read.
        **flags: Data flags of the task's training command.

    Raises:
        InputError: The file cannot be read, here and not after the export.
    """
    task = get_task(task_name)
    data = data_arguments(task_name)(validation_file=str(data_file), **flags)
    known = {} if model is None else task.known(models.load_config(str(model), ModelArguments(), "--model_path"))
    _examples(task, replace(data, **known))
    shape = ANY if shapes == "dynamic" else shapes

    def measured(source: Source, outputs: Outputs) -> dict[str, float]:
        if source.tokenizer is None:
            raise InputError("--eval needs the model's tokenizer, and its folder has none.")
        return evaluate(task, data, Deployed(outputs, source.inputs, source.config, source.tokenizer, shape))

    return measured


def evaluate(task: AnyTask, data: DataArguments, model: Deployed, batch_size: int = _BATCH) -> dict[str, float]:
    """The task's metrics on ``data.validation_file``.

    Raises:
        InputError: The data cannot be used, or has classes that the model does not know.
    """
    reading = _read(task, replace(data, **task.known(model.config)), model)
    found = [
        (a.kept, a.labels) for a in answers(reading, "validation", model.run, model.inputs, batch_size, model.shape)
    ]
    measure = task.measure(reading, "validation")
    return {} if measure is None else measure(prediction(*zip(*found, strict=True)))


def _examples(task: AnyTask, data: DataArguments) -> Examples:
    examples: Examples = task.examples(task.read_file(data.validation_file or "", data), data, labelled=True)
    return examples


def _read(task: AnyTask, data: DataArguments, model: Deployed) -> AnyReading:
    splits = {"validation": _examples(task, data)}
    known = models.config_labels(model.config)
    labels = task.configure(splits, data, model.config)
    if strange := sorted(set(labels) - set(known)) if not generic(known) else labels[len(known) :]:
        raise InputError(f"{data.validation_file}: classes that the model does not know: {', '.join(strange)}")
    limit = sequence_limit(model.config, model.tokenizer, data.max_seq_length, given=False)
    limit = min(limit, model.shape[1] or limit)
    reading = Reading(task, data, splits, labels, model.tokenizer, model.config, limit)
    reading.encode({*model.inputs, *NOT_FOR_TEACHERS})
    return reading
