"""Hugging Face Trainer: a recipe on one trainer instance. No class of transformers is changed."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from sparsify.clock import Clock
from sparsify.distillation.cache import EXAMPLE_INDEX
from sparsify.errors import InputError, StateError
from sparsify.export.checkpoint import RECIPE_FILE
from sparsify.modifiers.structure import LayerThinningModifier
from sparsify.phases import settle
from sparsify.rates import OVERRULED, LearningRates, set_rate
from sparsify.run import TrainingRun
from sparsify.state import STATE_FILE, read_state, write_state
from sparsify.wrappers import unwrap, unwrap_optimizer

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from sparsify.manager import ModifierManager

logger = logging.getLogger(__name__)
_DEFAULT_EPOCHS = 3.0


class RecipeSchedule(LRScheduler):
    """The recipe's learning rates as a torch scheduler, so that the Trainer logs, saves and resumes them."""

    def __init__(self, optimizer: Any, rates: LearningRates) -> None:
        self._rates = rates
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rates for the coming step; groups the recipe does not name keep theirs."""
        groups = self.optimizer.param_groups
        found = [self._rates.at(self.last_epoch, index) for index in range(len(groups))]
        return [group["initial_lr"] if rate is None else rate for group, rate in zip(groups, found, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The step alone: rates are a function of it."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at a saved step."""
        self.last_epoch = state_dict["last_epoch"]
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            set_rate(group, float(rate))


def _tell_overruled(args: TrainingArguments, first: float | None) -> None:
    """Say which training arguments the recipe's learning rates overrule; a value that is the default counts as not given."""
    defaults = {field.name: field.default for field in dataclasses.fields(args)}
    given = {
        name: value
        for name in ("learning_rate", *OVERRULED)
        if (value := getattr(args, name)) and value != defaults[name]
    }
    if (
        first is None or given.get("learning_rate") == first
    ):  # it holds before the recipe's first rate, or says the same
        given.pop("learning_rate", None)
    if given:
        told = ", ".join(f"{name} {getattr(value, 'value', value)}" for name, value in given.items())
        logger.warning("the recipe sets the learning rate, so these training arguments have no effect: %s", told)


