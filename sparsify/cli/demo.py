"""``sparsify-train token_classification --demo``: the main job on a made-up corpus, through the real commands."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.cli import common
from sparsify.errors import CheckFailed, SparsifyError

if TYPE_CHECKING:
    from sparsify.export.benchmark import BenchmarkReport

RECIPE = "zoo:nlp/token_classification/bert-mini/pytorch/huggingface/demo/pruned80_quant-none"
MAX_LOSS = 2.0
"""F1 points that the compressed model may be below the dense control."""
MIN_ONE_SHOT_LOSS = 10.0
"""F1 points that the same sparsity must cost without training, or the demo would prove nothing."""
_EPOCHS, _RATE, _LENGTH = 6, 1e-3, 64
_TEXT = "Apple has hired Grace Austin as its new director in Sydney ."


class _Failed(SparsifyError):
    """A command of the demo failed; it has said why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One column of the final table.

    Attributes:
        name: What it is called.
        validation: F1 on the validation split, 0 to 100.
        test: F1 on the test split.
        model: What the model holds, as ``ModelReport.to_dict`` gives it.
        onnx_test: F1 of the ONNX file on the test split, None where it was not exported.
    """

    name: str
    validation: float
    test: float
    model: dict[str, Any]
    onnx_test: float | None = None


def run(argv: Sequence[str]) -> int:
    """Run the demo with the arguments after ``--demo``; return the exit code."""
    args = _parser().parse_args(list(argv))
    root, began = Path(args.output_dir), time.monotonic()
    try:
        outcomes, timed = _everything(root, args.seed)
    except _Failed as error:
        common.say(f"the demo ended early: {error}")
        return error.exit_code
    _show(outcomes, timed)
    common.console().print(f"{time.monotonic() - began:.0f} s; everything is in {root}")
    _judge(*outcomes[1:])
    return 0


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("sparsify-train token_classification --demo", allow_abbrev=False)
    p.add_argument("--output_dir", default="runs/demo", metavar="DIR", help="where all is written (runs/demo)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the corpus and of training (0)")
    return p


def _everything(root: Path, seed: int) -> tuple[list[Outcome], BenchmarkReport]:
    from sparsify.tasks.demo_corpus import write_corpus, write_model

    _heading(1, "A made-up corpus of named entities, and a small BERT with random weights")
    files = write_corpus(root / "corpus", seed)
    untrained = write_model(root / "untrained", files["train"], seed)
    dense, control, compressed, one_shot = (root / n for n in ("dense", "control", "compressed", "one_shot"))
    plain = ["--num_train_epochs", str(_EPOCHS), "--learning_rate", str(_RATE), "--warmup_steps", "25"]
    _heading(2, "Dense: the model to compress, and the teacher")
    _train(untrained, dense, files, seed, ["--do_train", *plain])
    _heading(3, "Dense control: as many epochs more, without a recipe")
    _train(dense, control, files, seed + 1, ["--do_train", *plain])
    _heading(4, "Compressed: pruned to 80%, distilled, int8, by the recipe")
    taught = ["--do_train", "--recipe", RECIPE, "--distill_teacher", str(dense)]
    _train(dense, compressed, files, seed + 1, taught)
    _heading(5, "The same zeros in one shot, without training")
    recipe = root / "one_shot.yaml"
    recipe.write_text(_one_shot_recipe(), encoding="utf-8")
    _train(dense, one_shot, files, seed, ["--one_shot", "--recipe", str(recipe)])
    timed = _deploy(control, compressed, files)
    named = {"dense": dense, "dense control": control, "compressed": compressed, "one shot": one_shot}
    return [_outcome(name, folder) for name, folder in named.items()], timed


def _deploy(control: Path, compressed: Path, files: dict[str, Path]) -> BenchmarkReport:
    from sparsify.cli import benchmark as benchmark_command
    from sparsify.cli import export, predict
    from sparsify.export.benchmark import benchmark

    for number, folder in ((6, control), (7, compressed)):
        _heading(number, f"Export of {folder.name}, proven equal to the model")
        data = ["--samples", str(files["validation"]), "--eval", str(files["test"])]
        _command(export.main, ["--model_path", str(folder), *data])
    _heading(8, "Latency side by side")
    timed = benchmark([control / "deployment", compressed / "deployment"], length=_LENGTH, rounds=100)
    benchmark_command.show(timed)
    _heading(9, "Entities, by the compressed ONNX file")
    common.console().print(_TEXT, markup=False)
    _command(predict.main, [str(compressed / "deployment"), _TEXT])
    return timed


def _train(start: Path, output: Path, files: dict[str, Path], seed: int, more: Sequence[str]) -> None:
    from sparsify.cli import train

    flags = {
        "--model_name_or_path": start,
        "--output_dir": output,
        **{f"--{split}_file": path for split, path in files.items()},
        "--text_column_name": "tokens",
        "--label_column_name": "ner_tags",
        "--max_seq_length": _LENGTH,
        "--per_device_train_batch_size": 32,
        "--per_device_eval_batch_size": 64,
        "--seed": seed,
        "--save_strategy": "no",
        "--report_to": "none",
    }
    argv = [str(word) for pair in flags.items() for word in pair]
    _command(train.main, ["token_classification", *argv, "--do_eval", "--do_predict", *more])


def _command(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> None:
    code = main(argv)
    if code:
        error = _Failed(f"{main.__module__.rpartition('.')[2]} {' '.join(argv)}")
        error.exit_code = code
        raise error


def _one_shot_recipe() -> str:
    """A recipe that prunes what the demo's recipe prunes, to the same sparsity, and does nothing else."""
    from sparsify.manager import load_recipe

    specs = [spec for stage in load_recipe(RECIPE).recipe.stages for spec in stage.modifiers]
    fields = next(spec.fields for spec in specs if spec.type == "GMPruningModifier")
    entry = json.dumps(fields | {"start_epoch": 0.0, "end_epoch": 1.0})
    return f"# The demo's zeros at once: what its recipe's training is for.\npruning_modifiers:\n  - !GMPruningModifier {entry}\n"


