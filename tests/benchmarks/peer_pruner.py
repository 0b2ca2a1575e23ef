"""A training run with Neural Compressor's own pruner in place of a recipe's: what it reaches from our start, seed by seed.

    pip install --no-deps --target PEER neural-compressor==2.6 schema py-cpuinfo prettytable pycocotools \
        opencv-python-headless "setuptools<80"
    PYTHONPATH=PEER python tests/benchmarks/peer_pruner.py --pattern 2:4 --sparsity 0.5 --decay exp --epochs 2 -- \
        token_classification --model_name_or_path DENSE --recipe distil.yaml --seed 42 ...

What stands behind ``--`` is a command of ``sparsify-train``: data, batches, optimizer, learning rate and distillation are
ours (``distil.yaml`` has a learning rate and a ``DistillationModifier``, and nothing that prunes), so that a difference to
our own run is the pruner's. snip_momentum, over all Linear layers but pooler and classifier, at most .98 a layer.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from neural_compressor.compression.pruner.pruning import PRUNINGS
from neural_compressor.compression.pruner.utils import process_config
from neural_compressor.training import WeightPruningConfig
from transformers import Trainer, TrainerCallback

from sparsify.cli import train
from sparsify.tasks import runner


class PeerPruner(TrainerCallback):
    """Calls Neural Compressor's pruner where its own loop would."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._pruning: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Make the pruner on the live model."""
        options, last = self._options, round(state.max_steps * self._options.epochs / args.num_train_epochs)
        config = WeightPruningConfig(
            [{"op_names": [".*"], "excluded_op_names": ["pooler", "classifier"]}],
            target_sparsity=options.sparsity,
            pattern=options.pattern,
            pruning_type="snip_momentum",
            pruning_scope=options.scope,
            sparsity_decay_type=options.decay,
            pruning_op_types=["Linear"],
            max_sparsity_ratio_per_op=0.98,
            pruning_frequency=max(1, round(last / options.updates)),
            start_step=0,
            end_step=last,
        )
        self._pruning = PRUNINGS["basic_pruning"](process_config(config), kwargs["model"])
        self._pruning.on_train_begin()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Masks are updated before a forward."""
        self._pruning.on_step_begin()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Scores see the gradients."""
        self._pruning.on_before_optimizer_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Masks hold after the step."""
        self._pruning.on_after_optimizer_step()


def main() -> int:
    """Run the command behind ``--`` with the peer's pruner."""
    mark = sys.argv.index("--")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pattern", default="2:4")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--decay", default="exp", help="its names: exp (default), linear, cos, cube")
    parser.add_argument("--scope", default="global")
    parser.add_argument("--epochs", type=float, default=2.0, help="over which sparsity grows")
    parser.add_argument("--updates", type=int, default=40)
    options = parser.parse_args(sys.argv[1:mark])
    ours = runner.make_trainer

    def with_peer(job: Any) -> Trainer:
        trainer = ours(job)
        trainer.add_callback(PeerPruner(options))
        return trainer

    runner.make_trainer = with_peer
    return train.main(sys.argv[mark + 1 :])


if __name__ == "__main__":
    sys.exit(main())
