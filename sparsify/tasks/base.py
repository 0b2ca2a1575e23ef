"""What a training task is: the parts that differ from task to task, and what a run of any of them holds."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from torch import Tensor, nn

from sparsify.export import task as kinds
from sparsify.recipe.files import write_atomically
from sparsify.tasks.arguments import Arguments, DataT
from sparsify.tasks.readers import Table, read_table

if TYPE_CHECKING:
    from transformers import EvalPrediction

    from sparsify.tasks.loading import Compared

Loss = Callable[..., Tensor]
Measure = Callable[["EvalPrediction"], dict[str, float]]


class Examples(Protocol):
    """One split, as the task understands it."""

    origin: str

    def __len__(self) -> int: ...

    def first(self, count: int | None) -> Self:
        """Only the first ``count`` examples (all if None)."""
        ...


@dataclass
class Encoded:
    """A split as the model reads it; tasks add what they need to read its outputs.

    Attributes:
        features: One dict per model input: ``input_ids``, ``attention_mask``, ..., ``labels``.
    """

    features: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.features)


ExamplesT = TypeVar("ExamplesT", bound=Examples)
EncodedT = TypeVar("EncodedT", bound=Encoded)


@dataclass
class Result:
    """What a run of a training command came to.

    Attributes:
        metrics: ``eval_f1``, ``predict_f1``, ``train_runtime``, ...
        output_dir: Where the files are.
        model: The model as saved.
        interrupted: Whether Ctrl-C or SIGTERM ended training early.
        terminated: Whether it was SIGTERM.
        measured_by: What gave the outputs that the metrics are of.
        compared: What ``--verify_loading`` looked at.
    """

    metrics: dict[str, float]
    output_dir: Path
    model: nn.Module
    interrupted: bool = False
    terminated: bool = False
    measured_by: str = "torch"
    compared: list[Compared] = field(default_factory=list)


@dataclass
class Reading(Generic[DataT, ExamplesT, EncodedT]):
    """Data as a model reads it, and what it takes to make sense of the model's outputs.

    Attributes:
        data: The task's flags.
        splits: Examples of each split that was read: ``train``, ``validation``, ``test``, ...
        labels: Names of the classes, in the order of their ids; empty where the task has none.
        config: The model's configuration.
        max_length: Sub-tokens of the longest input.
        encoded: Each split as the model reads it.
    """

    task: Task[DataT, ExamplesT, EncodedT]
    data: DataT
    splits: dict[str, ExamplesT]
    labels: list[str]
    tokenizer: Any
    config: Any
    max_length: int
    encoded: dict[str, EncodedT] = field(default_factory=dict)

    def encode(self, accepted: set[str]) -> None:
        """Fill ``encoded``, without what the model does not accept (tokenizers may give more: token types).

        ``labels`` stay, since losses are the tasks' own.
        """
        accepted = {*accepted, "labels"}
        for split, found in self.splits.items():
            encoded = self.task.encode(found, self)
            encoded.features = [{k: v for k, v in row.items() if k in accepted} for row in encoded.features]
            self.encoded[split] = encoded


AnyReading = Reading[Any, Any, Any]


@dataclass
class Job:
    """All parts of a run, ready to go.

    Attributes:
        own_recipe: The recipe that the model to start from was made by.
        left_out: Types of that recipe's modifiers of which the model has nothing.
    """

    args: Arguments[Any]
    reading: AnyReading
    model: nn.Module
    own_recipe: Path | None = None
    left_out: tuple[str, ...] = ()

    @property
    def task(self) -> AnyTask:
        """What is trained."""
        return self.reading.task


class Task(ABC, Generic[DataT, ExamplesT, EncodedT]):
    """One kind of training: how data becomes model input, what the loss is, and how outputs are measured.

    Everything else (files and the Hub, models, recipes, teachers, checkpoints, what is written) is the same for all.

    Attributes:
        name: As on the command line, and as ``sparsify.export.task`` knows it.
        words: Whether its inputs are lists of words, to which sub-tokens must be matched.
        trains_unasked: Whether a command without ``--do_train`` and the like trains and evaluates.
        writes_validation: Whether predictions for validation data are written too.
    """

    name: ClassVar[str]
    words: ClassVar[bool] = False
    trains_unasked: ClassVar[bool] = False
    writes_validation: ClassVar[bool] = False

    @property
    def kind(self) -> kinds.Task:
        """Its model classes and graph outputs."""
        return kinds.task_by_name(self.name)

    def known(self, config: Any) -> dict[str, Any]:
        """Data flags that a trained model's configuration answers, for who measures it later."""
        return {}

    def check(self, data: DataT) -> None:
        """Refuse flags of the task that contradict each other.

        Raises:
            InputError: They do.
        """

    def read_file(self, path: str | Path, data: DataT) -> Table:
        """Rows of a data file."""
        return read_table(path)

    @abstractmethod
    def examples(self, table: Table, data: DataT, *, labelled: bool) -> ExamplesT:
        """A split's rows as examples; labels may be missing unless ``labelled``.

        Raises:
            InputError: A column is missing, or a row cannot be understood (its place is named).
        """

    def arrange(self, tables: dict[str, Table], data: DataT) -> dict[str, Table]:
        """Splits made of others, where flags ask for it."""
        return tables

    def configure(self, splits: dict[str, ExamplesT], data: DataT, config: Any) -> list[str]:
        """Names of the classes over all splits; ``config`` gets what the head needs beside them.

        Args:
            splits: By name; labels are brought into one form in place.
            data: The task's flags.
            config: Configuration of the model to start from.

        Returns:
            In the order of their ids; empty where the task has no classes.
        """
        return []

    @abstractmethod
    def encode(self, examples: ExamplesT, reading: Reading[DataT, ExamplesT, EncodedT]) -> EncodedT:
        """Tokenize a split."""

    def training_set(self, reading: Reading[DataT, ExamplesT, EncodedT], seed: int) -> Any:
        """What the Trainer trains on: the features, or a data set of them that changes with the epoch.

        Args:
            reading: Holds the split ``train``.
            seed: Of what is random in it.
        """
        return reading.encoded["train"].features

    @abstractmethod
    def collator(self, tokenizer: Any, *, max_length: int | None = None, multiple: int | None = None) -> Any:
        """Makes a batch of features, padded to its longest, or to ``max_length``."""

    def loss(self, reading: Reading[DataT, ExamplesT, EncodedT], label_smoothing: float) -> Loss | None:
        """For the Trainer's ``compute_loss_func``: normalized over the whole optimizer step; None for the model's."""
        return None

    def for_metrics(self, logits: Any, labels: Any) -> Any:
        """What of a batch's outputs is kept for metrics; on the model's device."""
        return logits[0] if isinstance(logits, tuple) else logits

    def measure(self, reading: Reading[DataT, ExamplesT, EncodedT], split: str) -> Measure | None:
        """The metrics of ``split`` from the outputs kept; None where the loss is all there is."""
        return None

    @abstractmethod
    def write_predictions(
        self, reading: Reading[DataT, ExamplesT, EncodedT], split: str, outputs: Any, folder: Path
    ) -> list[Path]:
        """Write what the model says of ``split``, from the outputs that ``for_metrics`` kept; returns the files."""


AnyTask = Task[Any, Any, Any]


def write_prediction_files(folder: Path, split: str, text: str, rows: Iterable[Mapping[str, object]]) -> list[Path]:
    """Write ``predictions.txt`` and ``predictions.jsonl``; ``predictions_mm...`` for a further test split.

    Args:
        folder: Where to.
        split: Name of the split that was predicted.
        text: The content of the first file.
        rows: The lines of the second one.
    """
    name = split.replace("test", "predictions")
    written = {
        folder / f"{name}.txt": text,
        folder / f"{name}.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
    }
    for path, content in written.items():
        write_atomically(path, content)
    return list(written)
