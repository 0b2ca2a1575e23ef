"""Heads and feed-forward neurons of transformers models, found by class name: one entry for each way they are written.

Attention of other classes is left alone even where its parts have the same names: it may hold more that depends on the
heads (a bias per head, convolutions), which removing them would break.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from sparsify.pruning.slots import Count, Slot, Structure, weight_of


@dataclass(frozen=True)
class _Attention:
    """Names inside an attention module: matrices whose rows are heads, and the matrix that reads them."""

    classes: tuple[str, ...]
    rows: tuple[str, ...]
    value: str
    out: str  # from the attention module; "^" is its parent
    heads: str
    size: str
    width: str | None = None


@dataclass(frozen=True)
class _FeedForward:
    classes: tuple[str, ...]
    first: str
    second: str  # from the module; "^" is its parent
    activation: str


_BERT_LIKE = (
    *("BertSelfAttention", "RobertaSelfAttention", "XLMRobertaSelfAttention", "XLMRobertaXLSelfAttention"),
    *("CamembertSelfAttention", "ElectraSelfAttention", "ErnieSelfAttention", "LayoutLMSelfAttention"),
    *("ViTSelfAttention", "DeiTSelfAttention"),
)
_ATTENTION = (
    _Attention(
        _BERT_LIKE, ("query", "key", "value"), "value", "^output.dense",
        "num_attention_heads", "attention_head_size", "all_head_size",
    ),
    _Attention(
        ("DistilBertSelfAttention", "MultiHeadSelfAttention"), ("q_lin", "k_lin", "v_lin"), "v_lin", "out_lin",
        "n_heads", "attention_head_size",
    ),
    # The projections of relative positions have rows per head too; either may be absent.
    _Attention(
        ("DisentangledSelfAttention",), ("query_proj", "key_proj", "value_proj", "pos_key_proj?", "pos_query_proj?"),
        "value_proj", "^output.dense", "num_attention_heads", "attention_head_size", "all_head_size",
    ),
    _Attention(
        ("ViTAttention", "DeiTAttention"), ("q_proj", "k_proj", "v_proj"), "v_proj", "o_proj",
        "num_attention_heads", "head_dim",
    ),
)  # fmt: skip
_FEED_FORWARD = (
    _FeedForward(
        tuple(f"{family}Intermediate" for family in (
            "Bert", "Roberta", "XLMRoberta", "XLMRobertaXL", "Camembert", "Electra", "Ernie", "LayoutLM",
            "DebertaV2", "Deberta", "MPNet", "ViT", "DeiT",
        )), "dense", "^output.dense", "intermediate_act_fn",
    ),
    _FeedForward(("FFN",), "lin1", "lin2", "activation"),
    _FeedForward(("ViTMLP", "DeiTMLP"), "fc1", "fc2", "activation_fn"),
)  # fmt: skip
_COMMON = ("FFN", "MultiHeadSelfAttention", "ViTAttention", "ViTMLP")
"""Names that other people's classes have as well, with something else between the layers."""
FAMILIES = ("BERT", "DistilBERT", "RoBERTa", "XLM-RoBERTa", "CamemBERT", "ELECTRA", "DeBERTa-v2", "ViT", "DeiT")
"""For people: what the tables above cover."""


def family_structures(model: nn.Module) -> list[Structure]:
    """Heads and neurons of the attention and feed-forward modules known here."""
    found = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in _COMMON and not type(module).__module__.startswith("transformers"):
            continue
        found += [s for a in _ATTENTION if kind in a.classes and (s := _heads(model, name, module, a))]
        found += [s for f in _FEED_FORWARD if kind in f.classes and (s := _neurons(model, name, module, f))]
    return found


def _heads(model: nn.Module, name: str, module: nn.Module, names: _Attention) -> Structure | None:
    rows = [_path(name, row.rstrip("?")) for row in names.rows if not row.endswith("?") or hasattr(module, row[:-1])]
    out = _path(name, names.out)
    heads, size = getattr(module, names.heads, None), getattr(module, names.size, None)
    if not isinstance(heads, int) or not isinstance(size, int):
        return None
    if not all(_is_linear(model, row, rows=heads * size) for row in rows) or not _is_linear(model, out, heads * size):
        return None
    counts = [Count(name, names.heads)] + ([Count(name, names.width, size)] if names.width else [])
    return Structure(
        name,
        "heads",
        heads,
        tuple(Slot(row, 0, size) for row in rows),
        (Slot(out, 1, size),),
        Slot(_path(name, names.value), 0, size),
        tuple(counts),
    )


def _neurons(model: nn.Module, name: str, module: nn.Module, names: _FeedForward) -> Structure | None:
    first, second = _path(name, names.first), _path(name, names.second)
    if not _is_linear(model, first):
        return None
    width = weight_of(model.get_submodule(first)).shape[0]
    if not _is_linear(model, second, columns=width):
        return None
    source = Slot(first, 0) if keeps_zero(getattr(module, names.activation, None)) else None
    return Structure(first, "neurons", width, (Slot(first, 0),), (Slot(second, 1),), source)


def keeps_zero(activation: object) -> bool:
    """Whether an activation gives 0 for 0."""
    if not callable(activation):
        return False
    try:
        with torch.no_grad():
            return bool((activation(torch.zeros(1)) == 0).all())
    except (RuntimeError, TypeError, ValueError):
        return False


def _path(name: str, relative: str) -> str:
    if relative.startswith("^"):
        name, relative = name.rpartition(".")[0], relative[1:]
    return f"{name}.{relative}" if name else relative


def _is_linear(model: nn.Module, name: str, columns: int | None = None, rows: int | None = None) -> bool:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return False
    if not isinstance(module, nn.Linear) or not isinstance(module.weight, nn.Parameter):  # computed from others
        return False
    return rows in (None, module.weight.shape[0]) and columns in (None, module.weight.shape[1])
