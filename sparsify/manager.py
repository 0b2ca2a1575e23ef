"""The manager: a recipe's modifiers, attached to a plain loop, a Hugging Face Trainer, or applied in one shot."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

import sparsify.modifiers  # noqa: F401  (registers the modifiers)
from sparsify.clock import Clock
from sparsify.distillation.teacher import Teacher, as_teacher, self_teacher
from sparsify.errors import InputError, Problem, RecipeError
from sparsify.modifiers.base import LearningRateBase, Modifier
from sparsify.modifiers.composition import hold, zeros_to_hold
from sparsify.modifiers.masking import MaskModifier
from sparsify.modifiers.post_training import PostTrainingQuantizationModifier
from sparsify.modifiers.quantization import QuantizationModifier
from sparsify.modifiers.registry import build
from sparsify.phases import settle
from sparsify.plan import conflicts, epochs_of, not_available
from sparsify.pruning.mask_set import zero_masked
from sparsify.pruning.shrink import Shrinkage, shrink
from sparsify.quantization.calibrate import calibrate
from sparsify.quantization.layers import quantizers
from sparsify.recipe.compose import composed, with_entries
from sparsify.recipe.recipe import Recipe
from sparsify.run import TrainingRun
from sparsify.select import named_tensors, names_of
from sparsify.wrappers import unwrap, unwrap_optimizer

if TYPE_CHECKING:
    from sparsify.analysis.report import ModelReport

logger = logging.getLogger(__name__)
_SHOWN = 5
_KEPT = "Written out with the modifier that holds the zeros which the model began with."
T = TypeVar("T")
C = TypeVar("C", bound=nn.Module | Mapping[str, Tensor])


def load_recipe(
    source: str | Path,
    recipe_args: Mapping[str, Any] | str | Path | None = None,
    *,
    set_fields: Mapping[str, Any] | Sequence[str] | None = None,
    distillation: bool = True,
) -> ModifierManager:
    """Read and validate a recipe.

    Args:
        source: Path, zoo stub, YAML text, or a checkpoint folder with a ``recipe.yaml``.
        recipe_args: Overrides of the recipe's variables: dict, JSON text, JSON or YAML file, or ``k=v,k2=v2``.
        set_fields: New values of modifiers' fields by path, after ``recipe_args``: a dict such as
            ``{"GMPruningModifier.final_sparsity": 0.8}``, or ``path=value`` texts.
        distillation: False drops the recipe's distillation modifiers.

    Raises:
        RecipeError: With every problem of the recipe, each at its line and column.
        ZooError: A stub that leads nowhere.
    """
    recipe, problems = Recipe.read(source, recipe_args, set_fields)
    manager = ModifierManager(recipe, distillation=distillation, problems=problems)
    for warning in manager.warnings[:_SHOWN]:
        logger.warning("%s", warning)
    if (more := len(manager.warnings) - _SHOWN) > 0:
        logger.warning("%s: %d more like these", recipe.origin, more)
    return manager


class ModifierManager:
    """A validated recipe, ready to be attached to training.

    Attributes:
        recipe: The recipe it came from.
        record: What is saved beside weights: the recipe, after those that made the model before (``after``).
        modifiers: Its modifiers, in file order.
        warnings: What was read in spite of something odd about it.
    """

    def __init__(self, recipe: Recipe, *, distillation: bool = True, problems: Sequence[Problem] = ()) -> None:
        self.recipe = self.record = recipe
        self._distils = distillation
        self.warnings = [*recipe.warnings]
        modifiers = build(recipe, problems, self.warnings)
        self.modifiers: list[Modifier] = [m for m in modifiers if distillation or m.kind != "distillation"]
        self._run: weakref.ref[TrainingRun] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy or a pickle is the recipe again, attached to nothing: the masks and hooks of a run stay with its model."""
        return _again, (self.recipe, self.record, self._distils)

    def after(self, before: Recipe, model: nn.Module, left_out: Collection[str] = ()) -> ModifierManager:
        """This recipe as the next one of a model that another has made.

        What that one pruned and this one says nothing of is held at zero, by a modifier added to this one. The record
        is both, one after the other, so that what is saved can be built again.

        Args:
            before: The recipe that made ``model``.
            left_out: Types of its modifiers that the model has nothing of.

        Returns:
            A new manager.
        """
        made = ModifierManager(before).modifiers
        held = zeros_to_hold(made, self.modifiers, model)
        recipe = with_entries(self.recipe, hold(held), _KEPT) if held else self.recipe
        found = ModifierManager(recipe, distillation=self._distils)
        found.record = composed(before, recipe, left_out)
        return found

    @property
    def max_epochs(self) -> int:
        """Epochs that the recipe needs (0 when it names no time)."""
        return epochs_of(self.modifiers)

    @property
    def needs_teacher(self) -> bool:
        """Whether the recipe distils."""
        return any(m.kind == "distillation" for m in self.modifiers)

    @property
    def sets_learning_rate(self) -> bool:
        """Whether the recipe sets the learning rate."""
        return any(isinstance(m, LearningRateBase) for m in self.modifiers)

    def check_available(self) -> None:
        """Refuse a recipe with modifiers that nothing carries out yet.

        Raises:
            RecipeError: One problem for each of them.
        """
        if found := not_available(self.modifiers):
            raise RecipeError(found)

    def apply_structure(self, model: nn.Module, state: Mapping[str, Any] | None = None) -> None:
        """Insert what the recipe's modules need (quantizers), before weights are loaded or an optimizer is made.

        Args:
            model: Not wrapped; changed in place.
            state: Of a run that is to be resumed (``run.state_dict()``): parts that it had removed are removed again, so
                that the saved weights fit.
        """
        if any("FSDP" in type(m).__name__ for m in model.modules()):
            raise InputError("the model is sharded already (FSDP): apply the recipe's structure before sharding")
        for modifier in sorted(self.modifiers, key=lambda m: m.order):
            try:
                modifier.on_structure(model)
            except RecipeError as error:
                raise modifier.located(error) from None
        saved = state["modifiers"] if state is not None else {}
        for modifier in self.modifiers:
            if modifier.key in saved:
                modifier.on_replay(model, saved[modifier.key]["state"])

    def start(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        clock: Clock,
        teacher: nn.Module | str | None = None,
        set_rates: bool = True,
    ) -> TrainingRun:
        """Open a run; ``attach`` and the integrations go through here.

        Raises:
            RecipeError: Modifiers contradict each other, one matches nothing in the model, or is not available yet.
            InputError: A distillation recipe without a teacher.
        """
        self.check_available()
        if self.needs_teacher and teacher is None:
            raise InputError(
                "the recipe distils but no teacher was given: pass one (--distill_teacher PATH, teacher=...), "
                "'self' for the model as it is at the start, or 'disable' to drop the distillation"
            )
        made = _teacher(teacher, model)
        if made is not None:
            made.shared = sum(m.kind == "distillation" for m in self.modifiers) > 1
        settle(self.modifiers, clock)
        run = self._taking_over(TrainingRun(self.modifiers, model, optimizer, clock, made, set_rates))
        run.open()
        found = conflicts(self.modifiers, self._parameters(model))
        if found:
            run.close()
            raise RecipeError(found)
        return run

    def _taking_over(self, run: TrainingRun) -> TrainingRun:
        """``run`` as the one that the modifiers are of: each holds one model's masks and hooks."""
        before = None if self._run is None else self._run()
        if before is not None:
            before.supersede()
        self._run = weakref.ref(run)
        return run

    def _parameters(self, model: nn.Module) -> dict[str, frozenset[str]]:
        pruners = [m for m in self.modifiers if m.kind == "pruning"]
        return {m.key: frozenset(names_of(m)) for m in pruners}

    @contextmanager
    def attach(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps_per_epoch: int,
        teacher: nn.Module | str | None = None,
        epochs: int | None = None,
    ) -> Iterator[TrainingRun]:
        """Drive any loop: inside the block, each ``optimizer.step()`` moves the recipe on.

        Args:
            model: The model: plain, in DDP, or compiled.
            optimizer: A torch optimizer, or a wrapper that has it as ``.optimizer``.
            steps_per_epoch: Optimizer steps in one epoch, after gradient accumulation.
            teacher: For distillation recipes: a model with the student's inputs and outputs, or ``"self"`` for the
                model as it is now.
            epochs: Length of the run; the recipe's own by default.

        Yields:
            The run: ``run.loss(...)`` adds distillation, ``run.state_dict()`` is what a resume needs.
        """
        if steps_per_epoch < 1 or not float(steps_per_epoch).is_integer():
            raise InputError(
                f"steps_per_epoch must be a whole number, at least 1, got {steps_per_epoch:g}: "
                "optimizer steps in one epoch, the last incomplete one included"
            )
        self.check_available()
        plain = unwrap(model)
        self.apply_structure(plain)
        clock = Clock(int(steps_per_epoch), self.epochs(epochs) * int(steps_per_epoch))
        run = self.start(plain, unwrap_optimizer(optimizer), clock, teacher)
        try:
            yield run
            run.warn_unfinished()
        finally:
            run.close()

    def epochs(self, asked: float | None) -> int:
        """Epochs of a run: the recipe's, or ``asked`` where that is enough for it.

        Raises:
            InputError: ``asked`` ends before the recipe does, or is no whole number.
        """
        if asked is None:
            if self.max_epochs < 1:
                raise InputError("the recipe names no epoch: say how long the run is (epochs=...)")
            return self.max_epochs
        if asked < self.max_epochs:
            raise InputError(
                f"the run has {asked:g} epochs, the recipe needs {self.max_epochs}: "
                "change the recipe (recipe_args, num_epochs=...) or train longer"
            )
        if asked < 1 or not float(asked).is_integer():
            raise InputError(f"a run has a whole number of epochs, at least 1, got {asked:g}: round it up")
        return int(asked)

    def wrap(self, trainer: T, teacher: nn.Module | str | None = None) -> T:
        """Attach the recipe to a Hugging Face Trainer (this instance only) and return it."""
        from sparsify.integrations.trainer import wrap_trainer

        self.check_available()
        wrap_trainer(self, trainer, teacher)
        return trainer

    def apply(self, model: nn.Module, calibration_data: Iterable[Mapping[str, Any]] | None = None) -> nn.Module:
        """Apply the recipe in one shot, without training: prune to the final sparsity, then calibrate quantizers.

        Args:
            model: Changed in place.
            calibration_data: Batches of model inputs; needed when the recipe quantizes activations.

        Returns:
            The model, in eval mode.

        Raises:
            RecipeError: A modifier matches nothing in the model, or is not available yet.
        """
        self.check_available()
        self.apply_structure(model)
        # What depends on a run's length holds a guess, which may lie after the other times: only the order matters.
        epochs = math.ceil(max(self.max_epochs, 1, *(max(m.start, m.end) for m in self.modifiers)))
        still = torch.optim.SGD([p for p in model.parameters() if p.is_floating_point()], lr=0.0)
        acting = [m for m in self.modifiers if m.kind == "pruning" or m.one_shot]
        run = self._taking_over(TrainingRun(acting, model, still, Clock(1, epochs)))
        run.open()
        try:
            run.finish()
        finally:
            run.close()
        if quantizers(model) and not self.post_training:
            steps = [m.num_calibration_steps for m in self.modifiers if isinstance(m, QuantizationModifier)]
            calibrate(model, calibration_data, max((s for s in steps if s is not None), default=None))
        return self.calibrate(model, calibration_data).eval()

    @property
    def post_training(self) -> list[PostTrainingQuantizationModifier]:
        """The recipe's quantization that comes after training."""
        return [m for m in self.modifiers if isinstance(m, PostTrainingQuantizationModifier)]

    def calibrate(self, model: nn.Module, calibration_data: Iterable[Any] | None = None) -> nn.Module:
        """Quantize after training as the recipe's ``PostTrainingQuantizationModifier`` says; nothing without one.

        ``apply`` does it by itself. After ``wrap`` or ``attach`` and training, call it.

        Args:
            model: As trained; changed in place, its mode is kept.
            calibration_data: Batches of model inputs; needed where ranges are static.

        Returns:
            The model.

        Raises:
            InputError: Ranges are static and there is no batch.
        """
        plain = unwrap(model)
        for modifier in self.post_training:
            modifier.on_structure(plain)
            modifier.calibrate(plain, calibration_data)
        return model

    def apply_masks(self, average: C) -> C:
        """Zero in other weights of the model what pruning has masked by now: an average of them (EMA, SWA), a copy.

        An average keeps a rest of each weight that was not zero from the start. Call this after its updates, or once
        before it is evaluated or saved: during the run or after it.

        Args:
            average: Changed in place. A model, also inside ``AveragedModel``, or its tensors by parameter name.

        Returns:
            The same object; nothing in it changes before the first weights are pruned.

        Raises:
            InputError: The recipe has not been attached, or a parameter that it prunes is missing or has another
                shape, as after the removal of heads or neurons; then nothing is changed.
        """
        if self._run is None:
            raise InputError("the recipe holds no masks before it is attached: use the manager that trained the model")
        named = named_tensors(unwrap(average) if isinstance(average, nn.Module) else average)
        zero_masked(named, [m.held for m in self.modifiers if isinstance(m, MaskModifier)])
        return average

    def shrink(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None, multiple_of: int = 1
    ) -> Shrinkage:
        """Remove the heads, neurons and filters that pruning left dead, in place, after training; see ``sparsify.shrink``.

        During training ``LayerThinningModifier`` does it, and keeps the other modifiers informed.
        """
        inner = None if optimizer is None else unwrap_optimizer(optimizer)
        return shrink(unwrap(model), inner, multiple_of=multiple_of)

    def report(self, model: nn.Module) -> ModelReport:
        """Sparsity, bits and sizes of ``model``, per layer and in total."""
        from sparsify.analysis.report import model_report

        return model_report(unwrap(model))


def _again(recipe: Recipe, record: Recipe, distillation: bool) -> ModifierManager:
    manager = ModifierManager(recipe, distillation=distillation)
    manager.record = record
    return manager


def _teacher(teacher: nn.Module | str | None, model: nn.Module) -> Teacher | None:
    if isinstance(teacher, str):
        if teacher != "self":
            raise InputError(f"teacher must be a model or 'self', got {teacher!r}")
        return self_teacher(model)
    return None if teacher is None else as_teacher(teacher, model)
