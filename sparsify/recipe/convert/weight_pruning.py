"""Neural Compressor's ``WeightPruningConfig`` as ``WeightPruningModifier`` and its kin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.recipe.convert.names import check_patterns, is_everything, selectors, specifics
from sparsify.recipe.convert.spans import Span, span_of, steps
from sparsify.recipe.convert.values import Fields

SCORES = ("magnitude", "gradient", "snip", "snip_momentum")
TYPES = (
    *SCORES,
    *(f"{score}_progressive" for score in SCORES),
    "pattern_lock",
    "block_mask",
    "retrain_free",
    "sparse_gpt",
)
SCOPES = ("global", "local")
DECAYS = ("exp", "linear", "cos", "cube")
KEYS = frozenset(
    [
        "target_sparsity",
        "pruning_type",
        "pattern",
        "op_names",
        "excluded_op_names",
        "start_step",
        "end_step",
        "pruning_scope",
        "pruning_frequency",
        "min_sparsity_ratio_per_op",
        "max_sparsity_ratio_per_op",
        "sparsity_decay_type",
        "pruning_op_types",
        "pruning_configs",
        "backend",
        "low_memory_usage",
        "reg_type",
        "reg_coeff",
        "parameters",
        "criterion_reduce_type",
        "criterion_type",
        "resume_from_pruned_checkpoint",
        "lock_init_sparsity",
    ]
)
"""All that ``WeightPruningConfig`` knows."""

_OP_TYPES = ("Conv", "Linear")
_GIVEN_UP = {
    "block_mask": "trains one mask value per block; score_type snip_momentum comes nearest",
    "retrain_free": "chooses channels from a few batches without training",
    "sparse_gpt": "prunes layer by layer from calibration data",
}
_SPARSITIES = {"target_sparsity": 0.9, "max_sparsity_ratio_per_op": 0.98}
_UNREAD = {
    "pattern_lock": ("pruning_op_types",),
    "mha": (
        "op_names",
        "excluded_op_names",
        "min_sparsity_ratio_per_op",
        "max_sparsity_ratio_per_op",
        "lock_init_sparsity",
        "reg_type",
    ),
}
"""What is not carried over beside a type or a pattern."""
_WITHOUT_MEANING = ("backend", "criterion_type", "resume_from_pruned_checkpoint", "low_memory_usage")


def convert_pruning(config: Mapping[str, Any], span: Span | None = None, path: str = "") -> Draft:
    """Modifiers for one ``WeightPruningConfig`` with its ``pruning_configs``.

    Args:
        config: Its keys and values. A local configuration takes from it what it does not say itself, but for the
            names.
        span: When to prune where the configuration does not say.
        path: Where it stands, for errors.

    Raises:
        RecipeError: A value that cannot be, with its key.
    """
    whole = Fields(config, path)
    local = whole.mappings("pruning_configs")
    draft = Draft(lost=whole.unknown(KEYS))
    if not any(fields.config for fields in local):
        return _one(config, [], span or Span(), path, draft)
    common = {key: value for key, value in config.items() if key not in ("pruning_configs", "op_names")}
    if whole.names("op_names"):
        draft.lost.append("op_names beside pruning_configs: each of those has its own")
    patterns = [fields.names("op_names") for fields in local]
    for index, fields in enumerate(local):
        others = [p for k, theirs in enumerate(patterns) if k != index for p in specifics(patterns[index], theirs)]
        _one({**common, **fields.config}, others, span or Span(), fields.path, draft)
    return draft


def _one(config: Mapping[str, Any], others: Sequence[str], span: Span, path: str, draft: Draft) -> Draft:
    fields = Fields(config, path)
    kind = fields.choice("pruning_type", "snip_momentum", TYPES)
    if kind in _GIVEN_UP:
        draft.lost.append(f"{fields.at('pruning_type')} {kind}: {_GIVEN_UP[kind]}")
        return draft
    if kind == "pattern_lock":
        draft.entries.append(_lock(fields, others))
    elif not min(fields.number(key, default, most=1) for key, default in _SPARSITIES.items()):
        draft.lost.append(f"{fields.at('target_sparsity')}: 0, or the most per layer is 0: prunes nothing")
        return draft
    elif fields.get("pattern") == "mha":
        draft.entries.append(heads(fields, span))
    else:
        draft.entries.append(_gradual(fields, kind, others, span))
    whole = kind if kind == "pattern_lock" else fields.get("pattern")
    unread = (*_WITHOUT_MEANING, *_UNREAD.get(str(whole), ()))
    idle = [f"{fields.at(key)}: has no meaning here" for key in unread if fields.get(key)]
    draft.lost += [line for line in [*fields.unknown(KEYS), *idle] if line not in draft.lost]
    return draft


def _gradual(fields: Fields, kind: str, others: Sequence[str], span: Span) -> Entry:
    entry = Entry("WeightPruningModifier", {})
    score = kind.removesuffix("_progressive")
    _where(entry, fields, others)
    mask = pattern_of(entry, fields, "4x1")
    least, most = _bounds(fields)
    span = span_of(fields, span, needs_gradient=score != "magnitude")
    if fields.flag("lock_init_sparsity"):
        entry.fields["init_sparsity"] = "__FROM_PARAM__"
    entry.fields |= {
        "final_sparsity": _final(entry, fields, mask, most),
        **span.fields(),
        "inter_func": fields.choice("sparsity_decay_type", "exp", DECAYS),
        "mask_type": mask,
        "score_type": score,
        "pruning_scope": fields.choice("pruning_scope", "global", SCOPES),
    }
    if span.note:
        entry.notes["end_epoch"] = span.note
    if kind != score:
        entry.fields["progressive"] = True
    if (reduce := fields.choice("criterion_reduce_type", "mean", ("mean", "sum", "max"))) != "mean":
        entry.fields["block_reduce"] = reduce
    if least:
        entry.fields["min_layer_sparsity"] = min(least, entry.fields["final_sparsity"])
    if (most := max(most, entry.fields["final_sparsity"])) != 0.98:
        entry.fields["max_layer_sparsity"] = most
    _lasso(entry, fields, mask)
    return entry


def _where(entry: Entry, fields: Fields, others: Sequence[str]) -> None:
    names, types = fields.names("op_names"), fields.names("pruning_op_types", _OP_TYPES)
    check_patterns([*names, *fields.names("excluded_op_names")], fields.path)
    if not is_everything(names):
        entry.fields["params"] = selectors(names)
        entry.fields["on_misfit"] = "skip"
        entry.notes["on_misfit"] = "layers that the pattern does not divide are left out"
    if "params" in entry.fields or set(types) != set(_OP_TYPES):
        entry.fields["layer_types"] = types
    gone = [*dict.fromkeys([*fields.names("excluded_op_names"), *others])]
    if gone:
        entry.fields["exclude"] = selectors(gone)
    if others:
        entry.notes["exclude"] = f"{', '.join(others)}: another entry, which names less, prunes them"


def pattern_of(entry: Entry, fields: Fields, default: str) -> str:
    """The mask type of ``pattern``; the entry gets a note where it is written differently here.

    Raises:
        RecipeError: It is none.
    """
    value = str(fields.get("pattern", default)).strip().removeprefix("tile_pattern_")
    if block := re.fullmatch(r"([1-9]\d*|channel)x([1-9]\d*|channel)", value):
        return "unstructured" if block.groups() == ("1", "1") else value
    match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", value)
    if match is None or int(match[1]) >= int(match[2]):
        raise fields.error("pattern", f"NxM ('4x1', '1xchannel'), N:M ('2:4') or mha, got {value!r}")
    pruned, group = int(match[1]), int(match[2])
    kept = f"{group - pruned}:{group}"
    if kept != value:
        entry.notes["mask_type"] = f"{value} there prunes {pruned} of every {group}, here N:M says how many are kept"
    return kept


def _bounds(fields: Fields) -> tuple[float, float]:
    least = fields.number("min_sparsity_ratio_per_op", 0.0, most=1.0)
    most = fields.number("max_sparsity_ratio_per_op", 0.98, most=1.0)
    if least > most:
        wanted = f"at most max_sparsity_ratio_per_op {most:g}, got {least:g}"
        raise fields.error("min_sparsity_ratio_per_op", wanted)
    return least, most


def _final(entry: Entry, fields: Fields, mask: str, most: float) -> float:
    target = fields.number("target_sparsity", 0.9, most=1.0)
    final = min(target, most)
    if ":" in mask:
        kept, group = (int(part) for part in mask.split(":"))
        final = 1.0 - kept / group
    if final != target:
        entry.notes["final_sparsity"] = f"target_sparsity was {target:g}: " + (
            "N:M has exactly this one" if ":" in mask else f"no layer may have more than {most:g}"
        )
    if final >= 1.0:
        raise fields.error("target_sparsity", f"below 1, got {target:g}")
    return final


def _lasso(entry: Entry, fields: Fields, mask: str) -> None:
    coefficient = fields.mapping("parameters").number("reg_coeff", 0.0)
    coefficient = fields.number("reg_coeff", coefficient)
    if fields.get("reg_type") is None or not coefficient:
        return
    fields.choice("reg_type", "", ("group_lasso",))
    if ":" in mask:
        raise fields.error("reg_type", f"group_lasso of whole blocks such as 4x1, not of {mask}")
    entry.fields["group_lasso"] = coefficient
    entry.notes["group_lasso"] = (
        "shrinks blocks by their own norm and times the learning rate, there by the gradient's norm and without it"
    )


def _lock(fields: Fields, others: Sequence[str]) -> Entry:
    entry = Entry("ConstantPruningModifier", {}, comments=["Holds what is zero at the start, weight by weight."])
    check_patterns(names := fields.names("op_names"), fields.path)
    if not is_everything(names):
        entry.fields["params"] = selectors(names)
    start = fields.whole("start_step", 0)
    entry.fields["start_epoch"] = steps(start) if start else 0
    gone = [*fields.names("excluded_op_names"), *others]
    if gone:
        entry.comments.append(f"Zeros of {', '.join(gone)} are held too, which were left out there.")
    return entry


def heads(fields: Fields, span: Span) -> Entry:
    """Whole attention heads: pattern ``mha``."""
    entry = Entry("StructuredPruningModifier", {}, comments=["Whole attention heads."])
    shape = fields.choice("sparsity_decay_type", "exp", DECAYS)
    if shape == "exp":
        entry.notes["inter_func"] = "exp there; cubic is fast at first too"
    score = fields.choice("pruning_type", "snip_momentum", TYPES)
    if (final := fields.number("target_sparsity", 0.9, most=1.0)) == 1.0:
        raise fields.error("target_sparsity", f"below 1, got {final:g}")
    span = span_of(fields, span, needs_gradient=not score.startswith("magnitude"))
    if span.note:
        entry.notes["end_epoch"] = span.note
    entry.fields |= {
        "mask_type": "heads",
        "init_sparsity": 0.0,
        "final_sparsity": final,
        **span.fields(),
        "inter_func": "cubic" if shape == "exp" else shape,
        "score_type": "magnitude" if score.startswith("magnitude") else "taylor",
        "global_sparsity": fields.choice("pruning_scope", "global", SCOPES) == "global",
    }
    return entry
