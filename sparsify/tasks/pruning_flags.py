"""Pruning flags to entries of a recipe. Pure: arguments in, a draft out."""

from __future__ import annotations

from typing import Any

from sparsify.errors import InputError, RecipeError
from sparsify.recipe.convert.dialects import drafted
from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.recipe.convert.read import file_source
from sparsify.recipe.convert.spans import Span
from sparsify.recipe.convert.weight_pruning import convert_pruning
from sparsify.tasks.length import Length
from sparsify.tasks.pruning_arguments import PruningArguments

UPDATES = 40
"""Updates over the time of pruning, where no interval is given."""
UNITS = {"prune_mha_sparsity": "heads", "prune_ffn2_sparsity": "neurons"}
"""Flags of structured pruning, and the units that each prunes."""

_FLAGS = {"pattern": "pruning_pattern"}
_SPARSITY = {"do_prune": 0.8, "apply_pruning": 0.1}


def pruning_draft(flags: PruningArguments, length: Length) -> Draft:
    """What the flags stand for.

    Args:
        flags: At least one that asks for pruning.
        length: Of the run.

    Raises:
        InputError: Flags that contradict each other or have impossible values.
        RecipeError: ``--pruning_config`` is not what it should be.
    """
    span = span_of_flags(flags, length)
    draft = Draft()
    if flags.structured:
        draft.add(_structured(flags, span))
    if flags.prunes and all(getattr(flags, name) is None for name in UNITS):
        draft.add(_weights(flags, span))
    return draft


def span_of_flags(flags: PruningArguments, length: Length) -> Span:
    """When to prune: from the warm-up's end to the cool-down's begin, unless steps are given.

    Raises:
        InputError: Nothing is left between them, or both count in different units.
    """
    warm, cool = flags.sparsity_warm_epochs, flags.cooldown_epochs
    if min(warm, cool) < 0:
        raise InputError("--sparsity_warm_epochs and --cooldown_epochs are at least 0")
    for name, step, epochs in (("start_step", flags.start_step, warm), ("end_step", flags.end_step, cool)):
        if step is not None and epochs:
            other = "sparsity_warm_epochs" if name == "start_step" else "cooldown_epochs"
            raise InputError(f"--{name} {step} and --{other} {epochs:g} say the same thing twice: give one of them")
    if length.epochs is None:
        if cool:
            raise InputError(
                f"--cooldown_epochs {cool:g} with --max_steps: the run's length in epochs is not known; give --end_step"
            )
        return Span(warm or 0, "100%", f"{100 / UPDATES:g}%", "")
    end = length.epochs - cool
    if end <= warm:
        raise InputError(
            f"--num_train_epochs {length.epochs:g} leaves no time to prune: {warm:g} epochs of warm-up and {cool:g} of"
            " cool-down; give more epochs or less of these"
        )
    return Span(warm or 0, end, (end - warm) / UPDATES, "")


def _config(flags: PruningArguments) -> dict[str, Any]:
    """The ``WeightPruningConfig`` of the flags."""
    given = {
        "target_sparsity": flags.target_sparsity,
        "pruning_type": flags.pruning_type,
        "pattern": flags.pruning_pattern,
        "pruning_scope": flags.pruning_scope,
        "pruning_frequency": _frequency(flags),
        "start_step": flags.start_step,
        "end_step": flags.end_step,
    }
    target = _SPARSITY["do_prune" if flags.do_prune or not flags.apply_pruning else "apply_pruning"]
    return {"target_sparsity": target} | {key: value for key, value in given.items() if value is not None}


def _frequency(flags: PruningArguments) -> int | None:
    if flags.pruning_frequency is not None and flags.pruning_frequency > 0:
        return flags.pruning_frequency
    if flags.end_step and not flags.sparsity_warm_epochs:
        return max(1, (flags.end_step - (flags.start_step or 0)) // UPDATES)
    return None


def _weights(flags: PruningArguments, span: Span) -> Draft:
    config = _config(flags)
    if flags.pruning_config is not None:
        dialect, draft = drafted(file_source(flags.pruning_config), span, config)
        comment = f"From {flags.pruning_config}: {dialect}."
    else:
        _exact(flags)
        draft, comment = _converted(config, span), ""
    for entry in draft.entries:
        entry.comments = [comment, *entry.comments] if comment else entry.comments
    return draft


def _converted(config: dict[str, Any], span: Span) -> Draft:
    try:
        return convert_pruning(config, span)
    except RecipeError as error:  # of keys that nobody wrote: flags were
        key, message = error.path or "", error.problems[0].message
        flag = _FLAGS.get(key, key)
        raise InputError(f"--{flag} {message.removeprefix(key).strip()}") from error


def _exact(flags: PruningArguments) -> None:
    """Refuse a target that an N:M pattern cannot have."""
    pattern, target = flags.pruning_pattern or "", flags.target_sparsity
    pruned, colon, group = pattern.partition(":")
    if colon and target is not None and pruned.isdigit() and group.isdigit() and 0 < int(pruned) < int(group):
        ratio = int(pruned) / int(group)
        if abs(target - ratio) > 1e-9:
            raise InputError(
                f"--target_sparsity {target:g} with --pruning_pattern {pattern}: {pruned} of every {group} weights are"
                f" pruned, which is exactly {ratio:g}; give that or leave it out"
            )


def _structured(flags: PruningArguments, span: Span) -> Draft:
    draft = Draft()
    for name, kind in UNITS.items():
        sparsity = getattr(flags, name)
        if sparsity is None:
            continue
        if not 0 < sparsity < 1:
            raise InputError(f"--{name} lies between 0 and 1, got {sparsity:g}")
        fields = {"mask_type": kind, "init_sparsity": 0.0, "final_sparsity": sparsity, **span.fields()}
        draft.entries.append(
            Entry("StructuredPruningModifier", {**fields, "inter_func": "cubic", "score_type": "taylor"})
        )
    if draft.entries and (other := _of_weights(flags)):
        raise InputError(f"--{other} and --{_first_unit(flags)} would prune the same layers: give one of them")
    if flags.auto_slim:
        if not draft.entries and not flags.prunes:
            raise InputError(
                "--auto_slim removes what was pruned as a whole: give --prune_mha_sparsity or --prune_ffn2_sparsity"
            )
        fields = {"structure_type": "all", "strict": bool(draft.entries)}
        draft.entries.append(Entry("LayerThinningModifier", fields, group="structure"))
    return draft


def _of_weights(flags: PruningArguments) -> str | None:
    """A flag that speaks of single weights or blocks, if there is one."""
    names = ("pruning_config", "pruning_pattern", "target_sparsity")
    return next((name for name in names if getattr(flags, name) is not None), None)


def _first_unit(flags: PruningArguments) -> str:
    return next(name for name in UNITS if getattr(flags, name) is not None)
