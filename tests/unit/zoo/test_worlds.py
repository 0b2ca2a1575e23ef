"""A folder, web servers and S3 behave alike: publish, resolve, cache, offline, damage, cut connections, two at once."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from sparsify.errors import ZooError, ZooUnreachable
from sparsify.zoo import entries, publish, resolve, verify
from sparsify.zoo.manifest import digest
from sparsify.zoo.settings import using
from tests.helpers.zoos import ENTRY, RECIPE, SIZE, STUB, WEIGHTS, World, model_files


@pytest.fixture
def published(world: World, tmp_path: Path) -> World:
    publish(model_files(tmp_path / "run"), STUB, world.root)
    if world.proxy:
        world.proxy.forget()
    return world


def weights(world: World, **options: bool) -> Path:
    return resolve(STUB, zoo=[world.url], **options).training() / "model.safetensors"


def test_publish_and_resolve(published: World, tmp_path: Path) -> None:
    entry = resolve(STUB, zoo=[published.url])
    assert entry.recipe().read_text() == RECIPE
    assert {path.name for path in entry.training().iterdir() if not path.name.startswith(".")} == {
        *("model.safetensors", "config.json", "tokenizer.json", "recipe.yaml")
    }
    assert digest(entry.training() / "model.safetensors") == digest(tmp_path / "run" / "model.safetensors")
    assert (entry.deployment() / "model.onnx").read_bytes() == b"onnx"
    assert entry.manifest is not None
    assert entry.manifest.files[WEIGHTS].size > SIZE
    assert not any("optimizer" in name for name in entry.files)
    with using([published.url]):
        assert STUB in entries()
    assert [checked.problems for checked in verify(published.url)] == [()]


def test_publishing_twice_needs_replace(published: World, tmp_path: Path) -> None:
    run = model_files(tmp_path / "run2", size=1000, seed=1)
    with pytest.raises(ZooError, match="already; --replace"):
        publish(run, STUB, published.root)
    old = weights(published)
    (run / "tokenizer.json").unlink()
    publish(run, STUB, published.root, replace=True)
    entry = resolve(STUB, zoo=[published.url])
    assert digest(entry.training() / "model.safetensors") == digest(run / "model.safetensors")
    assert "training/tokenizer.json" not in entry.files
    assert [checked.problems for checked in verify(published.url)] == [()]
    if published.proxy:
        assert digest(old) == digest(tmp_path / "run" / "model.safetensors")  # who still reads it is not disturbed


def test_a_dry_run_writes_nothing(world: World, tmp_path: Path) -> None:
    done = publish(model_files(tmp_path / "run", size=1000), STUB, world.root, dry_run=True)
    assert WEIGHTS in done.manifest.files
    with pytest.raises(ZooError, match="no entry found"):
        resolve(STUB, zoo=[world.url])


def test_a_second_time_nothing_is_fetched(published: World) -> None:
    first = weights(published)
    stamp = first.stat().st_mtime_ns
    if published.proxy:
        published.proxy.forget()
    assert weights(published) == first
    assert first.stat().st_mtime_ns == stamp
    if published.proxy:
        assert not published.proxy.fetched("model.safetensors")
        assert published.proxy.requests  # but it was asked whether it is still the same


def test_offline(published: World) -> None:
    if published.proxy is None:
        assert weights(published, offline=True).is_file()
        return
    published.proxy.down = True
    with pytest.raises(ZooError, match="offline: its cache only"):
        weights(published, offline=True)
    published.proxy.down = False
    first = weights(published)
    published.proxy.down = True
    published.proxy.forget()
    assert weights(published, offline=True) == first
    assert not published.proxy.requests
    with pytest.raises(ZooUnreachable, match="not in the cache"):
        resolve(STUB, zoo=[published.url], offline=True).deployment()


def test_a_root_that_does_not_answer_leaves_the_cache(published: World, caplog: pytest.LogCaptureFixture) -> None:
    if published.proxy is None:
        pytest.skip("a folder always answers")
    first = weights(published)
    published.proxy.down = True
    with caplog.at_level(logging.WARNING, "sparsify"):
        assert weights(published) == first
    assert "using what is in the cache" in caplog.text
    with pytest.raises(ZooError) as caught:
        resolve(STUB.replace("pruned80", "pruned90"), zoo=[published.url])
    assert "(did not answer)" in str(caught.value)
    assert "SECRETKEY" not in caplog.text + str(caught.value)


def test_a_file_damaged_at_its_root_is_an_error_and_nothing_good_is_lost(published: World) -> None:
    good = resolve(STUB, zoo=[published.url]).recipe()
    published.damage(f"{ENTRY}/{WEIGHTS}")
    with pytest.raises(ZooError, match=r"sha256 (is|differ)|size or sha256"):
        weights(published)
    assert resolve(STUB, zoo=[published.url]).recipe() == good
    assert good.read_text() == RECIPE
    (checked,) = verify(published.url)
    assert len(checked.problems) == 1
    assert WEIGHTS in checked.problems[0]


def test_a_damaged_cache_mends_itself(published: World, tmp_path: Path) -> None:
    if published.proxy is None:
        pytest.skip("a folder has no cache")
    first = weights(published)
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(data)
    assert weights(published) == first
    assert digest(first) == digest(tmp_path / "run" / "model.safetensors")


def test_a_cut_connection_is_gone_on_with(published: World, tmp_path: Path) -> None:
    if published.proxy is None:
        pytest.skip("a folder has no connection")
    published.proxy.after, published.proxy.cuts = 3 * 2**20, 1
    assert digest(weights(published)) == digest(tmp_path / "run" / "model.safetensors")
    assert published.proxy.cuts == 0
    assert len(published.proxy.fetched("model.safetensors")) >= 2


def test_a_connection_cut_for_good_is_resumed_by_the_next_call(
    published: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if published.proxy is None:
        pytest.skip("a folder has no connection")
    entry = resolve(STUB, zoo=[published.url])
    published.proxy.after, published.proxy.cuts = 2**20, 1000
    with pytest.raises(ZooUnreachable, match="not fetched in 4 tries"):
        entry.training()
    published.proxy.cuts = 0
    published.proxy.forget()
    assert digest(weights(published)) == digest(tmp_path / "run" / "model.safetensors")
    spans = published.proxy.fetched("model.safetensors")
    if "[http]" in request.node.name or "[nginx]" in request.node.name:
        assert len(spans) == 1
        assert int(spans[0].removeprefix("bytes=").rstrip("-")) > 0


def test_two_processes_at_once(published: World, environment: dict[str, str], tmp_path: Path) -> None:
    code = f"from sparsify.zoo import resolve; print(resolve({STUB!r}, zoo=[{published.url!r}]).training())"
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    assert digest(Path(said[0]) / "model.safetensors") == digest(tmp_path / "run" / "model.safetensors")
    if published.proxy:
        spans = published.proxy.fetched("model.safetensors")
        assert spans
        assert len(spans) == len(set(spans))  # each piece went over the line once