def _outcome(name: str, folder: Path) -> Outcome:
    metrics = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    validation, test = 100 * metrics["eval_f1"], 100 * metrics["predict_f1"]
    path = folder / "deployment" / "report.json"
    if path.is_file():
        report = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(name, validation, test, report["model"], 100 * report["metrics"]["onnxruntime"]["f1"])
    from sparsify.analysis.report import model_report
    from sparsify.export.checkpoint import load_model

    return Outcome(name, validation, test, model_report(load_model(folder)).to_dict())


def _show(outcomes: Sequence[Outcome], timed: BenchmarkReport) -> None:
    from rich.table import Table

    table = Table(title="Dense against compressed", caption=f"A/A ratio of the latencies: {timed.aa_ratio:.2f}")
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome.name, justify="right")
    for row in _rows(outcomes, timed):
        table.add_row(*row)
    common.console().print(table)


def _rows(outcomes: Sequence[Outcome], timed: BenchmarkReport) -> list[list[str]]:
    from sparsify.analysis.report import PRUNABLE, WHOLE

    exported = iter(timed.timings)
    times = [None if outcome.onnx_test is None else next(exported) for outcome in outcomes]
    return [
        ["F1, validation", *(f"{o.validation:.2f}" for o in outcomes)],
        ["F1, test", *(f"{o.test:.2f}" for o in outcomes)],
        ["F1, test, ONNX Runtime", *("" if o.onnx_test is None else f"{o.onnx_test:.2f}" for o in outcomes)],
        [PRUNABLE, *(f"{o.model['sparsity_prunable']:.1%}" for o in outcomes)],
        [WHOLE, *(f"{o.model['sparsity_model']:.1%}" for o in outcomes)],
        ["bits of the weights", *(str(o.model["bits"]) for o in outcomes)],
        ["ONNX file", *("" if t is None else f"{t.bytes / 1e6:.2f} MB" for t in times)],
        ["ONNX file, gzipped", *("" if t is None else f"{(t.gzip_bytes or 0) / 1e6:.2f} MB" for t in times)],
        ["latency (p50)", *("" if t is None else f"{t.p50:.2f} ms" for t in times)],
        ["times as fast", *("" if t is None else f"{t.ratio:.2f}" for t in times)],
    ]


def _judge(control: Outcome, compressed: Outcome, one_shot: Outcome) -> None:
    """Say whether the demo shows what it is there to show.

    Raises:
        CheckFailed: It does not.
    """
    change, at_once = compressed.test - control.test, one_shot.test - control.test
    line = f"F1 against the dense control: compressed {change:+.2f} points, the same zeros in one shot {at_once:+.2f}"
    if -change > MAX_LOSS or -at_once < MIN_ONE_SHOT_LOSS:
        raise CheckFailed(f"{line} (wanted: at least -{MAX_LOSS:g}, at most -{MIN_ONE_SHOT_LOSS:g})")
    common.console().print(line)


def _heading(number: int, text: str) -> None:
    common.console().print(f"\n[bold]{number}. {text}[/bold]")
