"""``extends:``: what a recipe changes in another, where errors point, and what it may not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsify.errors import RecipeError
from sparsify.recipe.recipe import Recipe

BASE = """\
# base
n: 4
lr: 1e-4
words: [a, "b c", eval(n)]
pruning_modifiers:
  - !AModifier
    x: eval(n)
    y: [1, {k: v}]
  - !AModifier {x: 2}
other_modifiers: [!BModifier {z: 'eval(max(n, 2))'}]
"""
OWN = """\
extends: base.yaml
n: 6      # longer
extra: true
pruning_modifiers:
  - !AModifier
    y: eval(n + 1)
new_modifiers:
  - !AModifier {x: 7}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "own.yaml").write_text(OWN)
    return tmp_path


def test_variables_and_fields_are_changed_and_modifiers_added(folder: Path) -> None:
    recipe = Recipe.load(folder / "own.yaml")
    assert recipe.variables == {"n": 6, "lr": 1e-4, "words": ["a", "b c", 6], "extra": True}
    assert [(m.type, m.path, m.fields) for m in recipe.modifiers] == [
        ("AModifier", "pruning_modifiers[0]", {"x": 6, "y": 7}),
        ("AModifier", "pruning_modifiers[1]", {"x": 2}),
        ("BModifier", "other_modifiers[0]", {"z": 6}),
        ("AModifier", "new_modifiers[0]", {"x": 7}),
    ]


def test_its_text_stands_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    recipe = Recipe.load(folder / "own.yaml")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    recipe.save(elsewhere / "recipe.yaml")
    assert Recipe.load(elsewhere) == recipe
    assert "x: eval(n)" in recipe.text
    assert "lr: 1e-4" in recipe.text


def test_marks_lead_into_the_file_that_wrote_each_part(folder: Path) -> None:
    spec = Recipe.load(folder / "own.yaml").modifiers[0]
    own, base = str(folder / "own.yaml"), str(folder / "base.yaml")
    assert (spec.mark.file, spec.mark.line, spec.mark.column) == (own, 5, 5)
    places = {name: spec.marks[name] for name in [("x",), ("y",), ("x", "__key__")]}
    assert [(m.file, m.line, m.column) for m in places.values()] == [(base, 7, 8), (own, 6, 8), (base, 7, 5)]


def test_problems_of_both_files_come_at_their_places(folder: Path) -> None:
    (folder / "base.yaml").write_text(BASE.replace("x: 2}", "x: 'eval(1 + q)'}"))
    (folder / "own.yaml").write_text(OWN.replace("{x: 7}", "{x: [eval(r)]}"))
    with pytest.raises(RecipeError) as caught:
        Recipe.load(folder / "own.yaml")
    places = {(Path(p.file or "").name, p.line, p.column) for p in caught.value.problems}
    assert places == {("base.yaml", 9, 30), ("own.yaml", 8, 26)}


def test_arguments_and_set_fields_come_last(folder: Path) -> None:
    recipe = Recipe.load(
        folder / "own.yaml", {"n": 10, "lr": 1}, {"BModifier.z": 0, "pruning_modifiers[0].x": "eval(n)"}
    )
    assert (recipe.variables["n"], recipe.variables["lr"]) == (10, 1)
    assert [m.fields for m in recipe.modifiers][:3] == [{"x": 10, "y": 11}, {"x": 2}, {"z": 0}]
    assert Recipe.load(recipe.text) == recipe


def test_three_levels_and_front_matter(folder: Path) -> None:
    (folder / "top.md").write_text("# T\n---\nextends: ./own.yaml\nn: 1\n---\n")
    recipe = Recipe.load(folder / "top.md")
    assert recipe.variables["n"] == 1
    assert recipe.modifiers[0].fields == {"x": 1, "y": 2}


def test_stages_are_joined_by_name(folder: Path) -> None:
    (folder / "base.yaml").write_text("a:\n  k: 1\n  modifiers: [!A {x: eval(k)}]\nb:\n  modifiers: [!A {x: 5}]\n")
    (folder / "own.yaml").write_text("extends: base.yaml\na: {k: 2, modifiers: []}\nc: {modifiers: [!C]}\n")
    recipe = Recipe.load(folder / "own.yaml")
    assert [(s.name, [m.fields for m in s.modifiers]) for s in recipe.stages] == [
        ("a", [{"x": 2}]),
        ("b", [{"x": 5}]),
        ("c", [{}]),
    ]


