"""One recipe entry per modifier that is not built yet; building one means taking its entry out of here."""

from __future__ import annotations

_GRADUAL = {"init_sparsity": 0.1, "final_sparsity": 0.8, "start_epoch": 0, "end_epoch": 4.0, "update_frequency": 1.0}
_SPARSE = {"start_epoch": 0.0, "end_epoch": 4.0, "update_frequency": 1.0, "params": ["re:fc1.weight"]}
_SMOOTH = {"mappings": [[["re:fc2"], "norm"]]}

ENTRIES: dict[str, dict[str, object]] = {
    "OBSPruningModifier": _GRADUAL | {"mask_type": "block4", "fisher_block_size": 8, "damp": 1e-7},
    "MFACPruningModifier": _GRADUAL | {"num_grads": {0.0: 256, 0.5: 512}, "available_gpus": ["cuda:0"]},
    "MFACGlobalPruningModifier": _GRADUAL | {"fisher_block_size": None},
    "RigLPruningModifier": _SPARSE | {"final_sparsity": 0.8, "sparsity_strategy": "uniform"},
    "TopKASTPruningModifier": _SPARSE | {"forward_sparsity": 0.8, "backward_sparsity": 0.5},
    "PowerpropagationModifier": {"start_epoch": 0.0, "end_epoch": 4.0, "params": ["re:fc1.weight"], "alpha": 2.0},
    "ASRegModifier": {"layers": ["relu"], "alpha": 0.01, "reg_func": "hs"},
    "SparseGPTModifier": {"sparsity": [0.5, 0.6], "percdamp": 0.01, "mask_structure": "2:4", "prunen": 2, "prunem": 4},
    "WandaPruningModifier": {"sparsity": 0.5, "sparsity_profile": "owl", "owl_m": 5, "owl_lmbda": 0.08},
    "GPTQModifier": {"config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 4}}}, "ignore": ["head"]},
    "SmoothQuantModifier": _SMOOTH | {"smoothing_strength": 0.8},
    "LogarithmicEqualizationModifier": _SMOOTH,
    "KnowledgeDistillationModifier": {"temperature": 2.0, "loss_types": ["CE", "KL"], "loss_weights": [0.2, 0.8]},
    "IntermediateLayersKnowledgeDistillationModifier": {
        "layer_mappings": [["fc1"], ["fc2", "fc3"]],
        "loss_types": ["MSE", "L1"],
        "loss_weights": [1.0, 2.0],
    },
    "SelfKnowledgeDistillationModifier": {"layer_mappings": [[["fc1", "fc2"]]], "loss_types": ["L2"]},
}

GRADUAL = [name for name, fields in ENTRIES.items() if "init_sparsity" in fields]

# name, fields that change its entry, what the message says
REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("OBSPruningModifier", {"mask_type": "2:4"}, "'unstructured' or 'block4'"),
    ("OBSPruningModifier", {"fisher_block_size": 6}, "multiple of 4 with block4, got 6"),
    ("OBSPruningModifier", {"num_grads": 0}, "num_grads: input should be greater than 0, got 0"),
    ("OBSPruningModifier", {"damp": 0.0}, "damp: input should be greater than 0"),
    ("OBSPruningModifier", {"final_sparsity": 1.5}, "a sparsity lies between 0 and 1"),
    ("MFACPruningModifier", {"num_grads": {0.5: 512}}, "from sparsity 0.0 on"),
    ("MFACPruningModifier", {"num_grads": {1.5: 2, 0.0: 1}}, "1.5 is no sparsity"),
    ("MFACPruningModifier", {"num_grads": {"much": 2}}, "'much' is no sparsity"),
    ("MFACPruningModifier", {"num_grads": "many"}, "a whole number above 0, or a mapping"),
    ("MFACPruningModifier", {"available_devices": ["cpu"]}, "give one of them"),
    (
        "MFACPruningModifier",
        {"mfac_options": {"num_grad": 64}},
        "mfac_options has no 'num_grad': did you mean num_grads?",
    ),
    ("MFACPruningModifier", {"mfac_options": {"num_grads": 64}}, "num_grads stands in mfac_options and beside it"),
    ("MFACPruningModifier", {"mfac_options": {"damp": 0.0}}, "damp: input should be greater than 0"),
    ("RigLPruningModifier", {"end_epoch": -1}, "cannot be -1"),
    ("RigLPruningModifier", {"final_sparsity": {0.8: ["fc1.weight"]}}, "params must be left out"),
    ("RigLPruningModifier", {"init_update_fraction": 1.1}, "less than or equal to 1"),
    ("RigLPruningModifier", {"sparsity_strategy": "even"}, "erdos_renyi"),
    ("TopKASTPruningModifier", {"backward_sparsity": 0.9}, "backward_sparsity 0.9 is above forward_sparsity 0.8"),
    ("PowerpropagationModifier", {"alpha": 0.5}, "greater than or equal to 1"),
    ("ASRegModifier", {"reg_tens": "weights"}, "'inp' or 'out'"),
    ("SparseGPTModifier", {"sparsity": 1.0}, "from 0 to below 1"),
    ("SparseGPTModifier", {"sparsity": []}, "from 0 to below 1"),
    ("SparseGPTModifier", {"mask_structure": "4:2"}, "N at most M"),
    ("SparseGPTModifier", {"mask_structure": "1:4"}, "prunen 2 and prunem 4 contradict 1:4"),
    ("SparseGPTModifier", {"prunen": 5}, "prunen 5 is above prunem 4"),
    ("SparseGPTModifier", {"prunem": None}, "go together"),
    ("SparseGPTModifier", {"quantize": "yes"}, "true, false, or the fields"),
    ("SparseGPTModifier", {"percdamp": 2.0}, "percdamp: input should be less than or equal to 1"),
    ("SparseGPTModifier", {"dampening_frac": 0.1}, "stands here under two names"),
    ("WandaPruningModifier", {"owl_m": None}, "owl needs owl_m and owl_lmbda"),
    ("WandaPruningModifier", {"sparsity_profile": None}, "belong to sparsity_profile owl"),
    ("GPTQModifier", {"scheme": "W4A16"}, "give one of them"),
    ("GPTQModifier", {"config_groups": {"g": {"targets": [], "weights": {}}}}, "config_groups"),
    ("SmoothQuantModifier", {"start_epoch": 1.0}, "leave start_epoch and end_epoch out"),
    ("SmoothQuantModifier", {"mappings": [["re:fc2", "norm"]]}, "layers to balance"),
    ("SmoothQuantModifier", {"mappings": []}, "layers to balance"),
    ("KnowledgeDistillationModifier", {"loss_types": ["KL", "KL"]}, "the loss on labels is CE or MSE"),
    ("KnowledgeDistillationModifier", {"loss_weights": [1.0]}, "at least 2 items"),
    ("IntermediateLayersKnowledgeDistillationModifier", {"loss_types": ["MSE"]}, "has 1 entries, layer_mappings 2"),
    ("IntermediateLayersKnowledgeDistillationModifier", {"layer_mappings": [["a", "b", "c"], ["d"]]}, "each is"),
    ("SelfKnowledgeDistillationModifier", {"loss_weights": [1.0, 2.0]}, "has 2 entries, layer_mappings 1"),
]
