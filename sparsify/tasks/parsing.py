"""Parsing flags into dataclasses: ours and Hugging Face's TrainingArguments in one parser."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from transformers import HfArgumentParser, TrainingArguments

from sparsify.errors import InputError
from sparsify.tasks.arguments import Arguments, ModelArguments, RecipeArguments
from sparsify.tasks.catalog import data_arguments
from sparsify.tasks.distillation_arguments import DistillationArguments
from sparsify.tasks.progress import LINES
from sparsify.tasks.pruning_arguments import PruningArguments
from sparsify.tasks.quantization_arguments import QuantizationArguments


class Parser(HfArgumentParser):
    """An argument parser that raises instead of exiting, and never abbreviates."""

    def __init__(self, task: str) -> None:
        compiled = [PruningArguments, DistillationArguments, QuantizationArguments]
        groups = [ModelArguments, data_arguments(task), RecipeArguments, *compiled, TrainingArguments]
        super().__init__(groups, prog=f"sparsify-train {task}", allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print below a page of usage."""
        raise InputError(re.sub(r"^argument (--\w+)\S*:", r"\1:", message))

    def arguments(self, argv: Sequence[str], explicit: frozenset[str]) -> Arguments[Any]:
        """Parse ``argv``.

        Raises:
            InputError: An unknown flag (the nearest one is named), a value that does not fit, or two values under two
                names of one flag.
        """
        self._check_spellings(argv)
        try:
            *parsed, rest = self.parse_args_into_dataclasses(
                list(argv), return_remaining_strings=True, look_for_args_file=False
            )
        except (ValueError, TypeError, ImportError, NotImplementedError) as error:
            raise InputError(" ".join(str(error).split())) from error
        if rest:
            raise InputError(self._unknown(rest))
        model, data, recipe, pruning, distillation, quantization, training = parsed
        _suit_surroundings(training, explicit)
        return Arguments(model, data, recipe, training, explicit, pruning, distillation, quantization)

    def _check_spellings(self, argv: Sequence[str]) -> None:
        given = _given(argv)
        for action in self._actions:
            names = dict.fromkeys(map(_underscored, action.option_strings))
            found = {name: given[name] for name in names if name in given}
            if len(set(found.values())) > 1:
                both = " and ".join(" ".join([name, *values]) for name, values in found.items())
                raise InputError(f"{both}: they are two names of one flag; give one of them")

    def _unknown(self, rest: Sequence[str]) -> str:
        flags = [token for token in rest if token.startswith("--")]
        if not flags:
            return f"unexpected argument {rest[0]!r}"
        known = [option for option in self._option_string_actions if option.startswith("--")]
        near = difflib.get_close_matches(flags[0].split("=")[0].replace("-", "_").replace("__", "--", 1), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; --help-all lists those there are"
        return f"unknown flag {flags[0]}{hint}"


def _underscored(option: str) -> str:
    return option[:2] + option[2:].replace("-", "_")


def _given(argv: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Values of each flag, by its name with underscores; of one that comes twice the last."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for token in argv:
        if token.startswith("--"):
            option, equals, value = token.partition("=")
            name = _underscored(option)
            found[name] = (value,) if equals else ()
        elif name:
            found[name] += (token,)
    return found


def _suit_surroundings(training: TrainingArguments, explicit: frozenset[str]) -> None:
    """Defaults that depend on where the command runs: no bars but a few lines in a log file, no pinned memory without a GPU."""
    if "disable_tqdm" not in explicit and not sys.stderr.isatty():
        training.disable_tqdm = True
    if training.disable_tqdm and not {"logging_steps", "logging_strategy"} & explicit:
        training.logging_steps = LINES
    if "dataloader_pin_memory" not in explicit and training.device.type != "cuda":
        training.dataloader_pin_memory = False


def parse(task: str, argv: Sequence[str], explicit: frozenset[str]) -> Arguments[Any]:
    """Parse a task's translated command line."""
    return Parser(task).arguments(argv, explicit)


def full_help(task: str) -> str:
    """Help of every flag of a task's command, Hugging Face's too."""
    parser: Any = Parser(task)
    return str(parser.format_help())
