"""Neural Compressor's quantization as ``QuantizationModifier`` and ``PostTrainingQuantizationModifier``."""

from __future__ import annotations

from typing import Any

from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.recipe.convert.values import Fields

QAT, STATIC, DYNAMIC, AUTO = (
    "quant_aware_training",
    "post_training_static_quant",
    "post_training_dynamic_quant",
    "post_training_auto_quant",
)
_SHORT = {"aware_training": QAT, "static": STATIC, "dynamic": DYNAMIC, "auto": AUTO}
APPROACHES = (QAT, STATIC, DYNAMIC, AUTO, *_SHORT)
_OF_LAYERS = ("op_wise", "op_name_dict", "op_type_dict")
_NO_EQUIVALENT = (
    "accuracy_criterion",
    "backend",
    "device",
    "diagnosis",
    "domain",
    "excluded_precisions",
    "inputs",
    "optimization",
    "outputs",
    "quant_format",
    "quant_level",
    "recipes",
    "reduce_range",
    "tuning_criterion",
)
_AFTERWARDS = "Quantizes once the weights are final; give --one_shot where nothing trains."


def convert_quantization(section: Fields) -> Draft:
    """A modifier for a ``quantization`` section, or for the dictionary of a quantization config."""
    draft = Draft()
    approach = section.choice("approach", STATIC, APPROACHES)
    approach = _SHORT.get(approach, approach)
    if approach == AUTO:
        draft.lost.append(f"{section.at('approach')} {approach}: static and dynamic by turns; static is written")
    entry = _aware(section, draft) if approach == QAT else _post_training(section, approach == DYNAMIC, draft)
    draft.entries.append(entry)
    for key in filter(section.has, _OF_LAYERS):
        draft.lost.append(
            f"{section.at(key)}: settings of single layers; see scheme_overrides and ignore of {entry.type}"
        )
    if section.has("model_wise"):
        _model_wise(section.mapping("model_wise"), entry.type, draft)
    gone = [key for key in _NO_EQUIVALENT if key not in entry.fields and section.has(key)]
    draft.lost += [f"{section.at(key)}: has no equivalent" for key in gone]
    draft.lost += section.unknown()
    return draft


def _aware(section: Fields, draft: Draft) -> Entry:
    train = section.mapping("train")
    entry = Entry("QuantizationModifier", {"start_epoch": train.whole("start_epoch", 0)}, group="quantization")
    if section.flag("reduce_range"):
        entry.fields["reduce_range"] = True
    rest = [key for key in train.config if key != "start_epoch"]
    draft.lost += [f"{train.at(str(key))}: the training command's flags say it" for key in rest]
    return entry


def _post_training(section: Fields, dynamic: bool, draft: Draft) -> Entry:
    fields: dict[str, Any] = {"approach": "dynamic" if dynamic else "static"}
    entry = Entry("PostTrainingQuantizationModifier", fields, comments=[_AFTERWARDS], group="quantization")
    calibration = section.mapping("calibration")
    sizes = [_samples(calibration, "sampling_size", draft), _samples(section, "calibration_sampling_size", draft)]
    if not dynamic and (given := [size for size in sizes if size is not None]):
        entry.fields["num_calibration_samples"] = given[0]
    draft.lost += [
        f"{calibration.at(str(key))}: has no equivalent" for key in calibration.config if key != "sampling_size"
    ]
    return entry


def _samples(fields: Fields, key: str, draft: Draft) -> int | None:
    """The first of several sizes, which may be a text with commas."""
    value = fields.get(key)
    sizes = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not sizes or sizes[0] is None:
        return None
    if len(sizes) > 1:
        draft.lost.append(f"{fields.at(key)} {value}: sizes to try in turn; the first is written")
    return Fields({key: sizes[0]}, fields.path).whole(key, 1, least=1)


def _model_wise(model: Fields, kind: str, draft: Draft) -> None:
    for part in ("activation", "weight"):
        for key, value in model.mapping(part).config.items():
            draft.lost.append(f"{model.at(part)}.{key} {value}: {kind}'s own default is used")
