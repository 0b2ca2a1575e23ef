"""Names of files and addresses: what is refused, and what may be shown."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsify.errors import ZooError
from sparsify.zoo import names
from sparsify.zoo.names import inside, redacted, safe, safe_set, shown

LONGEST_SUFFIX = len("..part.version")
"""What a download puts around a file's name while it lasts."""


@pytest.mark.parametrize(
    "name",
    [
        *("training/model.safetensors", "model-00001-of-00002.safetensors", "1_Pooling/config.json", "naïve.txt"),
        *("recipe (copy).yaml", "a,b.json", "vocab+=@~.txt", "日本語/語彙.txt", "x" * 120),
    ],
)
def test_names_that_models_have_are_taken(name: str) -> None:
    assert safe(name, "here") == PurePosixPath(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", ".git/config", "a/.hidden", "a\\b", "C:/x", "c:x"),
        *("a\nb", "a\x00b", "a\x1b[31m", "a:b", "a?b", "a#b", "a%2e%2e", "a*b", "a|b", "trailing.", "trailing ", " a"),
        *("x" * 121, "/".join("a" * 13), "\u202etxt.exe", "\ud800"),
    ],
)
def test_names_that_lead_elsewhere_are_refused_naming_whose_they_are(name: str) -> None:
    with pytest.raises(ZooError, match="the listing: refused the file name"):
        safe(name, "the listing")


@pytest.mark.parametrize("name", [None, 3, b"x", ["a"]])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(ZooError, match=f"a file's name is text, got {type(name).__name__}"):
        safe(name, "here")


@settings(max_examples=40)
@given(st.sampled_from("aZ9éßж語\U00020000가ñ"), st.integers(1, 120))
def test_a_name_that_is_taken_can_be_a_file_while_it_is_fetched(sign: str, count: int) -> None:
    size = len(os.fsencode(sign * count))
    try:
        safe(sign * count, "here")
    except ZooError:
        assert size > 200
    else:
        assert size + LONGEST_SUFFIX <= 255


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.json", "A.JSON"], "two files are named"),
        (["straße", "STRASSE"], "two files are named"),
        (["\uac00", "\u1100\u1161"], "two files are named"),  # one Korean syllable, composed and in letters
        (["a", "a/b"], "'a' is a file and a folder"),
        (["A", "a/b/c"], "'a' is a file and a folder"),
        (["a", "b", "a"], "two files are named 'a'"),
    ],
)
def test_files_that_some_file_system_cannot_hold_side_by_side(files: list[str], words: str) -> None:
    with pytest.raises(ZooError, match=words):
        safe_set(files, "here")


@given(st.lists(st.text(alphabet="abAB/é", min_size=1, max_size=6), max_size=6))
def test_a_set_that_is_taken_is_one_on_a_file_system_without_case_too(files: list[str]) -> None:
    try:
        safe_set(files, "here")
    except ZooError:
        return
    folded = [unicodedata.normalize("NFC", name).casefold() for name in files]
    assert len(set(folded)) == len(files)
    for name in folded:
        assert not any(other.startswith(f"{name}/") for other in folded)


def test_more_files_than_an_entry_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_FILES", 3)
    safe_set("abc", "here")
    with pytest.raises(ZooError, match="more than 3 files"):
        safe_set("abcd", "here")


def test_links_inside_a_root_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root2").mkdir()
    (tmp_path / "root" / "file").write_text("")
    (tmp_path / "root" / "near").symlink_to("file")
    (tmp_path / "root" / "beside").symlink_to(tmp_path / "root2")  # a name that only begins like the root's
    (tmp_path / "root" / "loop").symlink_to("loop")
    assert inside(tmp_path / "root", "near") == tmp_path / "root" / "near"
    with pytest.raises(ZooError, match=r"leads out of .*links must stay inside"):
        inside(tmp_path / "root", "beside/x")
    inside(tmp_path / "root", "loop")  # opening it is an error of its own
    with pytest.raises(ZooError, match="cannot be followed"):
        inside(tmp_path / "root", "a\x00b")


def test_a_root_that_is_itself_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path / "link", "x") == tmp_path / "link" / "x"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/a/b?c", "/a/b?c"),
        ("s3://key:secret@bucket/zoo", "s3://bucket/zoo"),
        ("https://u:p%40ss@host:8443/z/?token=t#f", "https://host:8443/z/"),
        ("https://[bad/z", "<an address that cannot be read>"),
        ("github://org:repo@main/zoo", "github://org:repo@main/zoo"),  # no user, but what tells it from another
        ("github://org:repo@main/zoo?token=t", "github://org:repo@main/zoo"),
    ],
)
def test_what_is_shown_of_an_address(url: str, said: str) -> None:
    assert shown(url) == said


@given(st.text(alphabet="abcXYZ019%._~-", min_size=1, max_size=12).map("S3cr3t{}".format))
def test_no_secret_of_an_address_in_a_message(secret: str) -> None:
    for url in (f"https://ann:{secret}@zoo.org/z", f"https://{secret}@zoo.org/z", f"s3://b/z?X-Amz-Signature={secret}"):
        assert secret not in shown(url)
        assert secret not in redacted(f"cannot connect to '{url}' (refused)")
