"""The manager: which model a recipe drives, for how long, and what it does without training."""

from __future__ import annotations

import pytest
import torch

from sparsify.errors import InputError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.modifiers.pruning import GMPruningModifier
from tests.matrix.settings import SETTINGS
from tests.matrix.world import EPOCHS, STEPS_PER_EPOCH, Net, batch, make_model

GM = SETTINGS["GMPruningModifier"].recipe


def train(manager: ModifierManager, model: Net, steps: int = EPOCHS * STEPS_PER_EPOCH) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with manager.attach(model, optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        for number in range(steps):
            model(**batch(number))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()


def zeros(model: Net) -> float:
    return float((model.fc1.weight == 0).float().mean())


def test_one_recipe_trains_one_model_after_another() -> None:
    manager = load_recipe(GM)
    for seed in (0, 1):
        model = make_model(seed)
        train(manager, model)
        assert zeros(model) == pytest.approx(0.75, abs=0.01)


def test_a_recipe_that_drives_another_model_by_now_is_an_error_not_a_dense_model() -> None:
    manager, first = load_recipe(GM), make_model()
    optimizer = torch.optim.SGD(first.parameters(), lr=0.1)
    with manager.attach(first, optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        second = make_model(1)
        train(manager, second)
        first(**batch(0))["loss"].backward()
        with pytest.raises(InputError, match="another training since: load it once for each model"):
            optimizer.step()
    assert zeros(second) == pytest.approx(0.75, abs=0.01)
    optimizer.step()  # the hooks are gone with the block


def test_leaving_the_first_block_late_takes_nothing_from_the_second_run() -> None:
    manager, models = load_recipe(GM), (make_model(), make_model(1))
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    first = manager.attach(models[0], optimizers[0], STEPS_PER_EPOCH, epochs=EPOCHS)
    first.__enter__()
    with manager.attach(models[1], optimizers[1], STEPS_PER_EPOCH, epochs=EPOCHS):
        first.__exit__(None, None, None)
        for number in range(EPOCHS * STEPS_PER_EPOCH):
            models[1](**batch(number))["loss"].backward()
            optimizers[1].step()
            optimizers[1].zero_grad()
    assert zeros(models[1]) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("steps", [2.5, float("nan"), float("inf")])
def test_steps_per_epoch_must_be_whole(steps: float) -> None:
    model, manager = make_model(), load_recipe(GM)
    with (
        pytest.raises(InputError, match="steps_per_epoch must be a whole number"),
        manager.attach(model, torch.optim.SGD(model.parameters(), lr=0.1), steps),  # type: ignore[arg-type]
    ):
        pass


@pytest.mark.parametrize(("recipe", "epochs"), [(GM, 3.5), ("modifiers: [!ConstantPruningModifier {}]\n", 0)])
def test_epochs_must_be_whole(recipe: str, epochs: float) -> None:
    with pytest.raises(InputError, match=f"a whole number of epochs, at least 1, got {epochs:g}"):
        load_recipe(recipe).epochs(epochs)


def test_one_shot_that_fails_lets_go_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    detached: list[bool] = []
    monkeypatch.setattr(GMPruningModifier, "on_detach", lambda self, run: detached.append(True))
    model = make_model()
    with torch.no_grad():
        model.fc1.weight[0, 0] = float("nan")
    with pytest.raises(Exception, match="not finite"):
        load_recipe(GM).apply(model)
    assert detached
