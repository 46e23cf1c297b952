"""The URL list of a job: text, tables or JSON Lines, each also gzipped, read as a stream in constant memory."""

import itertools
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

from batchproc.errors import Problem, UsageError
from batchproc.sources.entries import BadRow, Entry, Ignored, Unusable, read_text
from batchproc.sources.lines import is_stream, open_list
from batchproc.sources.tables import Columns, read_json_lines, read_separated
from batchproc.sources.url import BadUrl, canonical, joiner

__all__ = ["BadRow", "BadUrl", "Entry", "Ignored", "Unusable", "canonical", "is_stream", "joiner", "read_sources"]


def read_sources(
    path: str | PathLike[str],
    *,
    url_column: str = "url",
    id_column: str = "",
    base_url: str = "",
    stdin: BinaryIO | None = None,
) -> Iterator[Entry]:
    """The entries of the list at `path` in their order, `Ignored` as the last one; "-" is a text list on stdin.

    The suffix says how to read it: .txt or none, .csv, .tsv, .jsonl, each also with .gz. Duplicates come out as often
    as they are listed. With a `base_url` relative URLs are joined with it; their key does not depend on it.
    `Source.index` counts the items of this list from 0. Raises `UsageError` at the call, when the list cannot be read,
    is not UTF-8 text or lacks a column; and later, where it cannot be read further.
    """
    entries = _entries(fspath(path), Columns(url=url_column, id=id_column), base_url, stdin)
    # The first entry is read now, so that a bad list is known before anything is touched.
    return itertools.chain([next(entries)], entries)


def _entries(path: str, columns: Columns, base_url: str, stdin: BinaryIO | None) -> Iterator[Entry]:
    suffix = "" if path == "-" else Path(path.removesuffix(".gz")).suffix.lower()
    with open_list(path, stdin) as lines:
        if columns.id and suffix in ("", ".txt"):
            message = f'id_column = "{columns.id}" needs a table: .csv, .tsv or .jsonl.'
            raise UsageError([Problem(where=path, message=message)])
        if suffix in ("", ".txt"):
            yield from read_text(lines, base_url)
        elif suffix in (".csv", ".tsv"):
            delimiter = "," if suffix == ".csv" else "\t"
            yield from read_separated(lines, path, delimiter=delimiter, columns=columns, base_url=base_url)
        elif suffix == ".jsonl":
            yield from read_json_lines(lines, columns=columns, base_url=base_url)
        else:
            message = f'"{suffix}" is not a kind of list; use .txt, .csv, .tsv or .jsonl, each also with .gz.'
            raise UsageError([Problem(where=path, message=message)])
