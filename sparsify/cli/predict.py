"""``sparsify-predict``: entities in text, by a deployment folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsify.cli import common
from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.export.entities import Entity

_EXAMPLE = """\
examples:
  sparsify-predict runs/ner/deployment "Ada Lovelace met Charles Babbage in London."
  sparsify-predict runs/ner/deployment --file letters.txt --json
  cat letters.txt | sparsify-predict runs/ner/deployment
"""


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(
        "sparsify-predict",
        description="Find entities in text with an exported token classification model.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("deployment", metavar="DEPLOYMENT", help="the folder that sparsify-export wrote")
    p.add_argument("texts", nargs="*", metavar="TEXT", help="texts (default: each line of standard input)")
    p.add_argument("--file", metavar="FILE", help="read texts from a file, one a line")
    p.add_argument("--json", action="store_true", help="print one JSON object a text")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="threads (default: ONNX Runtime's choice)")
    p.add_argument("--stride", type=int, metavar="N", help="tokens that windows of a long text share (default: 1/8)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from sparsify.export.predict import TokenClassifier

    texts = _texts(args)
    classifier = TokenClassifier(args.deployment, threads=args.threads, stride=args.stride)
    for text, entities in zip(texts, classifier(texts), strict=True):
        if args.json:
            _print_json(text, entities)
        else:
            _print_table(text, entities, titled=len(texts) > 1)
    return 0


def _texts(args: argparse.Namespace) -> list[str]:
    if args.texts and args.file:
        raise InputError("pass texts or --file, not both.")
    if args.texts:
        return list(args.texts)
    try:
        if args.file:
            with open(args.file, encoding="utf-8") as file:
                lines = file.read().splitlines()
        else:
            lines = sys.stdin.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{args.file or 'standard input'}: cannot be read as UTF-8 text: {error}") from error
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise InputError("there is no text: pass it as an argument, with --file, or on standard input.")
    return texts


def _print_json(text: str, entities: list[Entity]) -> None:
    import json
    from dataclasses import asdict

    print(json.dumps({"text": text, "entities": [asdict(entity) for entity in entities]}, ensure_ascii=False))


def _print_table(text: str, entities: list[Entity], *, titled: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = common.console()
    if titled:
        console.print(Text(text, style="bold"))
    if not entities:
        console.print("no entities")
        return
    table = Table("entity", "label", "score", "characters", box=None)
    for entity in entities:
        table.add_row(Text(entity.text), entity.label, f"{entity.score:.2f}", f"{entity.start}-{entity.end}")
    console.print(table)
