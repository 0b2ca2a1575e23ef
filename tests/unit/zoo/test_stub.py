"""The grammar of stubs."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsify.errors import ZooError
from sparsify.zoo.stub import EXAMPLE, Stub, parse_stub


def test_the_seeds_stub() -> None:
    stub = parse_stub(EXAMPLE)
    assert stub == Stub(
        "nlp", "token_classification", "obert", "base", "pytorch", "huggingface", "conll2003", None, "pruned90_quant-none"
    )  # fmt: skip
    assert stub.path == PurePosixPath(EXAMPLE.removeprefix("zoo:"))
    assert str(stub) == EXAMPLE


@pytest.mark.parametrize(
    ("text", "part", "value"),
    [
        ("zoo:a/b/c/d/e/f-g/h", "scheme", "g"),
        ("zoo:a/b/c/d/e/f/12layer_pruned80_quant-none-vnni", "tag", "12layer_pruned80_quant-none-vnni"),
        ("a/b/c-d/d/e/f/g", "sub_architecture", "d"),
        ("zoo:a/b/c/d/e/f/g?recipe=transfer", "recipe", "transfer"),
        ("zoo:a/b/c/d/e/f/g?recipe_type=transfer_learn", "recipe", "transfer_learn"),
        ("zoo:a/b/c/d/e/f/g?", "recipe", None),
        ("zoo:a/b/c/d/e/f/g?recipe=x&checkpoint=preqat", "checkpoint", "preqat"),
        ("zoo:a/b/c/d/e/f/g?deployment=default", "deployment", "default"),
        ("zoo:a/b/c/d/e/f/g?recipe=x&recipe_type=x", "recipe", "x"),
        ("zoo:opt-1.3b-opt_pretrain-pruned50_quantW8A8", "sub_architecture", "1.3b"),
        ("zoo:opt-1.3b-opt_pretrain-pruned50_quantW8A8", "dataset", "opt_pretrain"),
        ("zoo:opt-1.3b-opt_pretrain-pruned50_quantW8A8", "tag", "pruned50_quantW8A8"),
        ("opt-c4-pruned50", "architecture", "opt"),
        ("zoo:llama2-7b-c4-dolly-pruned50?recipe=x", "scheme", "dolly"),
        ("zoo:llama2-7b-c4-dolly-pruned50?recipe=x", "recipe", "x"),
        ("zoo:a/b/c/d/e/f1.0/g", "dataset", "f1.0"),
    ],
)
def test_parts(text: str, part: str, value: str | None) -> None:
    assert getattr(parse_stub(text), part) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zoo:", "it has 0 segments"),
        ("zoo:nlp/token_classification", "missing: architecture, framework, repo, dataset, tag"),
        ("zoo:a/b/c/d/e/f/g/h", "'h' is too much"),
        ("zoo:opt", "it has 1 segments"),
        ("zoo:opt-pruned50", "3 to 5 parts between its '-', architecture, source dataset and tag at least, this one 2"),
        ("zoo:a-b-c-d-e-f", "3 to 5 parts"),
        ("zoo:opt-.x-pruned50", "its source_dataset is '.x'"),
        ("zoo:opt-1.3b-pre train-tuned-pruned50", "its source_dataset is 'pre train'"),
        (f"zoo:a/b/c/d/e/f/{'g' * 101}", "its tag has 101 characters"),
        ("zoo:a b/b/c/d/e/f/g", "its domain is 'a b'"),
        ("zoo:a/b-c/c/d/e/f/g", "its sub_domain is 'b-c'"),
        ("zoo:a/b/c-d-e/d/e/f/g", "its architecture is 'c-d-e'"),
        ("zoo:a/b/c//e/f/g", "its framework is ''"),
        ("zoo:a/b/c/d/../f/g", "its repo is '..'"),
        ("zoo:a/b/c/d/e/-f/g", "its dataset is '-f'"),
        ("zoo:a/b/c/d/e/f/..", "its tag is '..'"),
        ("zoo:a/b/c/d/e/f/g\\h", "its tag is"),
        ("zoo:a/b/c/d/e/f/g?a?b", "only one '?'"),
        ("zoo:a/b/c/d/e/f/g?checkpoint=best", "its checkpoint is 'best', not one of prepruning, postpruning"),
        ("zoo:a/b/c/d/e/f/g?deployment=fast", "its deployment is 'fast', not one of default"),
        (
            "zoo:a/b/c/d/e/f/g?recipes=x",
            "unknown query 'recipes'; known are recipe, recipe_type, checkpoint, deployment; did you",
        ),
        ("zoo:a/b/c/d/e/f/g?recipe=x&recipe_type=y", "two of recipe: 'x' and 'y'"),
        ("zoo:a/b/c/d/e/f/g?recipe=../../x", "its recipe is '../../x'"),
        ("zoo:a/b/c/d/e/f/g?recipe=", "its recipe is ''"),
    ],
)
def test_refused_naming_the_segment(text: str, words: str) -> None:
    with pytest.raises(ZooError) as caught:
        parse_stub(text)
    assert words in str(caught.value)
    assert EXAMPLE in str(caught.value)


@given(st.text(alphabet="ab1._-/?=&%\\ \n", max_size=40).map("zoo:a/b/c/d/".__add__))
def test_no_stub_leaves_its_root(text: str) -> None:
    try:
        stub = parse_stub(text)
    except ZooError:
        return
    assert len(stub.path.parts) == (1 if stub.short else 7)
    assert not any(part.startswith(".") or "\\" in part for part in stub.path.parts)
    assert parse_stub(str(stub)) == stub
