"""Small YAML files: data or one message."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import ZooError
from sparsify.zoo.textfile import parse_yaml, read_yaml

PIECES = st.sampled_from(
    ["a", ":", " ", "\n", "- ", "[", "]", "{", "}", ",", "!!bool ", "!!int ", "!!float ", "!!timestamp ", "!!binary ", "!!set ",
     "!!omap ", "!!pairs ", "!!map ", "!!python/object:os.system ", "!x ", "'", '"', "|", ">", "&a ", "*a", "<<: ", "? ", "=",
     "2024-13-45", "1:30", "%YAML 9.9", "---", "...", "\t", "\x00", "\ufeff", "0x", "é"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_whatever_stands_there_is_data_or_a_message(text: str) -> None:
    for data in (text, text.encode()):
        found, said = _read(data)
        assert said.startswith("here: ") if said else _is_data(found)


def _read(data: str | bytes) -> tuple[object, str]:
    try:
        return parse_yaml(data, "here"), ""
    except ZooError as error:
        return None, str(error)


def _is_data(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_data(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return all(map(_is_data, value))
    return value is None or type(value) in (str, int, float, bool, bytes, date, datetime)


@pytest.mark.parametrize("value", ["!!bool perhaps", "!!timestamp soon", "!!int ''", "!!float ''"])
def test_a_tag_that_its_value_does_not_fit(value: str) -> None:
    with pytest.raises(ZooError, match="here: not YAML"):
        parse_yaml(f"a: {value}", "here")


def test_a_file_of_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(ZooError, match=r"x\.yaml: not YAML \(.*utf-8"):
        read_yaml(file)
    file.write_bytes("\ufeffa: é".encode())  # as some editors begin a file
    assert read_yaml(file) == {"a": "é"}


def test_what_is_too_large_or_no_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ZooError, match=r"x\.yaml: larger than 1048576 bytes"):
        read_yaml(file)
    with pytest.raises(ZooError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


def test_nested_too_deeply() -> None:
    parse_yaml("[" * 50 + "]" * 50, "here")
    with pytest.raises(ZooError, match="nested more than 50 deep"):
        parse_yaml("[" * 2000, "here")  # tens of seconds, if PyYAML were let
