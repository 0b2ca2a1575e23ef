"""``sparsify-benchmark``: latency and size of models side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsify.cli import common, stubs

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
    p.add_argument(
        "targets", nargs="+", metavar="MODEL", help="one or more (zoo: stubs too); others are compared with the first"
    )
    p.add_argument("--batch", "--batch_size", type=int, default=1, metavar="N", help="sequences at once (default: 1)")
    p.add_argument(
        "--length", "--sequence_length", type=int, default=128, metavar="N", help="tokens each (default: 128)"
    )
    p.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each runtime (default: 1)")
    p.add_argument("--rounds", type=int, default=50, metavar="N", help="timed runs of each (default: 50)")
    p.add_argument("--warmup", type=int, default=5, metavar="N", help="untimed runs of each before (default: 5)")
    p.add_argument("--no_gzip", action="store_true", help="do not measure sizes under gzip")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    stubs.add_flags(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    with stubs.zoo(args.zoo, args.offline):
        args.targets = [stubs.benchmark_path(target) for target in args.targets]
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
    table = Table(title=f"{setting}, {report.rounds} interleaved rounds")
    for name in ("model", "ms p50 / p95", "times as fast", "MB / gzipped", "ops int8 / float"):
        table.add_column(name, justify="left" if name == "model" else "right", overflow="fold")
    for name, timing in zip(_names(report), report.timings, strict=True):
        table.add_row(name, *_cells(timing))
    common.console().print(table)
    common.console().print(_caption(report), style="dim", highlight=False)
    for timing in report.timings:
        if timing.int8_ops and timing.float_ops:
            left = ", ".join(f"{op.node} ({op.op})" for op in timing.float_ops)
            common.say(f"{timing.target}: left in float: {left}")


def _names(report: BenchmarkReport) -> list[str]:
    """The targets without the folders that all of them share, before and behind what tells them apart."""
    from pathlib import Path

    paths = [Path(timing.target) for timing in report.timings]
    while (
        len({path.parts[:1] for path in paths}) == 1 and all(len(path.parts) > 1 for path in paths) and len(paths) > 1
    ):
        paths = [path.relative_to(path.parts[0]) for path in paths]
    while (
        len({path.parts[-1] for path in paths}) == 1 and all(len(path.parts) > 1 for path in paths) and len(paths) > 1
    ):
        paths = [path.parent for path in paths]
    runtimes = [" (torch)" if timing.runtime == "torch" else "" for timing in report.timings]
    return [f"{path}{runtime}" for path, runtime in zip(paths, runtimes, strict=True)]


def _cells(timing: Timing) -> tuple[str, ...]:
    packed = "" if timing.gzip_bytes is None else f" / {timing.gzip_bytes / 1e6:.2f}"
    ops = "" if timing.float_ops is None else f"{timing.int8_ops} / {len(timing.float_ops)}"
    return (f"{timing.p50:.2f} / {timing.p95:.2f}", f"{timing.ratio:.2f}", f"{timing.bytes / 1e6:.2f}{packed}", ops)


def _caption(report: BenchmarkReport) -> str:
    from sparsify.export.session import describe_cpu

    return f"A/A ratio {report.aa_ratio:.2f} (the first model against itself)  ·  {describe_cpu(report.cpu)}"


if __name__ == "__main__":
    raise SystemExit(main())
