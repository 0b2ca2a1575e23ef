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
_SOFT = ("CE", "KL", "MSE")


def convert_distillation(section: Fields) -> Draft:
    """Modifiers for a ``distillation`` section (YAML) or a ``DistillationConfig``."""
    draft = Draft()
    train = section.mapping("train")
    criterion = (train if train.has("criterion") else section).mapping("criterion")
    kind = str(criterion.config.get(TAG) or next((k for k in (LOGITS, LAYERS, SELF) if criterion.has(k)), LOGITS))
    body = criterion if TAG in criterion.config or not criterion.has(kind) else criterion.mapping(kind)
    entry = _logits(body, draft) if kind == LOGITS else _layers(body, draft) if kind == LAYERS else None
    if entry is None:
        if kind not in (LOGITS, LAYERS):
            draft.lost.append(f"{criterion.at(kind)}: a model that teaches its own earlier exits has no equivalent")
        return draft
    entry.group = "distillation"
    _times(entry, train)
    teacher = section.get("teacher_model_name_or_path")
    entry.comments.append(TEACHER if not isinstance(teacher, str) else f"{TEACHER[:-1]} {teacher}.")
    draft.entries.append(entry)
    return draft


def _logits(body: Fields, draft: Draft) -> Entry:
    weights = body.numbers("loss_weights", [0.5, 0.5])
    if len(weights) != 2 or not sum(weights):
        raise body.error("loss_weights", f"two numbers, of the labels and of the teacher, got {weights}")
    types = [name.upper() for name in body.names("loss_types", ["CE", "CE"])]
    hardness = weights[1] / sum(weights)
    entry = Entry(
        "DistillationModifier", {"hardness": hardness, "temperature": body.number("temperature", 1.0, least=1e-3)}
    )
    if abs(sum(weights) - 1.0) > 1e-9:
        entry.notes["hardness"] = f"weights {weights[0]:g} and {weights[1]:g}: here they add up to 1"
    soft = types[-1]
    if soft not in _SOFT:
        raise body.error("loss_types", f"made of {', '.join(_SOFT)}, got {soft}")
    if soft == "KL":
        entry.comments.append("KL there is a mean over classes too: weaker by the number of classes than here.")
    elif soft == "MSE" and hardness:
        draft.lost.append(f"{body.at('loss_types')}: MSE of probabilities is the KL divergence here")
    if types[0] == "MSE" and hardness < 1:
        draft.lost.append(f"{body.at('loss_types')}: the task's own loss is used, not MSE against labels")
    return entry


def _layers(body: Fields, draft: Draft) -> Entry | None:
    mappings = body.get("layer_mappings", [])
    pairs = [pair if isinstance(pair, list) else [pair] for pair in mappings] if isinstance(mappings, list) else []
    pairs = [[item[0] if isinstance(item, list) and item else item for item in pair] for pair in pairs]
    if not pairs or not all(pair and all(isinstance(name, str) for name in pair) for pair in pairs):
        raise body.error("layer_mappings", f"a list of pairs of layers, student and teacher, got {mappings!r}")
    types = set(body.names("loss_types", ["MSE"]))
    weights = body.numbers("loss_weights", [1.0 / len(pairs)] * len(pairs))
    if types != {"MSE"} or len(set(weights)) > 1:
        draft.lost.append(f"{body.path}: only MSE with one weight for all layers has an equivalent, and it has others")
        return None
    student, teacher = [pair[0] for pair in pairs], [pair[-1] for pair in pairs]
    entry = Entry("PerLayerDistillationModifier", {"gain": weights[0], "normalize": False})
    entry.fields |= {"student_layer_names": student, "teacher_layer_names": teacher}
    if not body.flag("add_origin_loss"):
        entry.comments.append("The task's loss is added here; there it was left out (add_origin_loss false).")
    return entry


def _times(entry: Entry, train: Fields) -> None:
    for name in ("start_epoch", "end_epoch"):
        if train.has(name) and train.whole(name, 0):
            entry.fields[name] = train.whole(name, 0)
