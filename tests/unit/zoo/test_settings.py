"""Where stubs are looked up: variables, the configuration file, and what a command says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsify.errors import ZooError
from sparsify.zoo import resolve
from sparsify.zoo.settings import cache_folder, current, packaged, split_roots, using


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file, not written yet."""
    file = tmp_path / "config.yaml"
    monkeypatch.setenv("SPARSIFY_CONFIG", str(file))
    return file


def urls() -> list[str]:
    return [place.url for place in current().places if place.url != str(packaged())]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://ann:pa55@zoo.org/z:/b", ["https://ann:pa55@zoo.org/z", "/b"]),
        ("https://ann:pa55@zoo.org:8080/z:/b", ["https://ann:pa55@zoo.org:8080/z", "/b"]),
        ("http://[::1]:8080/z:/b", ["http://[::1]:8080/z", "/b"]),
        ("github://org:repo@main/z:/b", ["github://org:repo@main/z", "/b"]),
        ("/a: https://x/y : /b ", ["/a", "https://x/y", "/b"]),
        ("https://x/y:8080", ["https://x/y", "8080"]),  # behind a path it is no port but a folder
        ("arrow_hdfs://h/z:git+ssh://h/z", ["arrow_hdfs://h/z", "git+ssh://h/z"]),
        ("https://x:y@z", ["https://x:y@z"]),
        ("~/zoo:../zoo:zoo", ["~/zoo", "../zoo", "zoo"]),
    ],
)
def test_roots_of_a_variable(text: str, parts: list[str]) -> None:
    assert split_roots(text) == parts


HOSTS = st.sampled_from(["zoo.org", "zoo.org:8080", "127.0.0.1:9", "[::1]:80", "[fe80::1]", "u:p@zoo.org", "o:r@main"])
ROOTS = st.one_of(
    st.builds("{}://{}{}".format, st.sampled_from(["https", "s3", "hf", "gs"]), HOSTS, st.sampled_from(["", "/z", "/a/b"])),
    st.text(alphabet="abc/._-~", min_size=1, max_size=8).filter(lambda text: not text.startswith("//")),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(ROOTS, max_size=4))
def test_what_was_joined_is_parted_again(roots: list[str]) -> None:
    assert split_roots(os.pathsep.join(roots)) == roots


@pytest.mark.parametrize("text", ["roots: /my/zoo", "roots: {a: b}", "roots: 3", "roots: true"])
def test_roots_are_a_list(text: str, config: Path) -> None:
    config.write_text(text)
    with pytest.raises(ZooError, match=r"config\.yaml: roots is a list, got .*: write it as\n +roots:\n +- ~/zoo"):
        current()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "roots:\naliases:\n", "{}"])
def test_a_configuration_that_says_nothing(text: str, config: Path) -> None:
    config.write_text(text)
    assert urls() == []
    assert not current().offline


def test_an_unknown_key_is_named_with_the_nearest(config: Path) -> None:
    config.write_text("ofline: true\n")
    with pytest.raises(ZooError, match=r"may stand in it, got 'ofline'; did you mean 'offline'\?"):
        current()


@pytest.mark.parametrize("text", ["[a, b]", "just text", "3"])
def test_a_configuration_that_is_no_mapping(text: str, config: Path) -> None:
    config.write_text(text)
    with pytest.raises(ZooError, match=r"config\.yaml: only aliases, cache, offline, roots may stand in it"):
        current()


@pytest.mark.parametrize("options", ["{1: 2}", "[a]", "{headers: x}", "{client_kwargs: [x]}"])
def test_options_that_no_file_system_takes(options: str, config: Path) -> None:
    config.write_text(f"roots: [{{url: 's3://b/z', options: {options}}}]")
    with pytest.raises(ZooError, match=r"config\.yaml: .*options"):
        current()


@pytest.mark.parametrize(
    ("word", "configured", "offline"),
    [("1", "false", True), ("Yes", "false", True), ("0", "true", False), ("off", "true", False), ("", "true", True)],
)
def test_the_environments_word_on_offline(
    word: str, configured: str, offline: bool, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(f"offline: {configured}")
    monkeypatch.setenv("SPARSIFY_OFFLINE", word)
    assert current().offline is offline
    with using(offline=not offline):
        assert current().offline is not offline


def test_a_word_that_may_mean_offline_is_not_taken_for_online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIFY_OFFLINE", "ture")
    with pytest.raises(ZooError, match=r"SPARSIFY_OFFLINE is 'ture'.*true"):
        current()


def test_options_hold_wherever_their_address_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("roots: [{url: 's3://bucket/zoo', options: {anon: true}}]")
    monkeypatch.setenv("SPARSIFY_ZOO", "/elsewhere")
    with using(["s3://bucket/zoo/"]):
        first, second = current().places[:2]
    assert (first.url, dict(first.options)) == ("s3://bucket/zoo/", {"anon": True})
    assert second.url == "/elsewhere"
    assert "anon" not in repr(first)  # options may be secrets


def test_one_root_need_not_be_a_list(tmp_path: Path) -> None:
    for zoo in (str(tmp_path), tmp_path):
        with using(zoo):
            assert urls() == [str(tmp_path)]


def test_inner_roots_come_first_and_go_again(tmp_path: Path) -> None:
    with using(["/outer"], offline=True):
        with using(["/inner"]):
            assert urls() == ["/inner", "/outer"]
            assert current().offline
        assert urls() == ["/outer"]
    assert urls() == []


@pytest.mark.parametrize("root", ["", " "])
def test_a_root_without_a_name_is_not_the_working_folder(root: str) -> None:
    with pytest.raises(ZooError, match="the name of a zoo's root is empty"):
        resolve("zoo:a-b-c", zoo=[root])


def test_a_home_that_does_not_exist_is_a_missing_root(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZooError, match=r"~nosuchuser/zoo \(missing\)"):
        resolve("zoo:a-b-c", zoo=["~nosuchuser/zoo"])
    config.write_text("cache: ~nosuchuser/cache")
    monkeypatch.delenv("SPARSIFY_CACHE")
    assert "~nosuchuser" in str(current().cache)


def test_the_cache_folder(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("cache: /configured")
    assert current().cache == tmp_path / "cache" / "zoo"  # the variable's
    monkeypatch.setenv("SPARSIFY_CACHE", "")
    assert current().cache == Path("/configured/zoo")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "sparsify" / "zoo"
