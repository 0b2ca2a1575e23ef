"""What ``sparsify-zoo`` prints of entries."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from sparsify.cli import common
from sparsify.cli.zoo_facts import facts, file_records, measured
from sparsify.errors import InputError, ZooError
from sparsify.zoo.entry import Entry
from sparsify.zoo.layout import nearest
from sparsify.zoo.registry import listed_entries
from sparsify.zoo.verification import Checked


def show_list(pattern: str | None) -> int:
    """Print the stubs that match, one a line.

    Raises:
        InputError: None does; names the nearest.
        ZooError: The entries of a root cannot be listed; those of the others are printed first.
    """
    known, errors = listed_entries()
    found = [stub for stub in known if _matches(stub, pattern)]
    for stub in found:
        print(stub)
    if errors:
        raise ZooError("\n".join(f"not all entries could be listed: {error}" for error in errors))
    if not found:
        near = nearest(pattern or "", known)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise InputError(f"no entry matches {pattern!r} among {len(known)}{hint}")
    return 0


def _matches(stub: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    text = pattern if pattern.startswith("zoo:") else f"*{pattern}*"
    return fnmatch.fnmatchcase(stub, text)


def show_info(entry: Entry, *, as_json: bool) -> int:
    """Print what is in an entry, and what was measured."""
    manifest = entry.manifest
    if as_json:
        print(json.dumps(facts(entry), indent=2) + "\n" if manifest is None else manifest.text(), end="")
        return 0
    table = Table(title=entry.stub.base, title_justify="left", show_header=False)
    rows = [("root", entry.root.shown), ("recipes", ", ".join(entry.recipes) or "none")]
    if entry.alias:
        rows.append(("taken from", entry.alias))
    if manifest is not None:
        named = {"base": manifest.base, "task": manifest.task, "licence": manifest.licence}
        rows += [(name, value) for name, value in named.items() if value]
        rows.append(("made with", ", ".join(f"{name} {version}" for name, version in manifest.packages.items())))
    for name, value in rows:
        table.add_row(name, Text(value))
    console = common.console()
    console.print(table)
    console.print(_metrics(entry))
    console.print(_files(entry))
    return 0


def _metrics(entry: Entry) -> Table | str:
    metrics = measured(entry)
    if metrics is None:
        return "metrics: not measured"
    table = Table("metric", "value", "data", "measured by", title="Metrics", title_justify="left")
    for metric in metrics:
        table.add_row(Text(metric.name), f"{metric.value:g}", Text(metric.data or ""), Text(metric.command or ""))
    return table


def _files(entry: Entry) -> Table:
    table = Table("file", "bytes", "sha256", title="Files", title_justify="left")
    for name, file in sorted(file_records(entry).items()):
        size = "" if file.size is None else f"{file.size:,}"
        table.add_row(Text(name), size, (file.sha256 or "")[:16])
    return table


def show_checked(checked: Sequence[Checked]) -> None:
    """Print how each entry of a verification came out."""
    for entry in checked:
        print(f"{'damaged' if entry.problems else 'ok':8}{entry.stub}  {entry.files} files")
        for problem in entry.problems:
            print(f"    {problem}")
        for note in entry.notes:
            print(f"    note: {note}")
    if not checked:
        print("no entries")
