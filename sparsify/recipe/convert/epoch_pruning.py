"""Pruning of Neural Compressor 1.x, ``weight_compression`` counted in epochs, and its successor's names for steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.recipe.convert.values import TAG, Fields
from sparsify.recipe.convert.weight_pruning import convert_pruning, pattern_of

RENAMED = {
    "prune_type": "pruning_type",
    "prune_domain": "pruning_scope",
    "update_frequency_on_step": "pruning_frequency",
    "prune_layer_type": "pruning_op_types",
    "names": "op_names",
    "max_sparsity_ratio_per_layer": "max_sparsity_ratio_per_op",
    "min_sparsity_ratio_per_layer": "min_sparsity_ratio_per_op",
}
"""Keys of ``weight_compression_pytorch`` by what ``WeightPruningConfig`` calls them."""

_LEAST = 1e-6  # a sparsity lies between 0 and 1, both excluded
_NO_EQUIVALENT = {
    "gradient_sensitivity": "it removes heads by their sensitivity; StructuredPruningModifier (mask_type heads,"
    " score_type taylor) does that here",
}
_TYPES = ("basic_magnitude", "pattern_lock", "group_lasso", *_NO_EQUIVALENT)


def convert_steps(compression: Fields) -> Draft:
    """``weight_compression_pytorch`` or ``weight_compression_v2``: today's fields under older names, in steps."""
    common = _renamed(compression, [])
    gone = common.get("excluded_op_names", [])
    pruners = [_renamed(fields, gone) for fields in compression.mappings("pruners")]
    return convert_pruning({**common, "pruning_configs": pruners}, path=compression.path)


def _renamed(fields: Fields, gone: Sequence[str]) -> dict[str, Any]:
    """Under today's names; what a pruner excludes in addition is added to what all exclude."""
    left = {TAG, "pruners", "excluded_names", "extra_excluded_names"}
    found = {RENAMED.get(key, key): value for key, value in fields.config.items() if key not in left}
    excluded = [*fields.names("excluded_names", gone), *fields.names("extra_excluded_names")]
    return {**found, "excluded_op_names": list(dict.fromkeys(excluded))} if excluded else found


def convert_epochs(compression: Fields) -> Draft:
    """``weight_compression``: each pruner with what it does not say itself taken from the whole."""
    draft = Draft()
    common = {key: value for key, value in compression.config.items() if key != "pruners"}
    pruners = compression.mappings("pruners")
    if not pruners:
        raise compression.error("pruners", "a list of at least one !Pruner, got none")
    for fields in pruners:
        own = {key: value for key, value in fields.config.items() if value is not None}
        merged = Fields({**common, **own}, fields.path)
        kind = merged.choice("prune_type", "basic_magnitude", _TYPES)
        if kind in _NO_EQUIVALENT:
            draft.lost.append(f"{fields.at('prune_type')} {kind}: {_NO_EQUIVALENT[kind]}")
            continue
        locks = kind == "pattern_lock"
        draft.entries.append(_lock(merged) if locks else _gradual(merged, kind, len(pruners), draft))
        for key in ("method", "alpha", "initial_sparsity", "target_sparsity", "end_epoch", "update_frequency"):
            merged.get(key)
        draft.lost += [line for line in merged.unknown() if line not in draft.lost]
    return draft


def _lock(fields: Fields) -> Entry:
    entry = Entry("ConstantPruningModifier", {}, comments=["Holds what is zero at the start, weight by weight."])
    _names(entry, fields, 1)
    entry.fields["start_epoch"] = fields.whole("start_epoch", 0)
    fields.get("parameters")
    fields.get("pattern")
    return entry


def _gradual(fields: Fields, kind: str, pruners: int, draft: Draft) -> Entry:
    entry = Entry("WeightPruningModifier", {})
    _names(entry, fields, pruners)
    _schedule(entry, fields)
    mask = pattern_of(entry, fields, "1x1")
    entry.fields |= {"mask_type": mask, "score_type": "magnitude", "pruning_scope": "local", "max_layer_sparsity": 1.0}
    parameters = fields.mapping("parameters")
    strength = parameters.number("alpha", fields.number("alpha", 0.0))
    draft.lost += parameters.unknown()
    if kind == "group_lasso" and strength:
        entry.fields["group_lasso"] = strength
        entry.notes["group_lasso"] = "shrinks blocks by their own norm and times the learning rate"
    return entry


def _names(entry: Entry, fields: Fields, pruners: int) -> None:
    """Names there are those of parameters, exact."""
    if names := fields.names("names"):
        entry.fields["params"] = names
    elif pruners > 1:
        entry.comments.append("This pruner names no parameters: it takes all, also what others name.")


def _schedule(entry: Entry, fields: Fields) -> None:
    """A step up at each ``update_frequency`` epochs, the first of them ``frequency`` epochs after the one before start.

    At epoch e it is ``initial + (target - initial) * (e - start + 1) // f * f / (end - start + 1)``.
    """
    start, end = fields.whole("start_epoch", 0), fields.whole("end_epoch", 4)
    initial, target = (
        fields.number("initial_sparsity", 0.0, most=1.0),
        fields.number("target_sparsity", 0.5, _LEAST, 1 - _LEAST),
    )
    every = max(1, int(fields.number("update_frequency", 1.0)))
    if end < start:
        raise fields.error("end_epoch", f"at least start_epoch {start}, got {end}")
    length = end - start + 1
    if every > length:
        every = length
    first = initial if start == end else initial + (target - initial) * every / length
    begin = end if start == end else start + every - 1
    entry.fields |= {
        "init_sparsity": 0.0 if begin == end else first,
        "final_sparsity": target,
        "start_epoch": begin,
        "end_epoch": end,
        "update_frequency": every,
        "inter_func": "linear",
    }
    if start != end:
        entry.notes["init_sparsity"] = (
            f"{initial:g} to {target:g} in equal steps at epochs {begin} to {end}: the first is taken at once"
        )
    if length % every:
        entry.notes["end_epoch"] = f"{every} epochs do not divide {length}: there the last step came at epoch {end + 1}"
