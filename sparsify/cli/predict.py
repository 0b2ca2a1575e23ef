"""``sparsify-predict``: entities in text, classes of texts, or answers to questions, by a deployment folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sparsify.cli import common, stubs
from sparsify.errors import InputError

if TYPE_CHECKING:
    from sparsify.export.classify import Classified, Text
    from sparsify.export.deployed import Deployment
    from sparsify.export.entities import Entity
    from sparsify.export.spans import Answered

_EXAMPLE = """\
examples:
  sparsify-predict runs/ner/deployment "Ada Lovelace met Charles Babbage in London."
  sparsify-predict runs/ner/deployment --file letters.txt --json
  cat letters.txt | sparsify-predict runs/ner/deployment
  sparsify-predict runs/qnli/deployment "Who met Babbage?" --text_pair "Ada Lovelace met Babbage."
  sparsify-predict runs/squad/deployment "Who met Babbage?" --context "Ada Lovelace met Babbage."
  sparsify-predict runs/squad/deployment "Who met Babbage?" "Where?" --context_file letter.txt --n_best 3
"""


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    p = argparse.ArgumentParser(
        "sparsify-predict",
        description="Find entities in text, classify texts, or answer questions, with an exported model.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("deployment", metavar="DEPLOYMENT", help="the folder that sparsify-export wrote, or a zoo: stub")
    p.add_argument("texts", nargs="*", default=[], metavar="TEXT", help="texts (default: each line of standard input)")
    p.add_argument(
        *("--text_pair", "--context"),
        metavar="TEXT",
        help="the second text of a pair, such as what questions are about (in a file: behind a tab on the same line)",
    )
    p.add_argument("--context_file", metavar="FILE", help="read the second text, the whole of it, from a file")
    p.add_argument("--file", metavar="FILE", help="read texts from a file, one a line; blank lines are left out")
    p.add_argument(
        "--json", action="store_true", help='print one JSON object a text, with its line in the file as "line"'
    )
    p.add_argument("--threads", type=int, default=0, metavar="N", help="threads (default: ONNX Runtime's choice)")
    p.add_argument("--n_best", type=int, metavar="N", help="answers shown of each question (default: 1)")
    p.add_argument(
        "--stride", type=int, metavar="N", help="tokens that windows of a long text share (1/8; for answers 1/3)"
    )
    stubs.add_flags(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    from sparsify.export.deployed import Deployment

    texts = _texts(args)
    _read_context(args)
    with stubs.zoo(args.zoo, args.offline):
        folder = stubs.deployment_path(args.deployment)
    deployment = Deployment(folder, threads=args.threads)
    show = _SHOW.get(deployment.task)
    if show is None:
        known = ", ".join(_SHOW)
        raise InputError(f"{args.deployment}: is a {deployment.task} model; this command reads texts with {known}.")
    show(deployment, texts, args)
    return 0


def _entities(deployment: Deployment, texts: list[str], args: argparse.Namespace) -> None:
    from sparsify.export.predict import TokenClassifier

    if args.text_pair is not None:
        raise InputError("--text_pair is for models that read two texts; this one tags words.")
    _no_n_best(args)
    classifier = TokenClassifier(deployment, stride=args.stride)
    for index, (text, entities) in enumerate(zip(texts, classifier(texts), strict=True)):
        if args.json:
            _print_json(args, index, {"text": text, "entities": [asdict(entity) for entity in entities]})
        else:
            _entity_table(text, entities, titled=len(texts) > 1)


def _classes(deployment: Deployment, texts: list[str], args: argparse.Namespace) -> None:
    from sparsify.export.classify import TextClassifier

    if args.stride is not None:
        raise InputError("--stride is for models that tag words or answer; this one reads a text up to its limit.")
    _no_n_best(args)
    pairs = [_pair(text, args.text_pair) for text in texts]
    for index, (pair, found) in enumerate(zip(pairs, TextClassifier(deployment)(pairs), strict=True)):
        if args.json:
            named = {"text": pair} if isinstance(pair, str) else dict(zip(("text", "text_pair"), pair, strict=True))
            _print_json(args, index, named | asdict(found))
        else:
            _class_table(pair, found, titled=len(texts) > 1)


def _answers(deployment: Deployment, texts: list[str], args: argparse.Namespace) -> None:
    from sparsify.export.answer import QuestionAnswerer

    pairs = []
    for text in texts:
        pair = _pair(text, args.text_pair)
        if isinstance(pair, str):
            raise InputError(
                f"{text!r:.60}: a question is about a text: give --context TEXT, --context_file FILE, or the text behind"
                " a tab on the question's line."
            )
        pairs.append(pair)
    n_best = 1 if args.n_best is None else args.n_best
    if n_best < 1:
        raise InputError(f"--n_best must be at least 1, got {n_best}")
    answerer = QuestionAnswerer(deployment, stride=args.stride, n_best=n_best)
    for index, ((question, context), found) in enumerate(zip(pairs, answerer(pairs), strict=True)):
        if args.json:
            candidates = [asdict(candidate) for candidate in found.candidates]
            said = {"answer": found.text, "null_odds": found.null_odds, "candidates": candidates}
            _print_json(args, index, {"question": question, "context": context} | said)
        else:
            _answer_table(question, found, titled=len(texts) > 1)


_SHOW: dict[str, Callable[[Deployment, list[str], argparse.Namespace], None]] = {
    "token_classification": _entities,
    "text_classification": _classes,
    "question_answering": _answers,
}


def _no_n_best(args: argparse.Namespace) -> None:
    if args.n_best is not None:
        raise InputError("--n_best is for models that answer questions.")


def _read_context(args: argparse.Namespace) -> None:
    """Take what is in ``--context_file`` for the second text."""
    if args.context_file is None:
        return
    if args.text_pair is not None:
        raise InputError("--context and --context_file both give the second text: pass one.")
    args.text_pair = _read(args.context_file)


def _pair(text: str, second: str | None) -> Text:
    """A text with the second one given, or with what stands behind its tab."""
    if second is not None:
        return text, second
    first, tab, rest = text.partition("\t")
    return (first, rest) if tab else text


def _read(path: str | None) -> str:
    """What a file holds, or standard input where there is no path."""
    try:
        if path is None:
            return sys.stdin.read()
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path or 'standard input'}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path or 'standard input'}: not UTF-8 text: {error}") from error


def _texts(args: argparse.Namespace) -> list[str]:
    """The texts; of those that came line by line ``args.lines`` holds the numbers, from 1."""
    args.lines = None
    if args.texts and args.file:
        raise InputError("pass texts or --file, not both.")
    if args.texts:
        return list(args.texts)
    # Not splitlines: it also cuts at form feeds and the like, and numbers would not be those of other tools.
    numbered = [(n, line) for n, line in enumerate(_read(args.file).split("\n"), 1) if line.strip()]
    if not numbered:
        raise InputError("there is no text: pass it as an argument, with --file, or on standard input.")
    args.lines = [number for number, _ in numbered]
    return [line for _, line in numbered]


def _print_json(args: argparse.Namespace, index: int, value: dict[str, Any]) -> None:
    import json

    line = {} if args.lines is None else {"line": args.lines[index]}
    print(json.dumps(line | value, ensure_ascii=False))


def _entity_table(text: str, entities: list[Entity], *, titled: bool) -> None:
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


def _class_table(text: Text, found: Classified, *, titled: bool) -> None:
    from rich.table import Table
    from rich.text import Text as Line

    console = common.console()
    if titled:
        console.print(Line(text if isinstance(text, str) else " | ".join(text), style="bold"))
    table = Table("class", "score", box=None)
    for label, score in sorted(found.scores.items(), key=lambda item: -item[1]):
        table.add_row(Line(label, style="bold" if label in found.labels else ""), f"{score:.4f}")
    console.print(table)


def _answer_table(question: str, found: Answered, *, titled: bool) -> None:
    from rich.table import Table
    from rich.text import Text as Line

    console = common.console()
    if titled:
        console.print(Line(question, style="bold"))
    table = Table("answer", "score", "characters", box=None)
    for one in found.candidates:
        place = f"{one.start}-{one.end}" if one.text else ""
        style = "bold" if one.text == found.text else ""
        table.add_row(Line(one.text or "no answer", style=style), f"{one.probability:.4f}", place)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
