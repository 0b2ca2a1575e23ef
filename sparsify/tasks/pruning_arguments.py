"""Flags that stand for a recipe: pruning as the scripts of Neural Compressor and optimum-intel had it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sparsify.tasks.arguments import flag


@dataclass
class PruningArguments:
    """Pruning without a recipe file: these flags are compiled into a recipe, which is shown and saved."""

    do_prune: bool = flag(False, "Prune while training (target_sparsity 0.8 unless given).")
    apply_pruning: bool = flag(False, "The same (target_sparsity 0.1 unless given).")
    target_sparsity: float | None = flag(None, "Share of zeros in the pruned layers at the end, such as 0.9.")
    pruning_type: str | None = flag(
        None,
        "Score: snip_momentum (default), snip, gradient, magnitude, each also with _progressive; or pattern_lock, which"
        " holds the zeros that are there.",
        "--pruning_approach",
    )
    pruning_pattern: str | None = flag(
        None, "4x1 (default), 1x1, NxM, 1xchannel, channelx1, or N:M pruned such as 2:4."
    )
    pruning_scope: str | None = flag(None, "global (default): one threshold for all layers; local: one for each.")
    pruning_frequency: int | None = flag(None, "Steps between updates (default: 1/40 of the time of pruning).")
    start_step: int | None = flag(None, "Step at which pruning starts (default: 0).")
    end_step: int | None = flag(None, "Step at which the target is reached (default: the end less --cooldown_epochs).")
    sparsity_warm_epochs: float = flag(0.0, "Epochs before pruning starts.")
    cooldown_epochs: float = flag(0.0, "Epochs after the target is reached.")
    pruning_config: str | None = flag(
        None, "WeightPruningConfig, list of pruning_configs or YAML; what it does not say is taken from these flags."
    )
    prune_ffn2_sparsity: float | None = flag(None, "Share of hidden neurons of feed-forward layers to prune.")
    prune_mha_sparsity: float | None = flag(None, "Share of attention heads to prune.")
    auto_slim: bool = flag(False, "Remove pruned heads and neurons for real at the end.")

    @property
    def structured(self) -> bool:
        """Whether whole heads or neurons go."""
        return self.auto_slim or self.prune_ffn2_sparsity is not None or self.prune_mha_sparsity is not None

    @property
    def prunes(self) -> bool:
        """Whether weights go."""
        return self.do_prune or self.apply_pruning or self.pruning_config is not None

    @property
    def asked(self) -> bool:
        """Whether there is a recipe to compile."""
        return self.prunes or self.structured

    def idle(self, explicit: frozenset[str]) -> str | None:
        """What to say of flags that were given and have no effect."""
        names = sorted(name for name in explicit if ALIASES.get(name, name) in FLAGS and name != "do_prune")
        if self.asked or not names or "do_prune" in explicit:
            return None
        return f"without --do_prune nothing is pruned: --{', --'.join(names)} has no effect"


FLAGS = tuple(field.name for field in dataclasses.fields(PruningArguments))
ALIASES = {"pruning_approach": "pruning_type"}
