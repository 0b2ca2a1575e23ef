"""The manager: which model a recipe drives, for how long, and what it does without training."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sparsify.errors import InputError
from sparsify.manager import ModifierManager, load_recipe
from sparsify.modifiers.pruning import GMPruningModifier
from tests.matrix.settings import SETTINGS
from tests.matrix.world import EPOCHS, STEPS_PER_EPOCH, Net, batch, make_model

GM = SETTINGS["GMPruningModifier"].recipe


def train(manager: ModifierManager, model: Net, steps: int = EPOCHS * STEPS_PER_EPOCH) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    teacher = "self" if manager.needs_teacher else None
    with manager.attach(model, optimizer, STEPS_PER_EPOCH, teacher=teacher, epochs=EPOCHS):
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


def averaged(
    manager: ModifierManager, model: Net, watch: Callable[[AveragedModel], None] | None = None
) -> AveragedModel:
    """Train to the end with an exponential average of the weights, which began when all were there.

    ``watch`` is called after each of its updates.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    with manager.attach(model, optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        for number in range(EPOCHS * STEPS_PER_EPOCH):
            model(**batch(number))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(model)
            if watch is not None:
                watch(average)
    return average


def same_zeros(average: torch.nn.Module, model: Net) -> bool:
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    return all(bool((theirs[mine == 0] == 0).all()) for theirs, mine in pairs)


def test_an_average_of_the_weights_gets_the_masks_after_training() -> None:
    manager, model = load_recipe(GM), make_model()
    average = averaged(manager, model)
    assert not same_zeros(average, model)
    kept = average.module.fc1.weight[model.fc1.weight != 0].clone()
    assert manager.apply_masks(average) is average
    assert same_zeros(average, model)
    assert torch.equal(average.module.fc1.weight[model.fc1.weight != 0], kept)


def test_an_average_may_be_masked_after_each_of_its_updates() -> None:
    manager, model = load_recipe(GM), make_model()
    found: list[bool] = []
    averaged(manager, model, lambda average: found.append(same_zeros(manager.apply_masks(average), model)))
    assert found == [True] * EPOCHS * STEPS_PER_EPOCH
    assert zeros(model) > 0


def test_masks_go_on_copies_and_on_tensors_by_name() -> None:
    manager, model = load_recipe(GM), make_model()
    before = copy.deepcopy(model)
    shadow = {f"module.{name}": weight.detach().clone() for name, weight in model.named_parameters()}
    train(manager, model)
    assert same_zeros(manager.apply_masks(before), model)
    manager.apply_masks(shadow)
    assert float((shadow["module.fc1.weight"] == 0).float().mean()) == zeros(model)
    shadow.pop("module.fc1.weight")
    with pytest.raises(InputError, match=r"fc1\.weight is not among them \(near: fc2\.weight\)"):
        manager.apply_masks(shadow)


def test_an_average_of_a_model_that_shrank_since_is_refused() -> None:
    manager, model = load_recipe(SETTINGS["LayerThinningModifier"].recipe), make_model()
    average = AveragedModel(model)
    train(manager, model)
    with pytest.raises(InputError, match="were parts of the model removed"):
        manager.apply_masks(average)
    assert same_zeros(manager.apply_masks(copy.deepcopy(model)), model)


def test_a_recipe_that_was_never_attached_has_no_masks_to_give() -> None:
    with pytest.raises(InputError, match="no masks before it is attached"):
        load_recipe(GM).apply_masks(make_model())


RELATIVE = GM.replace("start_epoch: 0.5", "start_epoch: 2 steps").replace("end_epoch: 2.0", "end_epoch: 50%")
COPIES = {"pickle": lambda manager: pickle.loads(pickle.dumps(manager)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("recipe", [RELATIVE, SETTINGS["PerLayerDistillationModifier"].recipe], ids=["times", "hooks"])
def test_a_copy_is_the_recipe_again(again: Callable[[ModifierManager], ModifierManager], recipe: str) -> None:
    manager, model, twin = load_recipe(recipe), make_model(), make_model()
    untouched = again(manager)
    train(manager, model)
    for other in (untouched, again(manager)):
        assert other.recipe.text == manager.recipe.text
        assert [m.key for m in other.modifiers] == [m.key for m in manager.modifiers]
        with pytest.raises(InputError, match="no masks before it is attached"):
            other.apply_masks(model)
        twin.load_state_dict(make_model().state_dict())
        train(other, twin)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_copy_in_mid_run_holds_nothing_of_the_run() -> None:
    manager, model = load_recipe(SETTINGS["OutputDistillationModifier"].recipe), make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with manager.attach(model, optimizer, STEPS_PER_EPOCH, teacher="self", epochs=EPOCHS) as run:
        for number in range(2 * STEPS_PER_EPOCH):
            run.begin_step()
            out = model(**batch(number))
            run.loss(out["loss"], inputs=batch(number), outputs=out).backward()
            assert len(pickle.dumps(manager)) < 10_000
            optimizer.step()
            optimizer.zero_grad()


def test_a_copy_keeps_the_record_and_what_was_dropped() -> None:
    pruned = make_model()
    load_recipe(GM).apply(pruned)
    second = load_recipe(SETTINGS["DistillationModifier"].recipe, distillation=False)
    manager = second.after(load_recipe(GM).recipe, pruned)
    other = copy.deepcopy(manager)
    assert other.record.text == manager.record.text != other.recipe.text
    assert [m.kind for m in other.modifiers] == ["pruning"]
