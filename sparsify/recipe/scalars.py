"""Single values: how they are read (YAML 1.2, so that 1e-4 is a number and ``on`` is a word) and written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from sparsify.recipe.nodes import ScalarNode

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_STANDARD = "tag:yaml.org,2002:"
_MAX_DIGITS = 400
_BARE = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_EXPRESSION = re.compile(r"eval\([\w .+*/%()-]*\)", re.ASCII)
_UNPRINTABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

Scalar = str | int | float | bool | None


def scalar(node: ScalarNode) -> Scalar:
    """Value of a scalar as YAML 1.2's core schema reads it.

    Raises:
        ValueError: The explicit tag is unknown or does not fit, or the number is too long.
    """
    if node.tag is None:
        return resolve(node.text) if node.plain else node.text
    kind = node.tag.removeprefix(_STANDARD)
    if node.tag == "!" or kind == "str":
        return node.text
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    if kind not in kinds:
        raise ValueError(f"tag {node.tag!r} cannot stand here")
    value = resolve(node.text)
    if not isinstance(value, kinds[kind]):
        raise ValueError(f"{node.text!r} is no {kind}")
    return float(value) if kind == "float" and value is not None else value


def resolve(text: str) -> Scalar:
    """Value of a plain (unquoted) scalar."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _NOT_FINITE.fullmatch(text):
        return math.nan if match[3] else float(f"{match[1]}inf")
    return text


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits, at most {_MAX_DIGITS} are read")
    return int(text, 16 if text.startswith("0x") else 8 if text.startswith("0o") else 10)


def written(value: object) -> str:
    """``value`` as YAML on one line (flow style) that reads back as the same value.

    Raises:
        ValueError: It is not made of numbers, strings, booleans, null, lists and dicts.
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, str):
        return _string(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{written(k)}: {written(v)}' for k, v in value.items())}}}"
    raise ValueError(f"{type(value).__name__} values cannot be written into a recipe")


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"


def _string(value: str) -> str:
    if _EXPRESSION.fullmatch(value) or (_BARE.fullmatch(value) and isinstance(resolve(value), str)):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\U{ord(match[0]):08x}", quoted)