def test_a_bare_list_may_be_extended(folder: Path) -> None:
    (folder / "base.yaml").write_text("- !A {x: 1}\n- !B {x: 2}\n")
    (folder / "own.yaml").write_text("extends: base.yaml\nmodifiers: [!B {x: 3}]\n")
    assert [(m.type, m.fields) for m in Recipe.load(folder / "own.yaml").modifiers] == [
        ("A", {"x": 1}),
        ("B", {"x": 3}),
    ]


def test_a_stub_and_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = "zoo:nlp/token_classification/obert-base/pytorch/huggingface/conll2003/pruned90_quant-none"
    recipe = Recipe.load(f"extends: {stub}\nnum_epochs: 20\n")
    assert recipe.variables["num_epochs"] == 20
    assert len(recipe.modifiers) == len(Recipe.load(stub).modifiers)
    monkeypatch.chdir(folder)
    assert Recipe.load("extends: base.yaml\nlr: 5\n").variables["lr"] == 5


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("extends: own.yaml\n", "in a circle"),
        ("extends: loop.yaml\n", "in a circle"),
        ("extends: nope.yaml\n", "no such file"),
        ("extends: bas.yaml\n", "no such file"),
        ("extends: [a]\n", "must name one other recipe"),
        ("extends:\n", "must name one other recipe"),
        ("extends: zoo:nope\n", "zoo:"),
        ("extends: http://x/y.yaml\n", "not read from such addresses"),
        ("extends: ~nobody-here/x.yaml\n", "extends"),
        ('extends: "a\\0b.yaml"\n', "no such file"),
        ("extends: broken.yaml\n", "broken.yaml:1:5"),
    ],
)
def test_refused_at_its_place(folder: Path, own: str, told: str) -> None:
    (folder / "loop.yaml").write_text("a: 1\nextends: own.yaml\n")
    (folder / "broken.yaml").write_text("a: [\n")
    (folder / "own.yaml").write_text(own + "modifiers: [!A]\n")
    with pytest.raises(RecipeError) as caught:
        Recipe.load(folder / "own.yaml")
    (problem,) = caught.value.problems
    assert told in str(problem) or "broken" in own
    assert problem.line is not None
    assert problem.column is not None


def test_the_number_of_levels_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text("modifiers: [!A]\n")
    for level in range(1, 12):
        (tmp_path / f"{level}.yaml").write_text(f"extends: {level - 1}.yaml\n")
    assert Recipe.load(tmp_path / "8.yaml").modifiers[0].type == "A"
    with pytest.raises(RecipeError, match="more than 8 recipes"):
        Recipe.load(tmp_path / "11.yaml")


def test_the_size_of_what_comes_together_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"a: &a {'x' * 100_000}\nl: [*a, *a, *a, *a, *a, *a]\nmodifiers: [!A]\n")
    (tmp_path / "own.yaml").write_text("extends: base.yaml\n")
    with pytest.raises(RecipeError, match="too long with what it extends"):
        Recipe.load(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    "name", ["../secret.yaml", "/etc/secret.yaml", "{secret}", "link.yaml", "~/secret.yaml", "linked"]
)
def test_a_recipe_of_a_zoo_reads_nothing_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = tmp_path / "zoo" / "nlp/token_classification/bert-base/pytorch/huggingface/conll2003/base-none"
    entry.mkdir(parents=True)
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: 1\nmodifiers: [!A]\n")
    (entry / "link.yaml").symlink_to(secret)
    (entry / "linked").mkdir()
    (entry / "linked" / "recipe.yaml").symlink_to(secret)
    (entry / "recipe.yaml").write_text(f"extends: {str(secret) if name == '{secret}' else name}\n")
    monkeypatch.setenv("SPARSIFY_ZOO", str(tmp_path / "zoo"))
    stub = "zoo:nlp/token_classification/bert-base/pytorch/huggingface/conll2003/base-none"
    with pytest.raises(RecipeError) as caught:
        Recipe.load(stub)
    assert "password" not in str(caught.value)
    (entry / "beside.yaml").write_text("modifiers: [!B]\n")
    (entry / "recipe.yaml").write_text("extends: beside.yaml\n")
    assert Recipe.load(stub).modifiers[0].type == "B"
