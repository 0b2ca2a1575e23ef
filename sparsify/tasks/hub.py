"""The Hugging Face Hub: whether it can be reached, and where it keeps data sets today."""

from __future__ import annotations

import functools
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from sparsify.errors import InputError, first_line
from sparsify.tasks.readers import Table

_SECONDS = 5


@dataclass(frozen=True)
class HubData:
    """Where a data set lives: repository, configuration and revision."""

    repository: str
    config: str | None = None
    revision: str | None = None


# Loading scripts are no longer run, so names that stood for a script stand for the data's place now.
_PARQUET = "refs/convert/parquet"
MOVED: dict[str, HubData] = {
    "glue": HubData("nyu-mll/glue"),
    "wikitext": HubData("Salesforce/wikitext"),
    "squad": HubData("rajpurkar/squad"),
    "squad_v2": HubData("rajpurkar/squad_v2"),
    "conll2003": HubData("lhoestq/conll2003"),
    "eriktks/conll2003": HubData("lhoestq/conll2003"),
    "wnut_17": HubData("wnut_17", revision=_PARQUET),
    "leondz/wnut_17": HubData("leondz/wnut_17", revision=_PARQUET),
    "conllpp": HubData("conllpp", revision=_PARQUET),
    "wikiann": HubData("unimelb-nlp/wikiann"),
    "ncbi_disease": HubData("ncbi_disease", revision=_PARQUET),
    "jnlpba": HubData("jnlpba", revision=_PARQUET),
    "polyglot_ner": HubData("polyglot_ner", revision=_PARQUET),
    "species_800": HubData("species_800", revision=_PARQUET),
    "bc2gm_corpus": HubData("bc2gm_corpus", revision=_PARQUET),
    "xtreme": HubData("google/xtreme"),
}


@functools.cache
def reachable() -> bool:
    """Whether the Hub answers within a few seconds. Asked once: the Hub's own client retries for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint(), method="HEAD"), timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # its own client may know other certificates
    except (OSError, ValueError):
        return False
    return True


def endpoint() -> str:
    """Address of the Hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def load_splits(name: str, config: str | None, *, cache_dir: str | None = None, token: Any = None) -> dict[str, Table]:
    """Splits of a data set on the Hub (or of a local folder in the same layout).

    Args:
        name: Its name; short names of old script data sets are looked up in ``MOVED``.
        config: Its configuration, if it has several.
        cache_dir: Where downloads go.
        token: Access token, for private data.

    Raises:
        InputError: The Hub cannot be reached, has no such data set, or the data set needs a configuration.
    """
    import datasets

    place = MOVED.get(name, HubData(name))
    online = os.path.isdir(name) or reachable()
    datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE or not online
    try:
        found = datasets.load_dataset(
            place.repository, config or place.config, revision=place.revision, cache_dir=cache_dir, token=token
        )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(_cannot_load(name, place, online, error)) from error
    return {split: _table(f"{name}/{split}", rows) for split, rows in found.items()}


def _cannot_load(name: str, place: HubData, online: bool, error: Exception) -> str:
    looked = f"{place.repository}" + (f" (revision {place.revision})" if place.revision else "")
    if not online:
        return (
            f"--dataset_name {name}: could not reach {endpoint()} for the data set {looked}, and it is not in the local"
            " cache; use --train_file and --validation_file for local data"
        )
    return f"--dataset_name {name}: cannot load {looked}: {first_line(error)}"


def _table(origin: str, rows: Any) -> Table:
    names = {column: found for column, feature in rows.features.items() if (found := _class_names(feature)) is not None}
    listed = rows.to_list()
    return Table(origin, list(rows.column_names), listed, list(range(1, len(listed) + 1)), names)


def _class_names(feature: Any) -> list[str] | None:
    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
    names = getattr(inner, "names", None)
    return list(names) if isinstance(names, list) else None
