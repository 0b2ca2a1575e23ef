"""The run: what fires when, and what a resume refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsify.errors import InputError, RecipeError, StateError
from sparsify.manager import load_recipe
from sparsify.wrappers import unwrap, unwrap_optimizer
from tests.matrix.settings import SETTINGS
from tests.matrix.world import EPOCHS, STEPS_PER_EPOCH, World, batch, make_model

GM = SETTINGS["GMPruningModifier"].recipe


def step(world: World, number: int = 0) -> None:
    world.model(**batch(number))["loss"].backward()
    world.optimizer.step()
    world.optimizer.zero_grad()


def test_a_loop_that_never_asks_for_the_loss_is_driven_too() -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        for number in range(12):
            step(world, number)
    assert (world.model.fc1.weight == 0).float().mean() == pytest.approx(0.75, abs=0.01)


def test_steps_that_the_gradient_scaler_skips_are_not_counted() -> None:
    world = World(GM, "sgd")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1000)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(6):
            loss = world.model(**batch(number))["loss"]
            scaler.scale(loss * (float("inf") if number in (1, 4) else 1.0)).backward()
            scaler.step(world.optimizer)
            scaler.update()
            world.optimizer.zero_grad()
        assert run.clock.step == 4


def test_finish_makes_up_for_steps_that_were_skipped() -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(5):
            step(world, number)
        run.finish()
        assert run.values()["sparsity"] == pytest.approx(0.75)
    assert (world.model.fc2.weight == 0).float().mean() == pytest.approx(0.75, abs=0.01)


def test_a_loop_that_stops_early_is_told_what_the_model_lacks(caplog: pytest.LogCaptureFixture) -> None:
    world = World(GM + "  - !QuantizationModifier {start_epoch: 2.5}\n")
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(5):
            step(world, number)
        lacks = run.unfinished()
    assert len(lacks) == 2
    assert "GMPruningModifier" in lacks[0]
    assert "QuantizationModifier" in lacks[1]
    assert lacks[1].endswith("begins at epoch 2.5")
    assert f"training stopped at epoch {5 / STEPS_PER_EPOCH:.4g} of {EPOCHS}" in caplog.text
    assert "; ".join(lacks) in caplog.text


def test_a_loop_that_runs_to_its_end_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(EPOCHS * STEPS_PER_EPOCH):
            step(world, number)
        assert run.unfinished() == []
    assert "training stopped" not in caplog.text


def stopped(recipe: str, steps: int) -> list[str]:
    """What a run that stops after ``steps`` says that the model lacks."""
    world = World("modifiers:\n" + recipe)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(steps):
            step(world, number)
        return run.unfinished()


QUANTIZE = "  - !QuantizationModifier {{start_epoch: 0.5{}}}\n"


@pytest.mark.parametrize(
    ("fields", "steps", "said"),
    [
        (", disable_quantization_observer_epoch: 1.5", 6, "ranges still move and stop at epoch 1.5"),
        (", disable_quantization_observer_epoch: 1.5", 7, None),
        (", end_epoch: 1.5", 6, "ranges still move and stop at epoch 1.5"),
        (", end_epoch: 1.5", 7, None),
        ("", 11, "ranges still move and stop at the run's end"),
        ("", 12, None),
        (", learned_step_size: true, disable_quantization_observer_epoch: 2.0", 5, "stop at epoch 2"),
        (
            ", disable_quantization_observer_epoch: 1.0, freeze_bn_stats_epoch: 2.0",
            5,
            "batch norms still learn and stop at epoch 2",
        ),
        (
            ", disable_quantization_observer_epoch: 1.0, freeze_bn_stats_epoch: 2.0",
            3,
            "ranges still move and stop at epoch 1, batch norms still learn and stop at epoch 2",
        ),
        (", disable_quantization_observer_epoch: 1.0, freeze_bn_stats_epoch: 2.0", 9, None),
        (", disable_quantization_observer_epoch: 1.5", 1, "begins at epoch 0.5"),
    ],
)
def test_quantization_that_stops_before_its_ranges_do_is_told(fields: str, steps: int, said: str | None) -> None:
    lacks = stopped(QUANTIZE.format(fields), steps)
    assert [line.endswith(said) for line in lacks] == [True] if said else lacks == []


@pytest.mark.parametrize(
    ("fields", "steps", "epoch"),
    [("{start_epoch: 1.0, update_epochs: [2.0]}", 6, 2), ("{start_epoch: 1.0, update_epochs: [2.0]}", 10, None),
     ("{}", 6, 3), ("{start_epoch: 1.0}", 6, None)],
)  # fmt: skip
def test_removals_that_are_still_to_come_are_told(fields: str, steps: int, epoch: int | None) -> None:
    lacks = stopped(f"  - !LayerThinningModifier {fields}\n", steps)
    assert [line.endswith(f"removes what is dead at epoch {epoch}") for line in lacks] == ([True] if epoch else [])


def test_pruning_that_is_done_lacks_nothing_when_the_run_stops() -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(EPOCHS * STEPS_PER_EPOCH - 1):
            step(world, number)
        assert not run.finished
        assert run.unfinished() == []


def test_a_foreign_scheduler_is_an_error() -> None:
    world = World(SETTINGS["LearningRateFunctionModifier"].recipe)
    schedule = torch.optim.lr_scheduler.StepLR(world.optimizer, 1)
    with (
        pytest.raises(InputError, match="outside the recipe"),
        world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS),
    ):
        for number in range(5):
            step(world, number)
            schedule.step()


def test_state_of_another_recipe_says_what_differs() -> None:
    state = World(GM).train(last=3)
    other = World(GM.replace("final_sparsity: 0.75", "final_sparsity: 0.5"))
    with pytest.raises(StateError, match="with other fields: default/GMPruningModifier/0"):
        other.train(first=3, state=state)
    with pytest.raises(StateError, match=r"only in the saved run: .*GMPruning.*; only in this recipe: .*Constant"):
        World(SETTINGS["ConstantPruningModifier"].recipe).train(first=3, state=state)


def test_state_of_another_batch_size_says_so() -> None:
    world = World(GM)
    state = world.train(last=3)
    with (
        pytest.raises(StateError, match="steps_per_epoch = 4, this one has 5"),
        world.manager.attach(world.model, world.optimizer, 5, epochs=EPOCHS) as run,
    ):
        run.load_state_dict(state)


def test_a_run_shorter_than_the_recipe_is_refused() -> None:
    world = World("modifiers:\n  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: 3.0}\n")
    with (
        pytest.raises(InputError, match="the run has 2 epochs, the recipe needs 3"),
        world.manager.attach(world.model, world.optimizer, 4, epochs=2),
    ):
        pass


def test_a_recipe_without_times_needs_epochs() -> None:
    world = World("modifiers:\n  - !ConstantPruningModifier {params: [fc1.weight]}\n")
    with pytest.raises(InputError, match="names no epoch"), world.manager.attach(world.model, world.optimizer, 4):
        pass


@pytest.mark.parametrize("steps", [0, -1])
def test_steps_per_epoch_must_be_positive(steps: int) -> None:
    world = World(GM)
    with pytest.raises(InputError, match="at least 1"), world.manager.attach(world.model, world.optimizer, steps):
        pass


def test_wrappers_are_seen_through() -> None:
    model = make_model()
    compiled = torch.compile(model)
    assert unwrap(compiled) is model
    with pytest.raises(InputError, match="expected a torch optimizer, got int"):
        unwrap_optimizer(3)


def test_accelerates_wrapped_optimizer_drives_the_recipe() -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    world = World(GM)
    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(world.model, world.optimizer)
    assert unwrap_optimizer(optimizer) is world.optimizer
    with world.manager.attach(model, optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(12):
            accelerator.backward(model(**batch(number))["loss"])
            optimizer.step()
            optimizer.zero_grad()
        assert run.finished
    assert (world.model.fc1.weight == 0).float().mean() == pytest.approx(0.75, abs=0.01)


def test_self_teacher_is_the_model_as_it_was() -> None:
    recipe = SETTINGS["DistillationModifier"].recipe
    world = World(recipe)
    world.teacher = "self"
    state = world.train()
    assert state["modifiers"]["default/DistillationModifier/0"]["state"]["teacher"]


def test_an_unknown_word_for_a_teacher_is_refused() -> None:
    world = World(SETTINGS["DistillationModifier"].recipe)
    world.teacher = "myself"
    with pytest.raises(InputError, match="'self', got 'myself'"):
        world.train()


def test_a_selector_without_match_names_the_place_in_the_recipe() -> None:
    from sparsify.errors import RecipeError

    world = World(GM.replace('["re:fc[12].weight"]', "[fc3.weight]"))
    with pytest.raises(RecipeError) as caught:
        world.train()
    assert caught.value.line == 3
    assert "fc1.weight" in str(caught.value)


def test_one_shot_needs_data_for_activations() -> None:
    manager = load_recipe(SETTINGS["QuantizationModifier"].recipe)
    with pytest.raises(InputError, match="needs calibration data"):
        manager.apply(make_model())


def test_one_shot_of_weights_alone_needs_no_data() -> None:
    recipe = "modifiers:\n  - !QuantizationModifier {start_epoch: 0.0, scheme: {input_activations: null}}\n"
    model = load_recipe(recipe).apply(make_model())
    from sparsify.quantization.layers import quantizers

    assert all(q.enabled for q in quantizers(model).values())


def rates(world: World) -> list[float]:
    return [float(group["lr"]) for group in world.optimizer.param_groups]


LINEAR = """modifiers:
  - !LearningRateFunctionModifier {lr_func: linear, init_lr: 0.01, final_lr: 0.0, start_epoch: 0, end_epoch: 3}
