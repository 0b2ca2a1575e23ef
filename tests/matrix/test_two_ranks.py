"""Two ranks under DistributedDataParallel see different data and must end with one model, masks and ranges included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from sparsify.state import read_state, write_state
from tests.matrix.settings import PAIRS, SETTINGS, Setting
from tests.matrix.world import EPOCHS, STEPS_PER_EPOCH, TOTAL, World, assert_same, batch

RECIPES = {
    "prune, quantize, distil": PAIRS["prune then quantize with distillation"].recipe,
    "prune, teach layers": PAIRS["prune while layers are taught"].recipe,
    "prune, learn step sizes": PAIRS["prune, then learn step sizes"].recipe,
    "global pruning": SETTINGS["GlobalMagnitudePruningModifier"].recipe,
    "global pruning, frozen for a while": Setting(
        "\n".join(SETTINGS[name].body for name in ("GlobalMagnitudePruningModifier", "TrainableParamsModifier"))
    ).recipe,
    "AC/DC": SETTINGS["ACDCPruningModifier"].recipe,
    "units, removed at the end": SETTINGS["LayerThinningModifier"].recipe,
    "taylor scores": PAIRS["taylor scores over all layers"].recipe,
}


def work(rank: int, recipe: str, folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    world = World(recipe)
    model = DistributedDataParallel(world.model)
    attached = world.manager.attach(model, world.optimizer, STEPS_PER_EPOCH, teacher=world.teacher, epochs=EPOCHS)
    with attached as run:
        for step in range(TOTAL):
            torch.manual_seed(100 * rank + step)
            model.train()
            data = batch(step, part=rank)
            out = model(**data)
            run.loss(out["loss"], inputs=data, outputs=out).backward()
            world.optimizer.step()
            world.optimizer.zero_grad()
        state = run.state_dict()
    write_state(folder / f"state{rank}", state)
    write_state(folder / f"model{rank}", world.model.state_dict())
    dist.destroy_process_group()


@pytest.mark.parametrize("name", RECIPES)
def test_ranks_end_with_the_same_model_masks_and_ranges(name: str, tmp_path: Path) -> None:
    mp.spawn(work, args=(RECIPES[name], tmp_path), nprocs=2)
    assert_same(read_state(tmp_path / "state0"), read_state(tmp_path / "state1"), "state")
    first, second = read_state(tmp_path / "model0"), read_state(tmp_path / "model1")
    for statistic in ("running_mean", "running_var"):  # batch norm's own: ranks differ until DDP broadcasts again
        first.pop(f"norm.{statistic}"), second.pop(f"norm.{statistic}")
    assert_same(first, second, "model")
    pruned = first["fc1.weight"]
    assert 1 - (pruned != 0).sum() / 512 >= 0.5  # zeros, or what is not there any more
