"""Neural Compressor's quantization as ``QuantizationModifier``."""

from __future__ import annotations

from typing import Any

from sparsify.recipe.convert.draft import Draft, Entry
from sparsify.recipe.convert.values import Fields

QAT, STATIC, DYNAMIC = "quant_aware_training", "post_training_static_quant", "post_training_dynamic_quant"
APPROACHES = (QAT, STATIC, DYNAMIC, "post_training_auto_quant", "aware_training", "static", "dynamic")
_SHORT = {"aware_training": QAT, "static": STATIC, "dynamic": DYNAMIC, "post_training_auto_quant": STATIC}


def convert_quantization(section: Fields) -> Draft:
    """A modifier for a ``quantization`` section, or for the dictionary of a quantization config."""
    draft = Draft()
    approach = section.choice("approach", STATIC, APPROACHES)
    approach = _SHORT.get(approach, approach)
    if approach == DYNAMIC:
        draft.lost.append(f"{section.at('approach')} {approach}: ranges found at run time have no modifier")
        return draft
    entry = Entry("QuantizationModifier", {"start_epoch": 0}, group="quantization")
    if approach == STATIC:
        entry.comments.append("Quantizes without training: give --one_shot, calibrated on training data.")
        _calibration(section, draft)
    draft.entries.append(entry)
    for key, what in (("op_wise", "exclude_module_types and submodules"), ("op_name_dict", "ignore")):
        if section.has(key):
            draft.lost.append(f"{section.at(key)}: settings of single layers; see {what} of QuantizationModifier")
    if section.has("model_wise"):
        _model_wise(section.mapping("model_wise"), draft)
    return draft


def _calibration(section: Fields, draft: Draft) -> None:
    size: Any = section.mapping("calibration").get("sampling_size")
    if size is not None:
        draft.lost.append(f"calibration.sampling_size {size}: give --num_calibration_samples")


def _model_wise(model: Fields, draft: Draft) -> None:
    for part in ("activation", "weight"):
        for key, value in model.mapping(part).config.items():
            draft.lost.append(f"{model.at(part)}.{key} {value}: QuantizationModifier's own default is used")
