"""The table at the end of a training command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from sparsify.cli import common
from sparsify.export.compressed import COMPRESSED
from sparsify.recipe.source import CHECKPOINT_RECIPE

if TYPE_CHECKING:
    from sparsify.tasks.base import Result
    from sparsify.tasks.loading import Compared

_METRICS = (
    *("f1", "precision", "recall", "accuracy", "f1_micro", "f1_macro"),
    *("perplexity", "exact_match", "HasAns_f1", "NoAns_f1", "best_f1", "best_f1_thresh"),
    *("matthews_correlation", "pearson", "spearmanr", "combined_score", "mse", "loss"),
)


def show(result: Result) -> None:
    """Print metrics, what the model weighs now, and where the files are."""
    table = Table(title="Result", title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    for name, value in _measured(result.metrics):
        table.add_row(name, f"{value:.4f}")
    if result.measured_by != "torch":
        table.add_row("measured by", result.measured_by)
    for name, text in _weighed(result):
        table.add_row(name, text)
    console = common.console()
    console.print(table)
    for name, path in _files(result.output_dir):  # below the table: a path in a cell is broken where the cell ends
        console.print(f"{name:12} {path}", soft_wrap=True, highlight=False, markup=False)


def show_compared(compared: list[Compared]) -> bool:
    """Print what ``--verify_loading`` looked at; whether all of it is equal."""
    table = Table("compared", "in memory", "in a fresh process", "equal", title="Loading", title_justify="left")
    for one in compared:
        table.add_row(one.what, one.memory, one.loaded, "yes" if one.equal else "NO")
    common.console().print(table)
    return all(one.equal for one in compared)


def _measured(metrics: dict[str, float]) -> list[tuple[str, float]]:
    rows = []
    titles = {"eval": "validation", "eval_mm": "mismatched validation", "predict": "test"}
    for prefix, title in titles.items():
        rows += [(f"{title} {m}", metrics[f"{prefix}_{m}"]) for m in _METRICS if f"{prefix}_{m}" in metrics]
    if "train_loss" in metrics:
        rows.append(("training loss", metrics["train_loss"]))
    return rows


def _weighed(result: Result) -> list[tuple[str, str]]:
    from sparsify.analysis.report import model_report

    return list(model_report(result.model).totals().items())


def _files(folder: Path) -> list[tuple[str, Path]]:
    named = {
        "model": folder / "model.safetensors",
        "compressed": folder / COMPRESSED,
        "recipe": folder / CHECKPOINT_RECIPE,
        "metrics": folder / "all_results.json",
        "predictions": folder / "predictions.txt",
        "answers": folder / "predictions.json",
    }
    return [(name, path) for name, path in named.items() if path.is_file()]
