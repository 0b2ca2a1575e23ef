"""Lists as people write them into one cell of a table."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def parse_list(cell: str) -> list[Any]:
    """The list that a text cell holds: JSON, a Python or numpy list as text, or words separated by spaces.

    Raises:
        ValueError: It begins like a list and is none.
    """
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) > 1):
        return text.split()
    try:
        found = json.loads(text)
        if isinstance(found, list):
            return found
    except json.JSONDecodeError:
        pass
    return _python_list(text)


def _python_list(text: str) -> list[Any]:
    # numpy prints ['a' 'b'] without commas, which Python would read as the one word 'ab'
    body = text[1:-1]
    rest = _STRING.sub(" ", body)
    if not rest.replace(",", " ").strip():
        return [ast.literal_eval(literal) for literal in _STRING.findall(body)]
    if _STRING.search(body) is None and re.fullmatch(r"[\s,]*(-?\d+[\s,]*)*", body):
        return [int(number) for number in re.findall(r"-?\d+", body)]
    if "..." in rest:
        raise ValueError("an abbreviated list ('...'): it was cut when the file was written")
    if body.split() and "," not in body and _STRING.search(body) is None:
        return text.split()  # a sentence that begins with "[" and ends with "]"
    raise ValueError("neither a JSON nor a Python list")
