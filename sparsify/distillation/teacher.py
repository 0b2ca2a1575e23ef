"""The teacher: a frozen model that reads what the student reads and answers in the student's order of labels."""

from __future__ import annotations

import copy
import inspect
import logging
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparsify.distillation.features import Tap
from sparsify.distillation.losses import named_outputs
from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.distillation.cache import AnswerCache

log = logging.getLogger(__name__)

NOT_FOR_TEACHERS = frozenset(
    {"labels", "label", "label_ids", "start_positions", "end_positions", "next_sentence_label", "num_items_in_batch"}
)
"""Inputs that only serve to compute a loss."""


def layer_key(name: str) -> str:
    """Under which name a teacher that is listened to answers with what a layer gives."""
    return f"layer {name}"


class Teacher(nn.Module):
    """Wraps a model so that it always runs in eval mode, without gradients, on its own device and in its own dtype.

    Args:
        model: The teacher. It is switched to eval mode and, where asked for, moved and cast in place.
        student: The model it will teach, to bring the teacher's labels into the student's order.
        input_keys: Inputs it gets; by default those that its ``forward`` names, labels left out (but where its decoder's inputs are
            made of them).
        device: Where it runs; by default it follows the student.
        dtype: In what it computes (bfloat16 halves its memory); by default what it is in.

    Attributes:
        is_self: It is the student's own past.
        shared: Several modifiers ask it about each batch: it keeps its last answer, for them.

    Raises:
        InputError: Its labels are not the student's, or it knows fewer tokens.
    """

    def __init__(
        self,
        model: nn.Module,
        student: nn.Module | None = None,
        *,
        input_keys: Sequence[str] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(device=device, dtype=dtype).eval()
        self.is_self = False
        self.shared = False
        self._answered: tuple[_Question, dict[str, Any]] | None = None
        self._taps: list[Tap] = []
        self._cache: AnswerCache | None = None
        self._follows = device is None
        self._input_keys = None if input_keys is None else tuple(input_keys)
        self._order = None if student is None else _checked(getattr(student, "config", None), model)

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode."""
        self.training = False
        return self

    def forward(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Outputs by name, for a batch that may hold more than the teacher reads.

        A shared one that is asked again about the same tensors gives the same answer at no cost.

        Raises:
            InputError: It answers from a cache, and the batch does not say of which examples it is made.
        """
        if self._cache is not None:
            return self._cache.answer(inputs)
        if not self.shared:
            return self._answer(args, self._chosen(inputs))
        asked = _Question(args, self._chosen(inputs))
        if self._answered is None or not asked.same_as(self._answered[0]):
            self._answered = (asked, self._answer(args, asked.inputs))
        return dict(self._answered[1])

    def _answer(self, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> dict[str, Any]:
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        chosen = {k: _moved(v, weight) for k, v in inputs.items()}
        kind = "cpu" if weight is None else weight.device.type
        with torch.no_grad(), torch.autocast(kind, enabled=False):
            outputs = named_outputs(self.model(*(_moved(a, weight) for a in args), **chosen))
        if self._order is not None and isinstance(logits := outputs.get("logits"), Tensor):
            outputs["logits"] = logits.index_select(-1, self._order.to(logits.device))
        for tap in self._taps:
            outputs |= dict(zip(tap.names, tap.take(), strict=True))
        return outputs

    def listen(self, layers: Mapping[str, nn.Module], *, offload: bool = False) -> Callable[[], None]:
        """Answer with what these layers give as well, each by its ``layer_key``.

        Args:
            layers: By name.
            offload: Keep it in the CPU's memory.

        Returns:
            Call it to stop.

        Raises:
            InputError: It answers from a cache, which lacks one of them.
        """
        if self._cache is not None:
            self._cache.check([layer_key(name) for name in layers])
            return lambda: None
        tap = Tap({layer_key(name): layer for name, layer in layers.items()}, offload=offload)
        self._taps.append(tap)
        self._answered = None

        def stop() -> None:
            tap.close()
            if tap in self._taps:
                self._taps.remove(tap)

        return stop

    def answer_from(self, cache: AnswerCache) -> Teacher:
        """Run no more: what it would answer is in ``cache``. The model goes to the CPU's memory and stays there."""
        self._cache, self._follows = cache, False
        self.model.to("cpu")
        return self

    def attach(self, student: nn.Module, input_keys: Sequence[str] | None = None) -> Teacher:
        """Go where the student is, unless a device was given, and read ``input_keys``."""
        self._answered = None
        weight = next(student.parameters(), None)
        if self._follows and weight is not None:
            self.model.to(weight.device)
        if input_keys is not None:
            self._input_keys = tuple(input_keys)
        return self

    def reads(self, inputs: Sequence[str]) -> list[str]:
        """Which of these inputs it is given."""
        return list(self._chosen(dict.fromkeys(inputs)))

    @property
    def order(self) -> list[int] | None:
        """Its class that stands for each of the student's; None where the order is the same."""
        return None if self._order is None else [int(i) for i in self._order]

    def _chosen(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if self._input_keys is not None:
            if missing := [k for k in self._input_keys if k not in inputs]:
                raise InputError(
                    f"teacher_input_keys names {', '.join(missing)}, which the batch lacks; it has {', '.join(inputs)}"
                )
            return {k: inputs[k] for k in self._input_keys}
        accepted = _accepted(self.model)
        left_out = NOT_FOR_TEACHERS - {"labels"} if _decodes_labels(self.model, inputs) else NOT_FOR_TEACHERS
        return {k: v for k, v in inputs.items() if k not in left_out and (accepted is None or k in accepted)}


class _Question:
    """What a teacher was asked; it keeps the tensors, so that their identities stay theirs."""

    def __init__(self, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> None:
        self.inputs = inputs
        self._values = [*args, *inputs.values()]
        self._versions = [
            value._version if isinstance(value, Tensor) and not value.is_inference() else 0 for value in self._values
        ]
        self._names = (len(args), *inputs)

    def same_as(self, other: _Question) -> bool:
        """Whether it holds the same tensors, unchanged, under the same names."""
        same = len(self._values) == len(other._values) and self._names == other._names
        return same and self._versions == other._versions and all(map(operator.is_, self._values, other._values))


def as_teacher(teacher: nn.Module, student: nn.Module, input_keys: Sequence[str] | None = None) -> Teacher:
    """``teacher`` as a ``Teacher`` beside the student; the student itself gives a frozen copy of it."""
    if isinstance(teacher, Teacher):
        return teacher.attach(student, input_keys)
    made = self_teacher(student) if teacher is student else Teacher(teacher, student)
    return made.attach(student, input_keys)


def self_teacher(model: nn.Module) -> Teacher:
    """A frozen copy of ``model`` as it is now."""
    teacher = Teacher(copy.deepcopy(model))
    teacher.is_self = True
    return teacher


def align_labels(student_config: Any, teacher: Any) -> Tensor | None:
    """Bring a teacher's classes into the student's order.

    Args:
        student_config: Has ``id2label``.
        teacher: A model with a ``config``, or a config.

    Returns:
        Int64 [C]: the teacher's class that stands for each of the student's; None where the order is the same, or
        where one of the two does not name its labels.

    Raises:
        InputError: They are not the same labels; the difference is listed.
    """
    ours, theirs = _labels(student_config), _labels(getattr(teacher, "config", teacher))
    if ours is None or theirs is None or ours == theirs:
        return None
    if len(ours) == len(theirs) and (_generic(ours) or _generic(theirs)):
        log.warning("the teacher or the student does not name its labels: their order is taken to be the same")
        return None
    if len(set(ours)) != len(ours) or sorted(ours) != sorted(theirs):
        raise InputError(
            f"the teacher was trained on other labels: only the student has {_set(ours, theirs)}, only the teacher has "
            f"{_set(theirs, ours)}; train a teacher on this data, or use --distill_teacher self or disable"
        )
    return torch.tensor([theirs.index(label) for label in ours])


def _checked(config: Any, teacher: nn.Module) -> Tensor | None:
    ours, theirs = (getattr(c, "vocab_size", None) for c in (config, getattr(teacher, "config", None)))
    if isinstance(ours, int) and isinstance(theirs, int) and theirs < ours:
        raise InputError(
            f"the teacher knows {theirs} tokens and the student {ours}: they must read the same token ids, so the "
            f"teacher needs the student's tokenizer"
        )
    return align_labels(config, teacher)


def _labels(config: Any) -> list[str] | None:
    names = getattr(config, "id2label", None)
    return [str(names[i]) for i in sorted(names, key=int)] if names else None


def _generic(labels: Sequence[str]) -> bool:
    return all(re.fullmatch(r"LABEL_\d+", label) for label in labels)


def _set(labels: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(label for label in labels if label not in others) or "none"


def _accepted(model: nn.Module) -> set[str] | None:
    """Names that ``forward`` takes; None where it takes anything (a wrapper)."""
    parameters = inspect.signature(model.forward).parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return None if takes_any and not named else named


def _decodes_labels(model: nn.Module, inputs: Mapping[str, Any]) -> bool:
    """Whether the batch says only by its labels what the decoder of an encoder-decoder with an output of tokens reads.

    Left out, T5 has no inputs for it, and BART takes the encoder's.
    """
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return False
    head = getattr(model, "get_output_embeddings", None)
    return not {"decoder_input_ids", "decoder_inputs_embeds"} & inputs.keys() and bool(head and head() is not None)


def _moved(value: Any, weight: Tensor | None) -> Any:
    if weight is None or not isinstance(value, Tensor):
        return value
    return value.to(weight.device, weight.dtype if value.is_floating_point() else None)
