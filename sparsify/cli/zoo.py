"""``sparsify-zoo``: find, fetch, publish and verify entries of zoos."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from sparsify.cli import common, stubs
from sparsify.cli.recipe_flags import Commands, command
from sparsify.errors import CheckFailed

_STUB = "zoo:nlp/token_classification/minilm-l6/pytorch/huggingface/wnut17/pruned80_quant-none"
_STUB_HELP = "the entry's name, as sparsify-zoo list shows it; ?recipe=NAME behind it chooses one of its recipes"
_EXAMPLE = """\
examples:
  sparsify-zoo list "zoo:nlp/token_classification/*"
  sparsify-zoo info zoo:nlp/token_classification/minilm-l6/pytorch/huggingface/wnut17/pruned80_quant-none
  sparsify-zoo get STUB --to ./mine
  sparsify-zoo publish runs/ner STUB --zoo ~/zoo --measured_by "sparsify-train token_classification ... --do_eval"
  sparsify-zoo verify ~/zoo

Where stubs are looked up: --zoo, SPARSIFY_ZOO, ~/.config/sparsify/zoo.yaml, SparseZoo's old cache, the packaged recipes.
Exit codes: 0 done, 1 a check failed, 2 bad input.
"""


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(
        "sparsify-zoo",
        description="Find, fetch, publish and verify recipes and models named by zoo stubs.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _reading(commands)
    _publish(commands)
    c = _command(commands, "verify", "read every file and compare it with its manifest", "verify ~/zoo")
    c.add_argument("what", metavar="ROOT|STUB", help="a zoo's folder or address, or one entry")
    stubs.add_flags(c)
    return p


def _command(commands: Commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    return command(commands, name, summary, example, program="sparsify-zoo")


def _reading(commands: Commands) -> None:
    c = _command(commands, "list", "list the entries of all roots", 'list "zoo:nlp/token_classification/*"')
    c.add_argument(
        "pattern", nargs="?", metavar="PATTERN", help="only stubs that match (* and ?), or that hold this text"
    )
    stubs.add_flags(c)
    c = _command(commands, "info", "show what is in an entry, and what was measured on it", f"info {_STUB}")
    c.add_argument("stub", metavar="STUB", help=_STUB_HELP)
    c.add_argument(
        "--json", action="store_true", help="print the manifest, or what is known of an entry that has none, as JSON"
    )
    stubs.add_flags(c)
    c = _command(commands, "get", "fetch an entry and print where it is", f"get {_STUB} --to ./mine")
    c.add_argument("stub", metavar="STUB", help=_STUB_HELP)
    c.add_argument("--to", metavar="DIR", help="copy it there (default: leave it in the cache or its folder)")
    stubs.add_flags(c)


def _publish(commands: Commands) -> None:
    example = 'publish runs/ner STUB --zoo ~/zoo --measured_by "sparsify-train token_classification ... --do_eval"'
    c = _command(commands, "publish", "check a folder and put it into a zoo", example)
    c.add_argument("folder", metavar="DIR", help="what training wrote, or a folder laid out as an entry")
    c.add_argument("stub", metavar="STUB", help="its name from now on")
    c.add_argument("--zoo", required=True, metavar="ROOT", help="folder or address that it goes to")
    c.add_argument("--dry_run", "--dry-run", action="store_true", help="check everything, write nothing")
    c.add_argument("--replace", action="store_true", help="take the place of an entry of that name")
    c.add_argument("--base", metavar="STUB|ID", help="the model that training started from")
    c.add_argument("--task", help="what the model does (default: what its configuration says)")
    c.add_argument("--licence", "--license", metavar="SPDX", help="licence of the weights, such as Apache-2.0")
    c.add_argument("--metrics", metavar="FILE", help="JSON: figures by name, or a list of name, value, data, command")
    c.add_argument("--measured_by", metavar="COMMAND", help="the command that measured them")
    c.add_argument("--no_metrics", action="store_true", help="publish weights that nothing was measured on")
    c.add_argument(
        "--samples", metavar="FILE", help="compare model and ONNX file on these (default: made-up sentences)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    publishing = args.command == "publish"
    with stubs.zoo([] if publishing else args.zoo, None if publishing else args.offline):
        return _COMMANDS[args.command](args)


def _list(args: argparse.Namespace) -> int:
    from sparsify.cli.zoo_show import show_list

    return show_list(args.pattern)


def _info(args: argparse.Namespace) -> int:
    from sparsify.cli.zoo_show import show_info
    from sparsify.zoo.registry import resolve

    return show_info(resolve(args.stub), as_json=args.json)


def _get(args: argparse.Namespace) -> int:
    from sparsify.zoo.model import Model
    from sparsify.zoo.stub import PREFIX, parse_stub

    name = f"{PREFIX}{str(parse_stub(args.stub)).removeprefix(PREFIX)}"
    print(Model(name, download_path=args.to).download())
    return 0


def _publish_command(args: argparse.Namespace) -> int:
    from sparsify.cli.zoo_publish import run

    return run(args)


def _verify(args: argparse.Namespace) -> int:
    from sparsify.cli.zoo_show import show_checked
    from sparsify.zoo.verification import verify

    checked = verify(args.what)
    show_checked(checked)
    bad = [entry.stub for entry in checked if entry.problems]
    if bad:
        raise CheckFailed(f"{len(bad)} of {len(checked)} entries are damaged, {bad[0]} first")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "info": _info,
    "get": _get,
    "publish": _publish_command,
    "verify": _verify,
}


if __name__ == "__main__":
    raise SystemExit(main())
