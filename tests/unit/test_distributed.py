"""Whether there are other ranks."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from sparsify.distributed import in_group, several_ranks


def test_alone_there_is_no_group() -> None:
    assert not in_group()
    assert not several_ranks()


@pytest.mark.parametrize(("size", "several"), [(1, False), (2, True)])
def test_a_group_of_one_is_no_company(monkeypatch: pytest.MonkeyPatch, size: int, several: bool) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: size)
    assert in_group()
    assert several_ranks() is several
