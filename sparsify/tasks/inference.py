"""``--inference_with_ort``: evaluation and prediction by ONNX Runtime, on the model as it would be deployed."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sparsify.errors import ExportError, InputError
from sparsify.export.bound import bound, choose_provider
from sparsify.export.deployment import MODEL_FILE, export_onnx
from sparsify.export.session import open_session
from sparsify.tasks.split import answers, prediction
from sparsify.wrappers import unwrap

if TYPE_CHECKING:
    from transformers import EvalPrediction

    from sparsify.export.deployment import Outputs
    from sparsify.tasks.base import Job

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """A job's model in ONNX Runtime.

    Attributes:
        run: From graph inputs to the task's outputs.
        inputs: Names of the graph inputs.
        provider: The execution provider.
    """

    run: Outputs
    inputs: list[str]
    provider: str

    @property
    def name(self) -> str:
        """What measured, for people."""
        return f"ONNX Runtime ({self.provider})"


@dataclass
class Measured:
    """A split as ONNX Runtime sees it."""

    prediction: EvalPrediction
    metrics: dict[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def runtime(job: Job, recipe: str | None) -> Iterator[Runtime | None]:
    """The job's model, exported and loaded; None, with a warning, where that cannot be done.

    Args:
        job: Its model is not changed.
        recipe: Text of the recipe that made the model.

    Raises:
        InputError: ``--ort_provider`` names one that ONNX Runtime does not have.
    """
    provider = choose_provider(job.args.training.device.type, job.args.recipe.ort_provider)
    with tempfile.TemporaryDirectory(prefix="sparsify-") as folder:
        try:
            target = Path(folder) / "deployment"
            tokenizer = job.reading.tokenizer
            export_onnx(unwrap(job.model), target, tokenizer=tokenizer, recipe=recipe, verify=False)
            session = open_session(target / MODEL_FILE, provider=provider)
        except (ExportError, InputError, ImportError) as error:
            logger.warning("--inference_with_ort: evaluating in torch, since the model cannot be exported: %s", error)
            yield None
            return
        inputs = [entry.name for entry in session.get_inputs()]
        yield Runtime(bound(session, job.task.kind.outputs), inputs, session.get_providers()[0])


def measured(job: Job, split: str, model: Runtime, prefix: str) -> Measured:
    """What ``trainer.evaluate`` gives, by ONNX Runtime: metrics, loss (a mean over batches), speed.

    Args:
        job: Holds the split.
        split: Its name.
        model: The model.
        prefix: Of the metrics' names.
    """
    reading, size = job.reading, job.args.training.per_device_eval_batch_size
    begun = time.perf_counter()
    kept, labels, losses, rows = [], [], [], 0
    loss = job.task.loss(reading, job.args.training.label_smoothing_factor)
    for one in answers(reading, split, model.run, model.inputs, size):
        kept.append(one.kept)
        labels.append(one.labels)
        rows += one.rows
        if loss is not None and one.labels is not None:
            tensors = [torch.from_numpy(value) for value in one.outputs]
            named = dict(zip(job.task.kind.outputs, tensors, strict=True))
            losses.append(float(loss(named, torch.from_numpy(one.labels))) * one.rows)
    took = time.perf_counter() - begun
    found = Measured(prediction(kept, labels))
    measure = job.task.measure(reading, split)
    known = found.prediction.label_ids is not None
    values: dict[str, Any] = {"loss": sum(losses) / rows} if losses else {}
    values |= measure(found.prediction) if measure is not None and known else {}
    values |= {"runtime": took, "samples_per_second": rows / took}
    found.metrics = {f"{prefix}_{name}": value for name, value in values.items()}
    return found
