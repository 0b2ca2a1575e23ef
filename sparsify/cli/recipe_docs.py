"""``python -m sparsify.cli.recipe_docs DIR``: write the pages of all modifiers, and the README's figure (``make docs``)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sparsify.cli import common
from sparsify.recipe.files import write_atomically


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return common.run(_main, argv)


def _main(argv: list[str]) -> int:
    p = argparse.ArgumentParser("python -m sparsify.cli.recipe_docs", description=__doc__, allow_abbrev=False)
    p.add_argument("folder", type=Path, metavar="DIR", help="docs/modifiers")
    first = "draw the first recipe shown in the page PAGE as FIGURE"
    p.add_argument("--figure", type=Path, nargs=2, action="append", default=[], metavar=("PAGE", "FIGURE"), help=first)
    args = p.parse_args(argv)
    written = write_pages(args.folder)
    written += [str(figure) for page, figure in args.figure if write_figure(page, figure)]
    common.say(f"{len(written)} files changed" + "".join(f"\n  {name}" for name in written))
    return 0


def write_pages(folder: Path) -> list[str]:
    """Bring a folder up to date; what is right already is left alone, what has no class any more is removed.

    Returns:
        Names of the files that changed.
    """
    from sparsify.analysis.modifier_pages import digest, digest_in, example_plan, figure_of, modifier_classes, pages

    folder.mkdir(parents=True, exist_ok=True)
    texts = pages()
    changed = [name for name, text in texts.items() if _read(folder / name) != text.encode()]
    for name in changed:
        write_atomically(folder / name, texts[name])
    figures = {f"{cls.__name__}.svg": cls for cls in modifier_classes()}
    for name, cls in figures.items():
        plan = example_plan(cls)
        if digest_in(_read(folder / name)) != digest(plan):
            write_atomically(folder / name, figure_of(plan))
            changed.append(name)
    for path in folder.iterdir():
        if path.name not in texts and path.name not in figures:
            path.unlink()
            changed.append(path.name)
    return changed


def write_figure(page: Path, figure: Path) -> bool:
    """Bring the figure of a page's first recipe up to date; whether it had to be changed."""
    from sparsify.analysis.modifier_pages import digest, digest_in, figure_of, plan_in

    plan = plan_in(page.read_text(encoding="utf-8"))
    if digest_in(_read(figure)) == digest(plan):
        return False
    figure.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(figure, figure_of(plan))
    return True


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


if __name__ == "__main__":
    raise SystemExit(main())
