"""Flags of distillation: those that stand for a recipe, and where the teacher's outputs are kept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from sparsify.tasks.arguments import flag


@dataclass
class DistillationArguments:
    """Distillation without a recipe file, as the scripts of Neural Compressor and optimum-intel had it."""

    apply_distillation: bool = flag(False, "Learn from a teacher's outputs beside the labels; name the teacher.")
    distill_loss_weight: float = flag(
        0.0,
        "Train on this times the squared error to the teacher's last hidden state, in place of the task's loss (question"
        " answering: on the KL divergence from its starts and ends).",
    )
    teacher_model_name_or_path: str | None = flag(
        None,
        "Teacher, as --distill_teacher: a folder, stub or Hub id, or self, the model as it is at the start (default"
        " with --distill_loss_weight).",
    )
    loss_types: list[str] | None = flag(  # noqa: RUF009 - the default is None
        None,
        "Losses of --apply_distillation: the labels' (CE, the task's own) and the teacher's (CE, KL, MSE of logits).",
    )
    loss_weights: list[float] | None = flag(None, "Their weights (default: 0.5 0.5).")  # noqa: RUF009
    temperature: float = flag(1.0, "Softmax temperature of --apply_distillation.")

    generate_teacher_logits: bool = flag(
        False,
        "Ask the teacher about all training data once, keep what it says on disk, and use it in every later step"
        " and run.",
    )
    teacher_cache_dir: str | None = flag(
        None, "Folder for that (default: teachers in SPARSIFY_CACHE, ~/.cache/sparsify)."
    )
    teacher_logits_dtype: Literal["float32", "float16", "bfloat16"] = flag(
        "float32", "In what it is stored: float32 is exact, the others round and take half the space."
    )

    @property
    def asked(self) -> bool:
        """Whether there is a recipe to compile."""
        return self.apply_distillation or self.distill_loss_weight != 0

    def idle(self, explicit: frozenset[str]) -> str | None:
        """What to say of flags that were given and have no effect."""
        names = sorted({"loss_types", "loss_weights", "temperature"} & explicit)
        if self.apply_distillation or not names:
            return None
        return f"without --apply_distillation --{', --'.join(names)} has no effect"


FLAGS = tuple(field.name for field in dataclasses.fields(DistillationArguments))
