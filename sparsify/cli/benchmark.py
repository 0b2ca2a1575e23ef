"""``sparsify-benchmark``: latency and size of models side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsify.cli import common

if TYPE_CHECKING:
    from sparsify.export.benchmark import BenchmarkReport, Timing

_EXAMPLE = """\
example:
  sparsify-benchmark runs/dense/deployment runs/int8/deployment --length 128

Each round runs every model once, in turning order. The first is loaded twice: a ratio that is no farther from 1 than
the A/A ratio of those two says nothing.
"""


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(
        "sparsify-benchmark",
        description="Time models side by side on this CPU: ONNX files, deployment folders, checkpoints (in torch).",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("targets", nargs="+", metavar="MODEL", help="two or more; others are compared with the first")
    p.add_argument("--batch", "--batch_size", type=int, default=1, metavar="N", help="sequences at once (default: 1)")
    p.add_argument(
        "--length", "--sequence_length", type=int, default=128, metavar="N", help="tokens each (default: 128)"
    )
    p.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each runtime (default: 1)")
    p.add_argument("--rounds", type=int, default=50, metavar="N", help="timed runs of each (default: 50)")
    p.add_argument("--warmup", type=int, default=5, metavar="N", help="untimed runs of each before (default: 5)")
    p.add_argument("--no_gzip", action="store_true", help="do not measure sizes under gzip")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    import json

    from sparsify.export.benchmark import benchmark

    report = benchmark(
        args.targets,
        batch=args.batch,
        length=args.length,
        threads=args.threads,
        rounds=args.rounds,
        warmup=args.warmup,
        compress=not args.no_gzip,
    )
    if args.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        show(report)
    return 0


def show(report: BenchmarkReport) -> None:
    """Print a benchmark as a table."""
    from rich.table import Table

    threads = "thread" if report.threads == 1 else "threads"
    setting = f"batch {report.batch}, length {report.length}, {report.threads} {threads}"
    table = Table(title=f"{setting}, {report.rounds} interleaved rounds", caption=_caption(report))
    for name in ("model", "runtime", "p50 ms", "p95 ms", "times as fast", "MB", "MB gzipped", "int8 ops", "float ops"):
        table.add_column(name, justify="left" if name in ("model", "runtime") else "right", overflow="fold")
    for timing in report.timings:
        table.add_row(*_cells(timing))
    common.console().print(table)
    for timing in report.timings:
        if timing.int8_ops and timing.float_ops:
            left = ", ".join(f"{op.node} ({op.op})" for op in timing.float_ops)
            common.say(f"{timing.target}: left in float: {left}")


def _cells(timing: Timing) -> tuple[str, ...]:
    packed = "" if timing.gzip_bytes is None else f"{timing.gzip_bytes / 1e6:.2f}"
    ops = ("", "") if timing.float_ops is None else (str(timing.int8_ops), str(len(timing.float_ops)))
    speed = (f"{timing.p50:.2f}", f"{timing.p95:.2f}", f"{timing.ratio:.2f}")
    return (timing.target, timing.runtime, *speed, f"{timing.bytes / 1e6:.2f}", packed, *ops)


def _caption(report: BenchmarkReport) -> str:
    from sparsify.export.session import describe_cpu

    return f"A/A ratio {report.aa_ratio:.2f} (the first model against itself)  ·  {describe_cpu(report.cpu)}"
