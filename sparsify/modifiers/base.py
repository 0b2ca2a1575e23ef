"""The modifier: one entry of a recipe. It says when; pure functions elsewhere say what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from torch import Tensor, nn

from sparsify.clock import Clock, update_steps
from sparsify.errors import Problem, RecipeError
from sparsify.pruning.shrink import Shrinkage
from sparsify.select import select_parameters

_WORDS = dict.fromkeys(("yes", "on", "true", "y"), "true") | dict.fromkeys(("no", "off", "false", "n"), "false")


def boolean(value: object) -> object:
    """``True`` or ``False`` of a boolean, 0 or 1; any other value as it is.

    Raises:
        ValueError: A word that YAML once read as a boolean, or ``true`` in quotes; it says what to write.
    """
    if isinstance(value, str) and (meant := _WORDS.get(value.strip().lower())):
        raise ValueError(f"write {meant}, without quotes: other words such as yes, no, on and off are text")
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else value


_SLACK = 1e-6  # epochs: the clock starts a phase this early rather than a step late


def reached(epoch: float, time: float) -> bool:
    """Whether ``time`` has come at ``epoch``, rounding aside: 0.3 is reached at step 3 of 10, also as 0.1 + 0.2."""
    return epoch >= time - _SLACK


Flag = Annotated[bool, BeforeValidator(boolean)]
"""A boolean that recipes may also write as 0 or 1."""


class Run(Protocol):
    """What a modifier sees of the training that it is attached to."""

    model: nn.Module
    """The model, unwrapped (no DDP, no compile wrapper)."""
    optimizer: torch.optim.Optimizer
    """The real torch optimizer (not Accelerate's wrapper)."""
    clock: Clock
    teacher: nn.Module | None
    """The distillation teacher, or None."""
    loss_items: int | Tensor | None
    """How many labelled items the trainer divides the whole step's loss by; None: each micro-batch takes its own mean."""
    loss_scale: float
    """What the trainer multiplies such a loss by (the number of ranks), else 1."""

    @property
    def grad_scale(self) -> float:
        """What a gradient scaler has multiplied the gradients by that ``on_gradients`` sees."""

    def resized(self, change: Shrinkage) -> None:
        """Tell every modifier that parts of the model were removed."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Times of a modifier that depend on the run.

    Attributes:
        names: The fields that hold them.
        resolve: From when the stage begins, how long it is, how long the run is from there (all in epochs), and the
            steps per epoch, to a modifier whose fields are epochs.
    """

    names: frozenset[str]
    resolve: Callable[[float, float, float, int], Modifier]


class Modifier(BaseModel):
    """Base of all modifiers: validated fields, and one method per event of a training run.

    Epochs are counted from the start of the modifier's stage; ``start_epoch`` below 0 means at once, ``end_epoch``
    below 0 means never. ``update_frequency`` is in epochs, 0 or below means each optimizer step. A recipe may also
    write any of these times as ``20%`` of the run or as ``500 steps``: such a modifier is settled, its fields turned
    into epochs, when the run's length and its steps per epoch are known, and validated again then.

    Events, in the order in which a run meets them::

        on_structure(model)            once, before optimizer, weights and wrappers: modules are inserted here
        on_replay(model, state)        on a resume, before the weights: changes of structure made in mid-run are redone
        on_attach(run)                 once, when training begins: parameters are resolved here
        for each optimizer step:
            on_start(run)              on the first step at or after start_epoch
            on_update(run)             at the start, every update_frequency, and at the end
            on_loss(run, ...)          for each micro-batch, while active
            on_gradients(run)          gradients ready, before optimizer.step, while active; with early_gradients
                                       also before the start
            on_step(run)               after optimizer.step, from the start on, also after the end
            on_end(run)                on the first step at or after end_epoch, or after the run's last step
                                       (at that step it is updated and ended before others start)
        on_resize(run, change)         whenever another modifier has removed parts of the model
        on_detach(run)                 once: hooks removed, model left clean

    Modifiers of lower ``order`` go first in each event, wherever they stand in the file.
    """

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=False, allow_inf_nan=False)

    order: ClassVar[int] = 50
    kind: ClassVar[str] = "training"
    """One of training, learning_rate, pruning, structure, quantization, distillation."""
    structural: ClassVar[bool] = False
    """Whether on_structure changes the model, so that load_model must replay it."""
    early_gradients: ClassVar[bool] = False
    """Whether on_gradients is also called before the start: scores that need steps to form."""
    epoch_fields: ClassVar[tuple[str, ...]] = ("start_epoch", "end_epoch")
    """Fields that hold a point in time, for the run's length and for stages."""
    paper: ClassVar[str] = ""
    """Where the method comes from: authors, year, title, address."""
    example: ClassVar[Mapping[str, Any]] = {}
    """Fields shown in its documentation beyond those that it needs, or with better values for these."""
    one_shot: ClassVar[bool] = False
    """Whether it also acts where a recipe is applied without training (as pruning and quantization do)."""
    available: ClassVar[bool] = True
    """Whether its behaviour is built; where not, it validates and shows in plans, and a run refuses it."""
    instead: ClassVar[str | None] = None
    """What to use in place of one that is not available yet."""
    more_epochs: ClassVar[tuple[str, ...]] = ()
    """Further points in time inside other fields, as in ``lr_kwargs.milestones``."""
    spans: ClassVar[tuple[str, ...]] = ("update_frequency",)
    """Fields that hold a length of time, written as ``more_epochs`` are."""

    start_epoch: float = Field(-1.0, description="epoch at which it begins; -1: at once")
    end_epoch: float = Field(-1.0, description="epoch at which it ends; -1: never")
    update_frequency: float = Field(-1.0, description="epochs between updates; -1: each optimizer step")

    _key: str = PrivateAttr(default="")
    _offset: float = PrivateAttr(default=0.0)
    _begin: float = PrivateAttr(default=0.0)
    _length: float | None = PrivateAttr(default=None)
    _training: tuple[float, float] = PrivateAttr(default=(0.0, -1.0))
    _unsettled: Unsettled | None = PrivateAttr(default=None)
    _place: Problem | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _times_in_order(self) -> Modifier:
        if self.start_epoch < 0 and self.start_epoch != -1:
            raise ValueError(f"start_epoch must be -1 (at once) or at least 0, got {self.start_epoch:g}")
        if self.end_epoch < 0 and self.end_epoch != -1:
            raise ValueError(f"end_epoch must be -1 (never) or at least 0, got {self.end_epoch:g}")
        if 0 <= self.end_epoch < self.start_epoch:
            raise ValueError(f"end_epoch {self.end_epoch:g} is before start_epoch {self.start_epoch:g}")
        return self

    @property
    def key(self) -> str:
        """Where this modifier stands in its recipe: ``stage/Class/k``, k counted per class."""
        return self._key

    @property
    def path(self) -> str:
        """Where it stands in the recipe's text, as in ``pruning_modifiers[0]``; its key where there is no text."""
        return (self._place and self._place.path) or self._key

    @property
    def title(self) -> str:
        """Its class and where it stands in the recipe's text, for messages; its key where there is no text."""
        path = self._place and self._place.path
        return f"{type(self).__name__} ({path})" if path else self._key

    def place(self, key: str, offset: float, begin: float = 0.0, length: float | None = None) -> None:
        """Say where the modifier stands.

        Args:
            key: See ``key``.
            offset: Epoch of the run at which its times are counted from.
            begin: When its stage begins, so counted.
            length: Epochs of its stage; None: to the end of the run.
        """
        self._key, self._offset, self._begin, self._length = key, offset, begin, length

    def place_training(self, begin: float, end: float) -> None:
        """Say in which of several trainings the modifier stands; what never ends does not outlast it.

        Args:
            begin: Epoch of the run at which that training begins.
            end: Where the next one begins; -1: it is the last.
        """
        self._training = (begin, end)

    @property
    def before_training(self) -> bool:
        """Whether it begins with its training, not in the middle of it."""
        return self.start <= self._training[0]

    def leave_unsettled(self, unsettled: Unsettled) -> None:
        """Say that some times depend on the run; until ``settle`` the fields hold a guess."""
        self._unsettled = unsettled

    @property
    def settled(self) -> bool:
        """Whether all times are known without the run's length and steps per epoch."""
        return self._unsettled is None

    def settle(self, clock: Clock) -> None:
        """Turn times that depend on the run into epochs; may be called again, for another run.

        Raises:
            RecipeError: They do not go together, or lie after the run's end; placed where they are written.
        """
        if self._unsettled is None:
            return
        left = clock.epoch_of(clock.total_steps) - self._offset - self._begin
        length = left if self._length is None else self._length
        fresh = self._unsettled.resolve(self._begin, length, left, clock.steps_per_epoch)
        self.__dict__.update(fresh.__dict__)

    def written_at(self, place: Problem) -> None:
        """Remember where in the recipe's text the modifier stands (file, line, column, path)."""
        self._place = place

    def located(self, error: RecipeError) -> RecipeError:
        """``error`` with this modifier's place in the recipe for each problem that has none."""
        return RecipeError([p if p.line is not None else self.problem(p.message, p.hint) for p in error.problems])

    def problem(self, message: str, hint: str | None = None) -> Problem:
        """A problem placed where this modifier stands."""
        here = self._place or Problem("")
        return Problem(message, here.file, here.line, here.column, here.path, hint)

    @property
    def start(self) -> float:
        """First epoch of the run in which it is active (0 for at once)."""
        return self._offset + (self.start_epoch if self.start_epoch >= 0 else self._begin)

    @property
    def end(self) -> float:
        """Epoch of the run at which it ends; -1 for never."""
        return self._training[1] if self.end_epoch < 0 else self._offset + self.end_epoch

    def last_epoch(self) -> float:
        """Latest epoch of the run that any of its time fields names (0 if none): the run must last so long.

        Times that depend on the run do not count.
        """
        return max((self._offset + time for time in self.points()), default=0.0)

    def points(self) -> list[float]:
        """The points in time that its fields name, as they are written; without those that depend on the run."""
        unsettled = () if self._unsettled is None else self._unsettled.names
        times = [getattr(self, name) for name in self.epoch_fields if name not in unsettled]
        return [time for time in times if time is not None and time >= 0]

    def update_steps(self, clock: Clock) -> list[int]:
        """Steps at which ``on_update`` is called."""
        return update_steps(clock, self.start, self.end, self.update_frequency)

    @property
    def unavailable(self) -> str | None:
        """What of it is not built yet (its name, or a field's value); None: all that it asks for is."""
        return None

    def values(self, epoch: float) -> dict[str, float]:
        """What is in force at ``epoch`` of the run, by name (``sparsity``, ...), for logs and plans."""
        return {}

    def to_come(self, clock: Clock, reached: int) -> str | None:
        """What it has begun and not yet done, where training stops early; None: nothing, or only its end.

        Args:
            clock: Of the run.
            reached: The last step whose events have fired.
        """
        return None

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the parameters of ``model`` that it would act on; of their values nothing is read.

        Raises:
            RecipeError: A selector matches nothing.
        """
        selectors = getattr(self, "params", None)
        return tuple(select_parameters(model, selectors)) if selectors else ()

    def on_structure(self, model: nn.Module) -> None:
        """Insert what must exist before weights are loaded. Must be safe to call twice."""

    def on_replay(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Give ``model`` the structure it had when ``state`` (this modifier's own) was saved. Safe to call twice."""

    def on_attach(self, run: Run) -> None:
        """Resolve parameters and modules of the live model."""

    def on_start(self, run: Run) -> None:
        """Become active."""

    def on_update(self, run: Run) -> None:
        """Move along the schedule."""

    def on_loss(self, run: Run, loss: Tensor, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        """Return the loss to train on, given the loss so far."""
        return loss

    @property
    def needs_gradients(self) -> bool:
        """Whether ``on_gradients`` must see each step's gradients, which a step with a closure has only later."""
        return False

    def on_gradients(self, run: Run) -> None:
        """See or change gradients just before the optimizer uses them."""

    def on_step(self, run: Run) -> None:
        """Restore what the optimizer may have broken (masks)."""

    def on_end(self, run: Run) -> None:
        """Stop being active."""

    def on_resize(self, run: Run, change: Shrinkage) -> None:
        """Cut what is held in the shape of the weights (masks, scores) as the weights were cut."""

    def on_detach(self, run: Run) -> None:
        """Remove every hook."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resume needs and that is not in the model's own state dict: nested dicts, tensors, JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Take back what ``state_dict`` gave; called after ``on_attach``."""


class SetOnce(Modifier):
    """Sets something at its start that holds until something else is set.

    Composed recipes write an ``end_epoch`` where the next stage begins: it counts for the run's length only.
    """

    @property
    def end(self) -> float:
        """Never."""
        return -1.0


class LearningRateBase(Modifier):
    """A modifier that sets the learning rate. It holds no state: the rate is a function of the epoch."""

    kind: ClassVar[str] = "learning_rate"
    param_groups: list[int] | None = Field(None, description="indices of the optimizer's param groups; left out: all")

    def learning_rate(self, epoch: float, steps_per_epoch: int) -> float:
        """Learning rate in force at ``epoch`` of the run; holds its last value after the end."""
        raise NotImplementedError

    def in_words(self) -> str:
        """What it sets and when, in a few words."""
        until = "" if self.end < 0 else f" to {self.end:g}"
        return f"{self.learning_rate(self.start, 1):g} from epoch {self.start:g}{until}"
