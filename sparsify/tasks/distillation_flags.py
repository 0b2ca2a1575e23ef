"""Distillation flags to entries of a recipe. Pure: arguments in, a draft out."""

from __future__ import annotations

from collections.abc import Sequence

from sparsify.errors import InputError
from sparsify.recipe.convert.distillation import COMPARISONS
from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.tasks.distillation_arguments import DistillationArguments

_GROUP = "distillation"


def distillation_draft(flags: DistillationArguments, outputs: Sequence[str] = ("logits",)) -> Draft:
    """What the flags stand for.

    Args:
        flags: The flags.
        outputs: Names of the outputs that the task's models have; ``--distill_loss_weight`` compares hidden states, but
            those of question answering, which has two, themselves, as its script did.

    Raises:
        InputError: Values that cannot be.
    """
    draft = Draft()
    if flags.distill_loss_weight < 0:
        raise InputError(f"--distill_loss_weight is at least 0, got {flags.distill_loss_weight:g}")
    if flags.apply_distillation:
        draft.entries.append(_outputs(flags))
    if flags.distill_loss_weight > 0 and len(outputs) > 1:
        draft.entries.append(_spans(flags, outputs))
    elif flags.distill_loss_weight > 0:
        draft.entries.append(_hidden_state(flags))
    return draft


def _outputs(flags: DistillationArguments) -> Entry:
    labels, teacher = _weights(flags)
    kind = _kind(flags)
    if flags.temperature <= 0:
        raise InputError(f"--temperature is above 0, got {flags.temperature:g}")
    total = labels + teacher
    entry = Entry("DistillationModifier", {"hardness": teacher / total, "temperature": flags.temperature}, group=_GROUP)
    if abs(total - 1.0) > 1e-9:
        entry.notes["hardness"] = f"weights {labels:g} and {teacher:g}: here they add up to 1"
    if COMPARISONS[kind] != "kl_divergence":
        entry.fields["comparison"] = COMPARISONS[kind]
    return entry


def _weights(flags: DistillationArguments) -> tuple[float, float]:
    weights = [0.5, 0.5] if flags.loss_weights is None else flags.loss_weights
    if len(weights) != 2 or min(weights) < 0 or sum(weights) == 0:
        given = " ".join(f"{w:g}" for w in weights)
        raise InputError(f"--loss_weights takes two numbers, of the labels and of the teacher, got {given}")
    return weights[0], weights[1]


def _kind(flags: DistillationArguments) -> str:
    types = [name.upper() for name in flags.loss_types or ["CE", "CE"]]
    if len(types) != 2 or types[1] not in COMPARISONS:
        raise InputError(
            f"--loss_types takes two names, of the labels' loss (CE) and of the teacher's ({', '.join(COMPARISONS)}),"
            f" got {' '.join(types)}"
        )
    if types[0] != "CE":
        raise InputError(
            f"--loss_types {' '.join(types)}: the loss on labels is the task's own, which is called CE here"
        )
    return types[1]


def _spans(flags: DistillationArguments, outputs: Sequence[str]) -> Entry:
    if flags.apply_distillation:
        raise InputError(
            f"--distill_loss_weight and --apply_distillation both compare {' and '.join(outputs)} here: give one of them"
        )
    note = f"the task's own loss is left out, and a weight ({flags.distill_loss_weight:g}) of all that is left is none"
    fields = {"hardness": 1.0, "temperature": 2.0, "distill_output_keys": list(outputs)}
    return Entry("DistillationModifier", fields, notes={"hardness": note}, group=_GROUP)


def _hidden_state(flags: DistillationArguments) -> Entry:
    alone = not flags.apply_distillation
    note = "the task's own loss is left out, and so the head keeps its weights" if alone else "the loss above stays"
    return Entry(
        "HiddenStateDistillationModifier",
        {"gain": flags.distill_loss_weight, "task_weight": 0.0 if alone else 1.0},
        notes={"task_weight": note},
        group=_GROUP,
    )
