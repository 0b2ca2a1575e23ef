"""Neural Compressor's and optimum-intel's distillation as modifiers."""

from __future__ import annotations

from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.recipe.convert.values import TAG, Fields

LOGITS, LAYERS, SELF = (
    "KnowledgeDistillationLoss",
    "IntermediateLayersKnowledgeDistillationLoss",
    "SelfKnowledgeDistillationLoss",
)
TEACHER = "Name the teacher on the command line: --distill_teacher."
COMPARISONS = {"CE": "cross_entropy", "KL": "kl_divergence", "MSE": "squared_error"}
"""Losses between student and teacher by the names that Neural Compressor has for them."""
_OF_TRAIN = ("start_epoch", "end_epoch", "criterion")
_OF_SECTION = ("train", "criterion", "teacher_model", "version")


def convert_distillation(section: Fields) -> Draft:
    """Modifiers for a ``distillation`` section (YAML) or a ``DistillationConfig``."""
    draft = Draft()
    train = section.mapping("train")
    criterion = (train if train.has("criterion") else section).mapping("criterion")
    kind = str(criterion.config.get(TAG) or next((k for k in (LOGITS, LAYERS, SELF) if criterion.has(k)), LOGITS))
    body = criterion if TAG in criterion.config or not criterion.has(kind) else criterion.mapping(kind)
    if kind not in (LOGITS, LAYERS):
        draft.lost.append(f"{criterion.at(kind)}: a model that teaches its own earlier exits has no equivalent")
        return draft
    draft.entries = [_logits(body, draft)] if kind == LOGITS else _layers(body, draft)
    teacher = section.get("teacher_model_name_or_path")
    for entry in draft.entries:
        entry.group = "distillation"
        _times(entry, train)
        entry.comments.append(TEACHER if not isinstance(teacher, str) else f"{TEACHER[:-1]} {teacher}.")
    flags = [section.at("optimizer")] if section.has("optimizer") else []
    flags += [train.at(str(key)) for key in train.config if key not in _OF_TRAIN]
    draft.lost += [f"{path}: the training command's flags say it" for path in flags]
    draft.lost += [*body.unknown(), *section.unknown(_OF_SECTION)]
    return draft


def _logits(body: Fields, draft: Draft) -> Entry:
    weights = body.numbers("loss_weights", [0.5, 0.5])
    if len(weights) != 2 or not sum(weights):
        raise body.error("loss_weights", f"two numbers, of the labels and of the teacher, got {weights}")
    types = [name.upper() for name in body.names("loss_types", ["CE", "CE"])]
    if len(types) != 2 or types[1] not in COMPARISONS:
        raise body.error("loss_types", f"two names, the second one of {', '.join(COMPARISONS)}, got {types}")
    hardness = weights[1] / sum(weights)
    entry = Entry(
        "DistillationModifier", {"hardness": hardness, "temperature": body.number("temperature", 1.0, least=1e-3)}
    )
    if abs(sum(weights) - 1.0) > 1e-9:
        entry.notes["hardness"] = f"weights {weights[0]:g} and {weights[1]:g}: here they add up to 1"
    if types[1] == "KL":
        entry.comments.append("KL there is a mean over classes too: weaker by the number of classes than here.")
    else:
        entry.fields["comparison"] = COMPARISONS[types[1]]
    if types[1] == "MSE":
        entry.notes["comparison"] = "logits are compared here"
    if types[0] != "CE" and hardness < 1:
        draft.lost.append(f"{body.at('loss_types')}: the task's own loss is used, not {types[0]} against labels")
    return entry


def _layers(body: Fields, draft: Draft) -> list[Entry]:
    """An entry for each weight that layers have."""
    pairs = _pairs(body)
    types = [name.upper() for name in body.names("loss_types", ["MSE"] * len(pairs))]
    weights = body.numbers("loss_weights", [1.0 / len(pairs)] * len(pairs))
    for key, values in (("loss_types", types), ("loss_weights", weights)):
        if len(values) != len(pairs):
            raise body.error(key, f"as many as layer_mappings, {len(pairs)}, got {len(values)}")
    found: dict[float, Entry] = {}
    for (student, teacher), kind, weight in zip(pairs, types, weights, strict=True):
        if kind != "MSE":
            draft.lost.append(f"{body.at('loss_types')}: {kind} of {student} and {teacher}: only MSE has an equivalent")
        elif weight:
            entry = found.setdefault(
                weight, Entry("PerLayerDistillationModifier", {"gain": weight, "normalize": False})
            )
            entry.fields.setdefault("student_layer_names", []).append(student)
            entry.fields.setdefault("teacher_layer_names", []).append(teacher)
    if not body.flag("add_origin_loss"):
        for entry in found.values():
            entry.comments.append("The task's loss is added here; there it was left out (add_origin_loss false).")
    return list(found.values())


def _pairs(body: Fields) -> list[tuple[str, str]]:
    """Layers of student and teacher; a name alone stands for both, and what is done to an output is left out."""
    given = body.get("layer_mappings", [])
    found = []
    for item in given if isinstance(given, list) else []:
        pair = [
            part[0] if isinstance(part, list) and part else part
            for part in (item if isinstance(item, list) else [item])
        ]
        if len(pair) not in (1, 2) or not all(isinstance(name, str) for name in pair):
            raise body.error("layer_mappings", f"a list of pairs of layers, student and teacher, got {item!r} in it")
        found.append((pair[0], pair[-1]))
    if not found:
        raise body.error("layer_mappings", f"a list of pairs of layers, student and teacher, got {given!r}")
    return found


def _times(entry: Entry, train: Fields) -> None:
    for name in ("start_epoch", "end_epoch"):
        if train.has(name) and train.whole(name, 0):
            entry.fields[name] = train.whole(name, 0)
