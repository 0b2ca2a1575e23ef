"""``sparsify-export``: a trained model -> a deployment folder with an ONNX file proven equal to it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsify.cli import common, stubs
from sparsify.errors import InputError
from sparsify.zoo.stub import is_stub

if TYPE_CHECKING:
    from sparsify.export.deployment import Evaluate, ExportReport, ExternalData, Shapes

_EXAMPLE = """\
example:
  sparsify-export --model_path runs/ner --samples wnut17/validation.jsonl --eval wnut17/validation.jsonl

It writes runs/ner/deployment/: model.onnx, config.json, the tokenizer, report.json and report.md.
Exit codes: 0 the file equals the model, 1 it does not (an earlier export is kept), 2 bad input.
"""
_DATA_FLAGS = ("text_column_name", "label_column_name", "max_seq_length")
_BOOLS: dict[str, ExternalData] = {"auto": "auto", "always": True, "never": False}


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(
        "sparsify-export",
        description="Export a trained model to ONNX and prove the file equal to it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "--model_path", required=True, metavar="DIR", help="the model folder that training wrote, or a zoo: stub"
    )
    p.add_argument("--output_dir", metavar="DIR", help="where to write (default: MODEL_PATH/deployment)")
    p.add_argument("--task", help="what you take the model for; where the checkpoint says otherwise, it wins")
    p.add_argument(
        "--strict", action="store_true", help="a contradicting --task, or an int8 layer that stays float, is an error"
    )
    p.add_argument("--opset", type=int, help="ONNX opset, 18 to 23 (default: 20; 21 for int4)")
    p.add_argument(
        "--shrink", action="store_true", help="remove dead attention heads and neurons (docs/shrink.md) first"
    )
    shape = p.add_argument_group("shapes", "dynamic unless a length is given")
    shape.add_argument("--sequence_length", type=int, metavar="N", help="fix the length, in tokens")
    shape.add_argument("--batch_size", type=int, metavar="N", help="fix the batch too (default with a fixed length: 1)")
    where = "weights in a file of their own (auto: above 2 GB)"
    p.add_argument("--external_data", choices=list(_BOOLS), default="auto", help=where)
    _add_verification(p)
    p.add_argument("--json", action="store_true", help="print the whole report as JSON")
    stubs.add_flags(p)
    for name in ("--finetuning_task", "--num_export_samples", "--data_args"):
        p.add_argument(name, help=argparse.SUPPRESS)
    p.add_argument("--trust_remote_code", nargs="?", const="true", help=argparse.SUPPRESS)
    p.add_argument("--no_convert_qat", action="store_true", help=argparse.SUPPRESS)
    return p


def _add_verification(p: argparse.ArgumentParser) -> None:
    check = p.add_argument_group("verification")
    check.add_argument(
        "--samples", "--validation_file", metavar="FILE", help="compare on these (default: made-up sentences)"
    )
    check.add_argument(
        "--text_column_name",
        "--input_column_names",
        metavar="NAME",
        help="column of their text, or two: a,b (default: tokens, text, ...)",
    )
    check.add_argument("--max_samples", type=int, default=1000, metavar="N", help="at most so many (default: 1000)")
    check.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="fp32: largest difference of a logit (1e-4); int8: largest share of predictions that differ (0.005)",
    )
    check.add_argument(
        "--eval", metavar="FILE", help="also the metric on this labelled file, in torch and ONNX Runtime"
    )
    check.add_argument("--label_column_name", metavar="NAME", help="column of its labels")
    check.add_argument(
        "--max_seq_length",
        type=int,
        metavar="N",
        help="tokens kept of its sentences: give training's to compare with it",
    )
    check.add_argument("--no_verify", action="store_true", help="do not compare the file with the model")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with stubs.zoo(args.zoo, args.offline):
        if args.output_dir is None and is_stub(args.model_path):
            raise InputError("--output_dir says where the export of a zoo: stub goes; nothing is written into a zoo.")
        args.model_path = stubs.model_path(args.model_path)
    _refuse_old_flags(args)
    shapes = _shapes(args)
    import json

    from sparsify.export.deployment import export_onnx

    report = export_onnx(
        args.model_path,
        args.output_dir,
        task=args.task,
        strict=args.strict,
        opset=args.opset,
        shapes=shapes,
        samples=_samples(args),
        max_samples=args.max_samples,
        tolerance=args.tolerance,
        external_data=_BOOLS[args.external_data],
        verify=not args.no_verify,
        evaluate=_evaluation(args, shapes),
        shrink=args.shrink,
    )
    if args.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    return 0


def _refuse_old_flags(args: argparse.Namespace) -> None:
    for name in ("finetuning_task", "num_export_samples", "data_args", "trust_remote_code"):
        if getattr(args, name) is not None:
            common.say(f"--{name} does nothing here: the task comes from the checkpoint, samples from --samples.")
    if args.no_convert_qat:
        raise InputError(
            "--no_convert_qat: a quantized model is always exported as int8. Export the dense one instead."
        )


def _shapes(args: argparse.Namespace) -> Shapes:
    if args.sequence_length is None:
        if args.batch_size is not None:
            raise InputError("--batch_size needs --sequence_length: shapes are either both fixed or both dynamic.")
        return "dynamic"
    return (args.batch_size or 1, args.sequence_length)


def _samples(args: argparse.Namespace) -> Any:
    if args.samples is None:
        return None
    from sparsify.export.samples import read_samples

    return read_samples(args.samples, limit=args.max_samples, column=args.text_column_name)


def _evaluation(args: argparse.Namespace, shapes: Shapes) -> Evaluate | None:
    if args.eval is None:
        return None
    from sparsify.export.source import read_config
    from sparsify.export.task import resolve_task
    from sparsify.tasks.catalog import SPELLINGS, data_arguments
    from sparsify.tasks.evaluation import evaluation

    task, _ = resolve_task(read_config(Path(args.model_path)).get("architectures"), args.task)
    if task.name not in SPELLINGS:
        raise InputError(f"--eval knows {', '.join(SPELLINGS)}; the model does {task.name}.")
    flags = {name: getattr(args, name) for name in _DATA_FLAGS if getattr(args, name) is not None}
    known = {field.name for field in dataclasses.fields(data_arguments(task.name))}
    if strange := sorted(set(flags) - known):
        raise InputError(f"--{strange[0]} says nothing about data of {task.name}: leave it out")
    return evaluation(task.name, args.eval, shapes=shapes, model=args.model_path, **flags)


def _show(report: ExportReport) -> None:
    from rich.table import Table

    table = Table(title=f"{report.task}, {report.precision}", show_header=False)
    for name, value in [*report.model.totals().items(), *_checks(report)]:
        table.add_row(name, value)
    for runtime, values in (report.metrics or {}).items():
        table.add_row(f"{runtime} metric", ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
    table.add_row("written to", str(report.deployment))
    common.console().print(table)


def _checks(report: ExportReport) -> list[tuple[str, str]]:
    size = [("ONNX file", f"{report.onnx_bytes / 1e6:,.2f} MB")]
    checked = report.verification
    if checked is None:
        return [*size, ("verification", "switched off")]
    found = checked.operators
    return [
        *size,
        ("verification", checked.parity.summary()),
        ("compared on", f"{checked.parity.samples} sequences ({checked.parity.data})"),
        ("weights", f"{sum(c.identical for c in checked.weights)} of {len(checked.weights)} layers identical"),
        ("matrix products", f"{found.int8_ops} in int8, {len(found.float_ops)} with constant weights in float"),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
