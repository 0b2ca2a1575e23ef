"""``sparsify-train TASK ...``: train a model, with or without a recipe."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from sparsify.cli import common, stubs
from sparsify.cli.argv import flag_name, translate
from sparsify.errors import CheckFailed, InputError
from sparsify.tasks.catalog import SPELLINGS, task_name

logger = logging.getLogger("sparsify.cli.train")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``sparsify-train``; returns the exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    task, rest = split_task(argv)
    if not rest or {"-h", "--help"} & set(rest):
        return _help(task)
    if "--help-all" in rest or "--help_all" in rest:
        from sparsify.tasks.parsing import full_help

        common.console().print(full_help(task), markup=False)
        return 0
    if "--demo" in rest:
        from sparsify.cli.train_help import DEMO

        if task != DEMO:
            raise InputError(f"--demo shows {DEMO}: sparsify-train {DEMO} --demo")
        from sparsify.cli import demo

        return int(demo.run([a for a in rest if a != "--demo"]) or 0)
    return _train(task, rest)


def _train(task: str, argv: list[str]) -> int:
    translated = translate(argv)
    for note in translated.notes:
        logger.info(note)
    os.environ.update(translated.environment)
    from transformers.utils import logging as hf_logging

    from sparsify.tasks.catalog import get_task
    from sparsify.tasks.parsing import parse
    from sparsify.tasks.runner import run

    hf_logging.disable_progress_bar()  # of loading and saving weights; training's own stays
    args = parse(task, translated.argv, translated.flags)
    with stubs.zoo(args.model.zoo, args.model.offline):
        result = run(get_task(task), args)
    if result.interrupted:
        raise (common.Terminated if result.terminated else KeyboardInterrupt)(
            f"to go on: the same command with --resume_from_checkpoint true (in {result.output_dir})"
        )
    if args.training.process_index == 0:
        from sparsify.cli.summary import show, show_compared

        show(result)
        if result.compared and not show_compared(result.compared):
            raise CheckFailed(f"--verify_loading: {result.output_dir} does not hold the model that was in memory")
    return 0


def split_task(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The task's name, and the rest of the arguments.

    Raises:
        InputError: There is no task, or none of that name.
    """
    if argv and not argv[0].startswith("-"):
        return task_name(argv[0]), list(argv[1:])
    for index, token in enumerate(argv):
        if flag_name(token) == "task":
            value = token.split("=", 1)[1] if "=" in token else (argv[index + 1] if index + 1 < len(argv) else "")
            return task_name(value), list(argv)
    if not argv or {"-h", "--help"} & set(argv):
        return "token_classification", []
    raise InputError(f"the task comes first: sparsify-train {' | '.join(SPELLINGS)} [flags]")


def _help(task: str) -> int:
    from sparsify.cli.train_help import help_text

    common.console().print(help_text(task), markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
