"""Quantization-aware training, and the quantized structure of one-shot runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from sparsify.clock import Clock
from sparsify.errors import RecipeError, StateError
from sparsify.modifiers.base import Flag, Modifier, Run, reached
from sparsify.modifiers.masking import Selector
from sparsify.modifiers.quantization_fields import (
    LEGACY,
    SCHEME,
    check_legacy,
    legacy_scheme,
    momentum_of,
    overrides_of,
    scheme_of,
)
from sparsify.modifiers.quantization_groups import Group, overrides_of_groups
from sparsify.modifiers.registry import register
from sparsify.quantization.fake_quant import ActivationQuant
from sparsify.quantization.insert import chosen_layers, insert_quantizers
from sparsify.quantization.layers import (
    enable_calibrated,
    follow_parameters,
    observe_weights,
    quantizers,
    set_enabled,
    set_observing,
    start_learning,
)
from sparsify.quantization.no_decay import WithoutDecay
from sparsify.quantization.reduce import average_ranges
from sparsify.quantization.schemes import Scheme, Selection

OFF, OBSERVING, FROZEN, LEARNING = range(4)


@register("QuantizationModifier", "LegacyQuantizationModifier")
class QuantizationModifier(Modifier):
    """Train with int8 weights and activations: inputs of Linear, Conv2d and attention matmuls, and embeddings.

    From ``start_epoch`` on, weights (int8, symmetric, one scale per output channel) and inputs (uint8, one range per
    tensor) are rounded in the forward pass; the gradient passes straight through. Ranges follow the data until
    ``disable_quantization_observer_epoch`` (the run's end by default), then weight and activation ranges stay; with
    ``learned_step_size`` they are trained until then (Esser et al. 2020, https://arxiv.org/abs/1902.08153). Softmax,
    LayerNorm, GELU and residual sums stay float, and so do outputs: a matmul's output is the next one's input. Only the
    output of a convolution that something else reads (a residual sum, an average) has a quantizer, behind its batch norm
    and ReLU, since integer runtimes run a convolution on integers only with both ends quantized.

    Three sets of fields are read, one in a modifier: ``submodules``, ``exclude_module_types``, ``quantize_*``, bits; or
    ``scheme``, ``scheme_overrides``, ``ignore``, ``strict``; or ``config_groups``, ``ignore``, ``strict``, where only
    targets are quantized. Widths are 2 to 8 bits; others validate and are not available yet. Weights of 4 bits are packed
    in the file where inputs stay float. ``quantize_linear_activations`` stood for quantizers of outputs: both values give
    the same here, and inputs are quantized either way; where a scheme names ``output_activations``, outputs are.

    Embeddings are quantized everywhere in the model unless ``quantize_embeddings`` is false or they are ignored.
    Convolutions are trained beside their batch norm: with a scale per output channel that rounds to the very integers that
    a fused convolution has. At export a norm that alone reads a convolution is folded into scales and bias, without
    changing an integer: so ``model_fuse_fn_name`` may be ``conv_bn_relus`` or ``no_fuse``, and both give the same numbers.
    Composed recipes write an ``end_epoch``: ranges stay from there on at the latest, and quantization lasts.
    """

    order: ClassVar[int] = 60
    kind: ClassVar[str] = "quantization"
    structural: ClassVar[bool] = True
    epoch_fields: ClassVar[tuple[str, ...]] = (
        "start_epoch",
        "end_epoch",
        "disable_quantization_observer_epoch",
        "freeze_bn_stats_epoch",
    )
    paper: ClassVar[str] = (
        "Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only "
        "Inference, https://arxiv.org/abs/1712.05877"
    )
    example: ClassVar[Mapping[str, Any]] = {"start_epoch": 1.0, "disable_quantization_observer_epoch": 2.0}

    disable_quantization_observer_epoch: float | None = Field(
        None, description="epoch from which ranges stay as they are; left out: the run's end"
    )
    freeze_bn_stats_epoch: float | None = Field(
        None, description="epoch from which batch norms keep their statistics; left out: never"
    )
    num_calibration_steps: int | None = Field(
        default=None, gt=0, description="one shot: batches to calibrate on; left out: all"
    )
    model_fuse_fn_name: str | None = Field(None, description="conv_bn_relus or no_fuse; both give the same numbers")
    model_fuse_fn_kwargs: dict[str, Any] | None = Field(None, description="nothing may be given")
    submodules: list[str] | None = Field(
        None, description="full names of modules; layers outside stay float; left out: the whole model"
    )
    exclude_module_types: list[str] | None = Field(None, description="classes of modules that stay float")
    custom_quantizable_module_types: list[str] | None = Field(
        None, description="of Linear, Conv2d, Embedding, which are quantized anyway"
    )
    quantize_embeddings: Flag = Field(True, description="whether weights of embeddings are quantized")
    quantize_linear_activations: Flag = Field(
        True, description="accepted; inputs of Linear are quantized, outputs never"
    )
    quantize_conv_activations: Flag = Field(
        True, description="whether outputs of Conv2d are quantized where no next layer's input is; inputs always are"
    )
    quantize_embedding_activations: Flag = Field(
        True, description="accepted; outputs of embeddings are never quantized"
    )
    exclude_batchnorm: Flag = Field(True, description="only true: batch norms stay float")
    reduce_range: Flag = Field(
        False, description="weights of 7 bits, whose products no CPU saturates; for CPUs without VNNI"
    )
    tensorrt: Flag = Field(False, description="whether activations are symmetric, as TensorRT has them")
    activation_bits: int | None = Field(8, description="2 to 8; null leaves activations float")
    weight_bits: int | None = Field(8, description="2 to 8; embeddings keep 8")
    activation_qconfig_kwargs: dict[str, Any] | None = Field(
        None, description="observer (min/max) and averaging_constant of activations"
    )
    weight_qconfig_kwargs: dict[str, Any] | None = Field(None, description="observer of weights: min/max")
    scheme: str | dict[str, Any] | None = Field(
        None,
        description="default, deepsparse, tensorrt, or {weights, input_activations, output_activations} with num_bits, "
        "symmetric, strategy, group_size",
    )
    scheme_overrides: dict[Selector, Any] | None = Field(
        None, description="schemes by module name, 're:PATTERN' or class; null leaves it float"
    )
    ignore: list[Selector] | None = Field(None, description="names, 're:PATTERN' or classes of modules that stay float")
    strict: Flag = Field(True, description="whether names in ignore and scheme_overrides must match something")
    config_groups: dict[str, Group] | None = Field(
        None, description="formats by group: {group_0: {targets: [Linear], weights: {...}, input_activations: {...}}}"
    )
    quantize_attention: Flag = Field(True, description="whether the matmuls inside attention are quantized")
    learned_step_size: Flag = Field(
        False, description="whether ranges are trained (LSQ), from the second step on, rather than follow the data"
    )
    post_oneshot_calibration: Flag = Field(False, description="accepted: one shot always calibrates after pruning")

    _missing: list[str] = PrivateAttr(default_factory=list)
    _phase: int = PrivateAttr(default=OFF)
    _norms_held: list[RemovableHandle] = PrivateAttr(default_factory=list)
    _norms_frozen: bool = PrivateAttr(default=False)
    _observed: list[ActivationQuant] = PrivateAttr(default_factory=list)
    _undecayed: WithoutDecay | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_set_of_fields(self) -> QuantizationModifier:
        legacy, scheme = sorted(self.model_fields_set & LEGACY), sorted(self.model_fields_set & SCHEME)
        if legacy and scheme:
            raise ValueError(
                f"{', '.join(legacy)} and {', '.join(scheme)} belong to two ways of saying what is quantized: "
                "use the fields of one"
            )
        if self.config_groups is not None and (self.scheme is not None or self.scheme_overrides):
            raise ValueError("config_groups and scheme both say the formats: use one of them")
        return self

    @model_validator(mode="after")
    def _times(self) -> QuantizationModifier:
        for name in ("disable_quantization_observer_epoch", "freeze_bn_stats_epoch"):
            time = getattr(self, name)
            if time is not None and time < max(self.start_epoch, 0.0):
                raise ValueError(f"{name} {time:g} is before start_epoch {self.start_epoch:g}")
            if time is not None and 0 <= self.end_epoch < time:
                raise ValueError(f"{name} {time:g} is after end_epoch {self.end_epoch:g}")
        return self

    @model_validator(mode="after")
    def _formats(self) -> QuantizationModifier:
        missing: list[str] = []
        check_legacy(self, missing)
        self.selection(missing)
        self._missing = list(dict.fromkeys(missing))
        return self

    @property
    def unavailable(self) -> str | None:
        """Formats that its fields ask for and that are not built."""
        return f"QuantizationModifier with {'; '.join(self._missing)}" if self._missing else None

    def selection(self, missing: list[str] | None = None) -> Selection:
        """What is quantized and how, as the fields say; what is not built yet is added to ``missing``."""
        found = [] if missing is None else missing
        if self.config_groups is not None:
            scheme, overrides = Scheme(None, None), overrides_of_groups(self.config_groups, found)
        else:
            scheme = legacy_scheme(self) if self.scheme is None else scheme_of(self.scheme, found)
            overrides = overrides_of(self.scheme_overrides or {}, found)
        return Selection(
            default=scheme,
            overrides=overrides,
            ignore=tuple(self.ignore or ()) + tuple(self.exclude_module_types or ()),
            submodules=None if self.submodules is None else tuple(self.submodules),
            embeddings=self.quantize_embeddings,
            matmuls=self.quantize_attention,
            conv_outputs=self.quantize_conv_activations,
            learned=self.learned_step_size,
            strict=self.strict,
        )

    @property
    def frozen_from(self) -> float | None:
        """Epoch of the run from which ranges stay as they are; None: they follow the data to its end."""
        given = self.disable_quantization_observer_epoch
        return self._at(self.end_epoch if given is None and self.end_epoch >= 0 else given)

    @property
    def norms_frozen_from(self) -> float | None:
        """Epoch of the run from which batch norms stand still; None: never."""
        return self._at(self.freeze_bn_stats_epoch)

    def matched(self, model: nn.Module) -> tuple[str, ...]:
        """Names of the weights it would quantize; see the base class."""
        return tuple(f"{name}.weight" for name in chosen_layers(model, self.selection()))

    def update_steps(self, clock: Clock) -> list[int]:
        """The steps at which a phase begins; the last is the run's end, where ranges are frozen at the latest."""
        times = [self.start, self.frozen_from, self.norms_frozen_from]
        return sorted({clock.total_steps, *(min(clock.step_of(t), clock.total_steps) for t in times if t is not None)})

    def to_come(self, clock: Clock, reached: int) -> str | None:
        """Ranges that still follow the data, or are trained; batch norms that still learn."""
        parts, frozen, norms = [], self.frozen_from, self.norms_frozen_from
        until = "the run's end" if frozen is None else f"epoch {frozen:g}"
        if self._phase in (OBSERVING, LEARNING):
            parts.append(f"ranges still move and stop at {until}")
        if norms is not None and not self._norms_frozen:
            parts.append(f"batch norms still learn and stop at epoch {norms:g}")
        return ", ".join(parts) or None

    def values(self, epoch: float) -> dict[str, float]:
        """``quantization``: 0 off, 1 observing, 2 frozen."""
        frozen = self.frozen_from is not None and reached(epoch, self.frozen_from)
        return {"quantization": float(FROZEN if frozen else OBSERVING) if reached(epoch, self.start) else float(OFF)}

    def on_structure(self, model: nn.Module) -> None:
        """Insert the quantizers, switched off.

        Raises:
            RecipeError: Names that the model lacks, or formats that are not available yet.
        """
        if self.unavailable:
            raise RecipeError(f"not available yet: {self.unavailable}")
        insert_quantizers(model, self.selection(), momentum_of(self.activation_qconfig_kwargs))

    def on_attach(self, run: Run) -> None:
        """Insert the quantizers if nobody did yet."""
        self.on_structure(run.model)
        self._phase, self._norms_frozen, self._undecayed = OFF, False, None
        found = list(quantizers(run.model).values())
        self._observed = [fq for fq in found if isinstance(fq, ActivationQuant)]
        if self.learned_step_size:
            self._undecayed = WithoutDecay((p for fq in found for p in fq.parameters()), run.optimizer)

    def on_start(self, run: Run) -> None:
        """Round and observe from the coming forward pass on."""
        self._enter(OBSERVING, run.model)

    def on_update(self, run: Run) -> None:
        """Enter the phases that have begun."""
        step, clock = run.clock.step, run.clock
        frozen = self.frozen_from
        if step >= clock.total_steps or (frozen is not None and step >= clock.step_of(frozen) and self._calibrated()):
            self._enter(FROZEN, run.model)
        norms = self.norms_frozen_from
        if norms is not None and step >= clock.step_of(norms):
            self._freeze_norms(run.model)

    def on_gradients(self, run: Run) -> None:
        """Spare learned ranges the optimizer's weight decay."""
        if self._undecayed is not None:
            self._undecayed.begin()

    def on_step(self, run: Run) -> None:
        """Make the ranges of all ranks one; freeze after the first batch where there was none before it was time.

        Where ranges are learned, that begins after the first batch.
        """
        if self._undecayed is not None:
            self._undecayed.end()
        if self._phase == LEARNING:
            follow_parameters(run.model)
            self._learn_late()
        if self._phase == OBSERVING:
            average_ranges(self._observed)
            frozen = self.frozen_from
            if frozen is not None and run.clock.step >= run.clock.step_of(frozen):
                self._enter(FROZEN, run.model)
            elif self._undecayed is not None and self._seen():
                self._enter(LEARNING, run.model)
                self._undecayed.forget()

    def on_detach(self, run: Run) -> None:
        """Give batch norms back to ``model.train()``; quantizers stay, they are part of the model."""
        if self._undecayed is not None:
            self._undecayed.end()
        for handle in self._norms_held:
            handle.remove()
        self._norms_held = []

    def state_dict(self) -> dict[str, Any]:
        """Phase, and the ranges that no checkpoint of the model holds."""
        return {
            "phase": self._phase,
            "norms_frozen": self._norms_frozen,
            "enabled": [fq.enabled for fq in self._observed],
            "bounds": torch.stack([fq.bounds for fq in self._observed]) if self._observed else torch.zeros(0, 2),
            "count": torch.stack([fq.count for fq in self._observed]) if self._observed else torch.zeros(0),
        }

    def load_state_dict(self, state: Mapping[str, Any], run: Run) -> None:
        """Continue where ``state_dict`` was taken; scales and zero points come with the model's own state."""
        if len(state["enabled"]) != len(self._observed):
            raise StateError(
                f"saved state has {len(state['enabled'])} activation quantizers, the model has {len(self._observed)}"
            )
        self._phase = int(state["phase"])
        set_enabled(run.model, self._phase != OFF)
        for fq in quantizers(run.model).values():
            fq.observing = self._phase == OBSERVING or (self._phase == LEARNING and not fq.calibrated)
            fq.learning = self._phase == LEARNING and fq.calibrated
        for fq, enabled, bounds, count in zip(
            self._observed, state["enabled"], state["bounds"], state["count"], strict=True
        ):
            fq.enabled = bool(enabled)
            fq.bounds.copy_(bounds)
            fq.count.copy_(count)
        if state["norms_frozen"]:
            self._freeze_norms(run.model)

    def _learn_late(self) -> None:
        """Ranges that no batch had reached when learning began are learned from their first batch on."""
        late = [fq for fq in self._observed if fq.observing]
        average_ranges(late)
        for fq in late:
            if fq.calibrated:
                fq.start_learning()

    def _calibrated(self) -> bool:
        return any(fq.calibrated for fq in self._observed) or not self._observed

    def _seen(self) -> bool:
        """Whether there was a batch: in a plain loop the first step's forward comes before its events."""
        return any(bool(fq.count > 0) for fq in self._observed) or not self._observed

    def _at(self, time: float | None) -> float | None:
        return None if time is None else self._offset + time

    def _enter(self, phase: int, model: nn.Module) -> None:
        if self._phase == phase:
            return
        self._phase = phase
        if phase == OBSERVING:
            set_observing(model, True)
            observe_weights(model)
            set_enabled(model, True)
        elif phase == LEARNING:
            start_learning(model)
        else:
            set_observing(model, False)
            enable_calibrated(model)

    def _freeze_norms(self, model: nn.Module) -> None:
        self._norms_frozen = True
        if self._norms_held:
            return
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        # The training loop calls model.train() whenever it likes: the hook comes after that, before each forward.
        self._norms_held = [norm.register_forward_pre_hook(_hold_in_eval) for norm in norms]
        for norm in norms:
            norm.eval()


def _hold_in_eval(module: nn.Module, args: tuple[Any, ...]) -> None:
    module.training = False
