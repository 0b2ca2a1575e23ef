"""New recipes from wishes."""

from __future__ import annotations

import itertools

import pytest

from sparsify.analysis.plan import make_plan
from sparsify.errors import InputError
from sparsify.manager import load_recipe
from sparsify.recipe.template import TASKS, Wishes, new_recipe
from tests.helpers.models import FAMILIES, tiny_classifier

WISHES = [
    Wishes(task, sparsity, "unstructured", int8, distill)
    for task, sparsity, int8, distill in itertools.product(TASKS, (None, 0.5, 0.9), (False, True), (False, True))
    if sparsity or int8 or distill
]


@pytest.mark.parametrize("wishes", WISHES, ids=str)
def test_every_wish_gives_a_recipe_without_findings(wishes: Wishes) -> None:
    manager = load_recipe(new_recipe(wishes))
    plan = make_plan(manager, 50)
    assert plan.findings == []
    kinds = {m.kind for m in manager.modifiers}
    assert ("pruning" in kinds) == (wishes.sparsity is not None)
    assert ("quantization" in kinds) == wishes.int8
    assert manager.needs_teacher == wishes.distill
    last = plan.moments([plan.steps])[0]
    found = {name: value for values in last.values.values() for name, value in values.items()}
    assert found.get("sparsity") == wishes.sparsity
    assert last.lr == [pytest.approx(0.0)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_fit_encoders(family: str) -> None:
    plan = make_plan(load_recipe(new_recipe(Wishes(sparsity=0.5))), 10, model=tiny_classifier(family))
    assert plan.findings == []
    (names,) = (plan.matched or {}).values()
    assert len(names) == (16 if family == "deberta-v2" else 12), "six in each layer, and two of its position"
    assert not any("embed" in name or "classifier" in name for name in names)


def test_numbers_can_be_chosen() -> None:
    manager = load_recipe(new_recipe(Wishes(sparsity=0.5, pattern="2:4", epochs=5, learning_rate=3e-5)))
    assert manager.max_epochs == 5
    assert manager.recipe.variables["init_lr"] == 3e-5
    assert [m.mask_type for m in manager.modifiers if m.kind == "pruning"] == ["2:4"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (Wishes(), "nothing to do"),
        (Wishes("tagging", 0.5), "token_classification, text_classification"),
        (Wishes(sparsity=1.0), "both excluded"),
        (Wishes(sparsity=80), "0.8 for 80% zeros"),
        (Wishes(int8=True, epochs=0), "epochs must be at least 1"),
        (Wishes(int8=True, learning_rate=5), "learning rate"),
    ],
)
def test_wishes_out_of_range(wishes: Wishes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        new_recipe(wishes)
