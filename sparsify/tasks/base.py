"""What a training task is: the parts that differ from task to task, and what a run of any of them holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from torch import Tensor, nn

from sparsify.export import task as kinds
from sparsify.tasks.arguments import Arguments, DataT
from sparsify.tasks.readers import Table, read_table

if TYPE_CHECKING:
    from transformers import EvalPrediction

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
        interrupted: Whether Ctrl-C ended training early.
    """

    metrics: dict[str, float]
    output_dir: Path
    model: nn.Module
    interrupted: bool = False


@dataclass
class Job(Generic[DataT, ExamplesT, EncodedT]):
    """All parts of a run, ready to go.

    Attributes:
        splits: Examples of each split that was read: ``train``, ``validation``, ``test``, ...
        labels: Names of the classes, in the order of their ids; empty where the task has none.
        max_length: Sub-tokens of the longest input.
        encoded: Each split as the model reads it.
        own_recipe: The recipe that the model to start from was made by, where its structure was built again.
    """

    task: Task[DataT, ExamplesT, EncodedT]
    args: Arguments[DataT]
    splits: dict[str, ExamplesT]
    labels: list[str]
    tokenizer: Any
    model: nn.Module
    max_length: int
    encoded: dict[str, EncodedT] = field(default_factory=dict)
    own_recipe: Path | None = None


AnyJob = Job[Any, Any, Any]


class Task(ABC, Generic[DataT, ExamplesT, EncodedT]):
    """One kind of training: how data becomes model input, what the loss is, and how outputs are measured.

    Everything else (files and the Hub, models, recipes, teachers, checkpoints, what is written) is the same for all.

    Attributes:
        name: As on the command line, and as ``sparsify.export.task`` knows it.
        words: Whether its inputs are lists of words, to which sub-tokens must be matched.
        trains_unasked: Whether a command without ``--do_train`` and the like trains and evaluates.
    """

    name: ClassVar[str]
    words: ClassVar[bool] = False
    trains_unasked: ClassVar[bool] = False

    @property
    def kind(self) -> kinds.Task:
        """Its model classes and graph outputs."""
        return kinds.task_by_name(self.name)

    def check(self, args: Arguments[DataT]) -> None:
        """Refuse flags of the task that contradict each other.

        Raises:
            InputError: They do.
        """

    def read_file(self, path: str | Path, args: Arguments[DataT]) -> Table:
        """Rows of a data file."""
        return read_table(path)

    @abstractmethod
    def examples(self, table: Table, args: Arguments[DataT], *, labelled: bool) -> ExamplesT:
        """A split's rows as examples; labels may be missing unless ``labelled``.

        Raises:
            InputError: A column is missing, or a row cannot be understood (its place is named).
        """

    def configure(self, splits: dict[str, ExamplesT], args: Arguments[DataT], config: Any) -> list[str]:
        """Names of the classes over all splits; ``config`` gets what the head needs beside them.

        Args:
            splits: By name; labels are brought into one form in place.
            args: All flags.
            config: Configuration of the model to start from.

        Returns:
            In the order of their ids; empty where the task has no classes.
        """
        return []

    @abstractmethod
    def encode(self, examples: ExamplesT, job: Job[DataT, ExamplesT, EncodedT]) -> EncodedT:
        """Tokenize a split."""

    @abstractmethod
    def collator(self, tokenizer: Any, *, max_length: int | None = None, multiple: int | None = None) -> Any:
        """Makes a batch of features, padded to its longest, or to ``max_length``."""

    def loss(self, job: Job[DataT, ExamplesT, EncodedT]) -> Loss | None:
        """For the Trainer's ``compute_loss_func``: normalized over the whole optimizer step; None for the model's."""
        return None

    def for_metrics(self, logits: Any, labels: Any) -> Any:
        """What of a batch's outputs is kept for metrics; on the model's device."""
        return logits[0] if isinstance(logits, tuple) else logits

    def measure(self, job: Job[DataT, ExamplesT, EncodedT], split: str) -> Measure | None:
        """The metrics of ``split`` from the outputs kept; None where the loss is all there is."""
        return None

    @abstractmethod
    def write_predictions(
        self, job: Job[DataT, ExamplesT, EncodedT], split: str, outputs: Any, folder: Path
    ) -> list[Path]:
        """Write what the model says of ``split``, from the outputs that ``for_metrics`` kept; returns the files."""


AnyTask = Task[Any, Any, Any]


def only_read(features: Sequence[Mapping[str, Any]], accepted: set[str]) -> list[dict[str, Any]]:
    """Features without what the model does not read (tokenizers may give more: token types)."""
    return [{key: value for key, value in row.items() if key in accepted} for row in features]
