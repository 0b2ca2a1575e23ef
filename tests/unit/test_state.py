"""State files: what goes in comes out, and a broken file is said to be broken."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sparsify.errors import StateError
from sparsify.state import atomic_write, read_state, write_state


def test_round_trip_keeps_values_types_and_dtypes(tmp_path: Path) -> None:
    tree = {
        "a": {"mask": torch.tensor([True, False]), "n": 3, "f": 0.1, "none": None, "flag": True},
        "list": [1, {"t": torch.arange(3, dtype=torch.int32)}, "x"],
        "empty": {},
    }
    write_state(tmp_path / "s.safetensors", tree)
    back = read_state(tmp_path / "s.safetensors")
    assert torch.equal(back["a"].pop("mask"), tree["a"]["mask"])
    assert back["list"][1]["t"].dtype == torch.int32
    assert torch.equal(back["list"][1].pop("t"), torch.arange(3, dtype=torch.int32))
    assert back == {"a": {"n": 3, "f": 0.1, "none": None, "flag": True}, "list": [1, {}, "x"], "empty": {}}


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    base = torch.arange(4.0)
    write_state(tmp_path / "s", {"a": base, "b": base[:2]})
    assert torch.equal(read_state(tmp_path / "s")["b"], base[:2])


def test_a_tree_without_tensors_is_fine(tmp_path: Path) -> None:
    write_state(tmp_path / "s", {"a": 1})
    assert read_state(tmp_path / "s") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_broken_file_is_a_state_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(StateError, match="cannot read"):
        read_state(tmp_path / "s")


def test_a_missing_file_is_a_state_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nowhere"):
        read_state(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files cannot grow beyond 4 kB, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught:
        write_state(tmp_path / "s", {"a": torch.zeros(100_000)})
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