class RecipeCallback(TrainerCallback):
    """Opens the run when training begins and fires what must happen before a step's forward."""

    def __init__(self, wrapped: WrappedTrainer) -> None:
        self._wrapped = wrapped

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attach to the live model and optimizer, and take back saved state on a resume."""
        self._wrapped.open()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fire the recipe's events of this step before the forward."""
        self._wrapped.live.begin_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """At the last step let everything end: the checkpoint and the evaluation that follow see the final model."""
        if state.global_step >= state.max_steps:
            self._wrapped.live.finish()
        self._wrapped.forget_best_of_old_phase(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse an optimizer whose steps cannot be seen."""
        if self._wrapped.live.clock.step == 0 and state.global_step > 1:
            raise InputError(
                f"an epoch passed and {type(self._wrapped.live.optimizer).__name__} took no step that hooks can see "
                "(it steps inside backward, or every step overflowed): use another --optim"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model clean, and say so if it is not yet what the recipe says."""
        self._wrapped.live.warn_unfinished()
        self._wrapped.live.close()


def wrap_trainer(manager: ModifierManager, trainer: Trainer, teacher: nn.Module | str | None) -> None:
    """Put ``manager``'s recipe on ``trainer``: structure now, events from its callbacks and torch's step hooks.

    Raises:
        InputError: The trainer has an option that a recipe cannot be right under.
    """
    WrappedTrainer(manager, trainer, teacher).install()


class WrappedTrainer:
    """What ``wrap`` adds to one trainer: a callback, and this instance's own versions of a few methods."""

    def __init__(self, manager: ModifierManager, trainer: Trainer, teacher: nn.Module | str | None) -> None:
        self.manager, self.trainer, self.teacher = manager, trainer, teacher
        self._run: TrainingRun | None = None
        self._resume_from: Path | None = None
        self._rates: LearningRates | None = None
        self._phases_done = -1

    @property
    def live(self) -> TrainingRun:
        """The run; only during training."""
        if self._run is None:
            raise StateError("training has not begun")
        return self._run

    def install(self) -> None:
        """Check the trainer's options, insert structure and take over the methods that matter."""
        trainer = self.trainer
        _refuse(trainer)
        self._refuse_scheduler()
        self._set_epochs()
        model = unwrap(trainer.model)
        if self.teacher is None and self.manager.needs_teacher:
            raise InputError("the recipe distils: wrap(trainer, teacher=...) needs a teacher model, or 'self'")
        self.manager.apply_structure(model)
        trainer.add_callback(RecipeCallback(self))
        for name in ("train", "save_model", "log", "_load_best_model"):
            self._replace(name, getattr(self, name.lstrip("_")))
        if self.manager.sets_learning_rate:
            self._replace("create_scheduler", self.create_scheduler)
        if self.manager.needs_teacher:
            self._replace("compute_loss", self.compute_loss)

    def _refuse_scheduler(self) -> None:
        trainer = self.trainer
        theirs = trainer.lr_scheduler is not None and not trainer._created_lr_scheduler
        if theirs and self.manager.sets_learning_rate:
            raise InputError(
                "the recipe sets the learning rate, and the trainer was given a scheduler of its own, which would "
                "overrule it: pass optimizers=(optimizer, None), or remove the recipe's learning-rate modifiers"
            )

    def _replace(self, name: str, method: Callable[..., Any]) -> None:
        original = getattr(self.trainer, name)
        setattr(self.trainer, name, lambda *args, **kwargs: method(original, *args, **kwargs))

    def _set_epochs(self) -> None:
        args, needed = self.trainer.args, self.manager.max_epochs
        if args.max_steps > 0 or needed == 0 or args.num_train_epochs == needed:
            return
        if args.num_train_epochs != _DEFAULT_EPOCHS:
            raise InputError(
                f"the recipe runs for {needed} epochs, the trainer's num_train_epochs is {args.num_train_epochs:g}: "
                "drop num_train_epochs, or change the recipe (recipe_args, num_epochs=...)"
            )
        logger.warning("num_train_epochs is %d, from the recipe", needed)
        args.num_train_epochs = float(needed)

    def train(self, original: Callable[..., Any], resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, resuming only from checkpoints that are whole."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = str(newest_complete(Path(self.trainer.args.output_dir)))
        if resume_from_checkpoint:
            self._resume_from = _complete(Path(resume_from_checkpoint))
            # The Trainer loads weights, then makes the optimizer, before any callback: the shapes must be there by then.
            self.manager.apply_structure(unwrap(self.trainer.model), read_state(self._resume_from / STATE_FILE))
        try:
            return original(resume_from_checkpoint or None, *args, **kwargs)
        finally:
            if self._run is not None:
                self._run.close()
            self._resume_from = None

    def open(self) -> None:
        """Start the run on the live model and optimizer."""
        state, args = self.trainer.state, self.trainer.args
        clock = Clock(self._steps_per_epoch(), state.max_steps)
        if args.max_steps > 0:
            self.manager.epochs(math.ceil(clock.epoch_of(clock.total_steps) + 1e-9))
        optimizer = unwrap_optimizer(self.trainer.optimizer)
        by_scheduler = self.manager.sets_learning_rate
        model = unwrap(self.trainer.model)
        self._run = self.manager.start(model, optimizer, clock, self.teacher, set_rates=not by_scheduler)
        if self._resume_from is not None:
            self._run.load_state_dict(read_state(self._resume_from / STATE_FILE))
        self._phases_done = self._changes()

    def _steps_per_epoch(self) -> int:
        loader = self.trainer.callback_handler.train_dataloader
        try:
            batches = len(loader)
        except TypeError as error:
            raise InputError("the training data has no length: a recipe counts in epochs and needs one") from error
        return self._updates_in(batches)

    def _updates_in(self, batches: int) -> int:
        return max(1, math.ceil(batches / self.trainer.args.gradient_accumulation_steps))

    def create_scheduler(self, original: Callable[..., Any], num_training_steps: int, optimizer: Any = None) -> Any:
        """A scheduler driven by the recipe: the Trainer's own would overwrite the recipe's learning rate."""
        trainer = self.trainer
        if trainer.lr_scheduler is None:
            steps = self._steps_of(num_training_steps)
            clock = Clock(steps, num_training_steps)
            settle(self.manager.modifiers, clock)
            rates = LearningRates(self.manager.modifiers, clock)
            _tell_overruled(trainer.args, rates.at(0, 0))
            trainer.lr_scheduler = RecipeSchedule(optimizer or trainer.optimizer, rates)
            trainer._created_lr_scheduler = True
        return trainer.lr_scheduler

    def _steps_of(self, total: int) -> int:
        trainer = self.trainer
        if trainer.args.max_steps <= 0:
            return max(1, round(total / trainer.args.num_train_epochs))
        return self._updates_in(len(trainer.get_train_dataloader()))

    def compute_loss(
        self,
        original: Callable[..., Any],
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The trainer's loss plus the recipe's terms, in training only and scaled as the trainer scales its own."""
        kept = dict(inputs)  # label smoothing and loss functions pop the labels
        inputs = {key: value for key, value in inputs.items() if key != EXAMPLE_INDEX}
        if not model.training or self._run is None:
            return original(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch, **kwargs)
        loss, outputs = original(model, inputs, True, num_items_in_batch=num_items_in_batch, **kwargs)
        run, trainer = self._run, self.trainer
        by_items = trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None
        run.loss_items = num_items_in_batch if by_items else None
        across = run.loss_items is not None and trainer.args.average_tokens_across_devices
        run.loss_scale = float(trainer.accelerator.num_processes) if across else 1.0
        loss = run.loss(loss, inputs=kept, outputs=outputs)
        return (loss, outputs) if return_outputs else loss

    def save_model(
        self, original: Callable[..., Any], output_dir: str | None = None, _internal_call: bool = False
    ) -> Any:
        """Save with the recipe beside the weights, and inside a checkpoint the state that a resume needs."""
        result = original(output_dir, _internal_call=_internal_call)
        folder = Path(output_dir or self.trainer.args.output_dir)
        if self.trainer.args.should_save:
            self.manager.record.save(folder / RECIPE_FILE)
            if self._run is not None and folder.name.startswith(PREFIX_CHECKPOINT_DIR):
                write_state(folder / STATE_FILE, self._run.state_dict())
        return result

    def log(self, original: Callable[..., Any], logs: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Log with the recipe's values beside the loss."""
        if self._run is not None and "loss" in logs:
            logs = {**logs, **{f"recipe/{name}": value for name, value in self._run.values().items()}}
        return original(logs, *args, **kwargs)

    def load_best_model(self, original: Callable[..., Any]) -> Any:
        """Reload the recipe's state of the best checkpoint with its weights."""
        result = original()
        best = self.trainer.state.best_model_checkpoint
        if best and self._run is not None and (Path(best) / STATE_FILE).is_file():
            self._run.load_state_dict(read_state(Path(best) / STATE_FILE))
        return result

    def _changes(self) -> int:
        """How many phases that change the model are done: ended pruning, begun quantization, parts removed."""
        phases = self.live.phases
        return (
            sum(p.ended for p in phases if p.modifier.kind == "pruning")
            + sum(p.started for p in phases if p.modifier.kind == "quantization")
            + sum(p.modifier.removals for p in phases if isinstance(p.modifier, LayerThinningModifier))
        )

    def forget_best_of_old_phase(self, state: Any) -> None:
        """A denser or float model's metric is no mark to beat for the one that the recipe asks for."""
        changes = self._changes()
        if changes != self._phases_done:
            self._phases_done = changes
            state.best_metric = state.best_model_checkpoint = state.best_global_step = None


def newest_complete(output_dir: Path) -> Path:
    """The newest checkpoint under ``output_dir`` that a resume can start from.

    Raises:
        StateError: There is none.
    """
    whole = (p for p in output_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if _is_complete(p))
    found = {int(p.name.rsplit("-", 1)[1]): p for p in whole if p.name.rsplit("-", 1)[1].isdecimal()}
    if not found:
        raise StateError(f"{output_dir}: no complete checkpoint to resume from")
    return found[max(found)]


def _is_complete(folder: Path) -> bool:
    return (folder / STATE_FILE).is_file() and (folder / "trainer_state.json").is_file()


def _complete(folder: Path) -> Path:
    if _is_complete(folder):
        return folder
    message = f"{folder} is no complete checkpoint of a recipe run"
    try:
        message += f"; the newest complete one is {newest_complete(folder.parent)}"
    except StateError:
        message += ", and there is no other beside it"
    raise StateError(message)


def _refuse(trainer: Trainer) -> None:
    if any(isinstance(callback, RecipeCallback) for callback in trainer.callback_handler.callbacks):
        raise InputError("the trainer has a recipe already, and two would act at once: make a new Trainer for this one")
    args = trainer.args
    for refused, why in (
        (trainer.model_init is not None, "model_init makes a new model that lacks the recipe's structure"),
        (args.auto_find_batch_size, "auto_find_batch_size changes the number of steps in an epoch"),
        (args.ignore_data_skip, "ignore_data_skip makes a resumed run see other data"),
        (args.save_only_model, "save_only_model leaves checkpoints that cannot be resumed"),
    ):
        if refused:
            raise InputError(f"a recipe cannot be right under this trainer option: {why}")