"""


def test_rates_that_the_recipe_does_not_set_may_be_changed_by_others() -> None:
    world = World(
        "modifiers:\n  - !SetLearningRateModifier {start_epoch: 1.0, learning_rate: 0.25, param_groups: [0]}\n"
    )
    world.optimizer.param_groups[0]["lr"] = 1.0
    world.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 1.0})
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(STEPS_PER_EPOCH):  # a warm-up of one's own, before the recipe's rate
            step(world, number)
            world.optimizer.param_groups[0]["lr"] = 0.5
            world.optimizer.param_groups[1]["lr"] = 0.9**number
        assert rates(world) == [0.5, 0.9 ** (STEPS_PER_EPOCH - 1)]
        step(world, STEPS_PER_EPOCH)
        assert rates(world) == [0.25, 0.9 ** (STEPS_PER_EPOCH - 1)]
        world.optimizer.param_groups[0]["lr"] = 0.5
        with pytest.raises(InputError, match=r"param group 0 was changed from 0\.25 to 0\.5 outside the recipe"):
            run.begin_step()


def test_a_param_group_that_is_added_gets_its_rate_too() -> None:
    world = World(LINEAR)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        step(world, 0)
        world.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 7.0})
        run.begin_step()
        assert rates(world) == [pytest.approx(rates(world)[0])] * len(rates(world))


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    world = World(LINEAR)
    held = torch.tensor(3.0)
    for group in world.optimizer.param_groups:
        group["lr"] = held
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(3):
            step(world, number)
        run.begin_step()
    assert all(group["lr"] is held for group in world.optimizer.param_groups)
    plain = World(LINEAR)
    plain.train(last=4)
    assert float(held) == pytest.approx(rates(plain)[0])


def test_training_with_another_optimizer_than_the_attached_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World(GM)
    other = torch.optim.SGD(world.model.parameters(), lr=0.1)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        for weight in world.model.parameters():
            weight.grad = torch.ones_like(weight)
        other.step()
    assert "took no step, so nothing of the recipe was carried out" in caplog.text


def test_an_attached_loop_that_trains_nothing_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        pass
    assert caplog.text == ""


def test_a_model_that_is_frozen_is_pruned_in_one_shot_too() -> None:
    model = make_model().requires_grad_(False)
    load_recipe(GM).apply(model)
    assert (model.fc1.weight == 0).float().mean() == pytest.approx(0.75, abs=0.01)
    assert not any(weight.requires_grad for weight in model.parameters())


HANDED_OVER = """
modifiers:
  - !GMPruningModifier
    {params: [fc1.weight], init_sparsity: 0.0, final_sparsity: 0.75, start_epoch: 0.0, end_epoch: 2.0,
     update_frequency: 1.0, leave_enabled: false}
  - !ConstantPruningModifier {params: [fc1.weight], start_epoch: 2.0}
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: EPOCHS}
"""


@pytest.mark.parametrize(("epochs", "taken"), [(3, 12), (3, 5), (2, 8), (2, 3)])
def test_what_begins_where_another_ends_sees_its_last_update(epochs: int, taken: int) -> None:
    world = World(HANDED_OVER.replace("EPOCHS", str(epochs)))
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH) as run:
        for number in range(taken):
            step(world, number)
        run.finish()
        held = world.manager.modifiers[1].values(2.0)
    assert held["sparsity"] == pytest.approx(0.75, abs=0.01)
    assert (world.model.fc1.weight == 0).float().mean() == pytest.approx(0.75, abs=0.01)


def test_an_attach_that_fails_leaves_no_hook_behind() -> None:
    recipe = (
        "modifiers:\n  - !PerLayerDistillationModifier {gain: 1.0}\n"
        "  - !ConstantPruningModifier {params: [fc9.weight], start_epoch: 0.0}\n"
    )
    world, teacher = World(recipe), make_model(1)
    with (
        pytest.raises(RecipeError, match=r"fc9\.weight"),
        world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, teacher=teacher, epochs=1),
    ):
        pass
    assert not any(module._forward_hooks for model in (world.model, teacher) for module in model.modules())


@pytest.mark.parametrize("modifier", ["WeightPruningModifier", "MovementPruningModifier"])
def test_a_closure_that_computes_the_gradients_is_refused_where_they_score(modifier: str) -> None:
    world = World(SETTINGS[modifier].recipe)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        with pytest.raises(InputError, match=rf"{modifier}.* scores weights by their gradients.*before a plain step"):
            closed_step(world)
        world.optimizer.step(None)


def test_a_closure_is_fine_where_weights_are_scored_by_themselves() -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        for _ in range(12):
            closed_step(world)
    assert (world.model.fc1.weight == 0).float().mean() == pytest.approx(0.75, abs=0.01)


def closed_step(world: World) -> None:
    def closure() -> torch.Tensor:
        world.optimizer.zero_grad()
        loss: torch.Tensor = world.model(**batch(0))["loss"]
        loss.backward()
        return loss

    world.optimizer.step(closure)


def test_masks_hold_under_an_optimizer_that_is_made_after_pruning() -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(EPOCHS * STEPS_PER_EPOCH):
            step(world, number)
        assert run.finished
        masks = {name: weight != 0 for name, weight in world.model.named_parameters()}
        before = world.model.fc1.weight.detach().clone()
        world.optimizer = torch.optim.AdamW(world.model.parameters(), lr=1e-2)
        step(world)
        assert run.clock.step == EPOCHS * STEPS_PER_EPOCH
    assert torch.equal(world.model.fc1.weight != 0, masks["fc1.weight"])
    assert not torch.equal(world.model.fc1.weight, before)
    step(world)  # the hooks are gone with the block
    assert not torch.equal(world.model.fc1.weight != 0, masks["fc1.weight"])


def test_masks_hold_under_a_second_optimizer_of_other_parameters() -> None:
    world = World(GM)
    mine = torch.optim.SGD(world.model.fc1.parameters(), lr=0.1)
    world.optimizer = torch.optim.SGD([*world.model.fc2.parameters(), *world.model.embed.parameters()], lr=0.1)
    with world.manager.attach(world.model, mine, STEPS_PER_EPOCH, epochs=EPOCHS):
        for number in range(EPOCHS * STEPS_PER_EPOCH):
            step(world, number)
            mine.step()
            mine.zero_grad()
        zeros = int((world.model.fc2.weight == 0).sum())
        step(world)
        assert int((world.model.fc2.weight == 0).sum()) == zeros > 0


def test_steps_of_another_optimizer_do_not_count_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    world = World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run:
        for number in range(2 * STEPS_PER_EPOCH - 1):
            step(world, number)
        world.optimizer = torch.optim.SGD(world.model.parameters(), lr=0.1)
        for number in range(5):
            step(world, number)
        assert run.clock.step == 2 * STEPS_PER_EPOCH - 1
    assert "ends at epoch 2. Steps of SGD, which the recipe is not attached to, do not count" in caplog.text


def test_optimizers_of_other_models_are_no_concern_of_a_run() -> None:
    world, other = World(GM), World(GM)
    with world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS):
        for number in range(EPOCHS * STEPS_PER_EPOCH):
            step(world, number)
        with torch.no_grad():
            world.model.fc1.weight.fill_(1.0)
        step(other)
        assert world.model.fc1.weight.all()


def test_a_resume_without_the_optimizers_state_says_so() -> None:
    world = World(SETTINGS["LearningRateFunctionModifier"].recipe)
    state, saved = world.train(last=6), world.optimizer.state_dict()
    world.optimizer = torch.optim.AdamW(world.model.parameters(), lr=0.5)
    with pytest.raises(InputError, match=r"is 0\.5, and was .* in the saved run: load the optimizer's state, too"):
        world.train(first=6, state=state)
    world.optimizer.load_state_dict(saved)
    world.train(first=6, state=state)


def test_a_scheduler_beside_a_resumed_run_is_an_error_as_ever() -> None:
    world = World(SETTINGS["LearningRateFunctionModifier"].recipe)
    state = world.train(last=6)
    with (
        pytest.raises(InputError, match="outside the recipe"),
        world.manager.attach(world.model, world.optimizer, STEPS_PER_EPOCH, epochs=EPOCHS) as run,
    ):
        run.load_state_dict(state)
        step(world)
        world.optimizer.param_groups[0]["lr"] = 0.5
        step(world)
