"""The URL list of a job: text, tables or JSON Lines, each also gzipped, read as a stream in constant memory."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, Literal

from batchproc.columns import MOST_COLUMNS, Columns, TooManyColumnsError
from batchproc.remembered import ListMemory
from batchproc.sources.arrow import ARROW_SUFFIXES, read_arrow
from batchproc.sources.entries import BadRow, Entry, Ignored, Unusable, Wanted, read_text
from batchproc.sources.json_lines import read_json_lines
from batchproc.sources.lines import is_stream, open_list, refuse
from batchproc.sources.segments import Segments
from batchproc.sources.separated import Dialect, read_separated
from batchproc.sources.url import BadUrl, canonical, joiner

__all__ = [
    "BadRow",
    "BadUrl",
    "Entry",
    "Ignored",
    "ListFormat",
    "Unusable",
    "canonical",
    "is_stream",
    "joiner",
    "read_sources",
]

TABLES = {".csv": ",", ".tsv": "\t"}  # and what stands between their cells

@dataclass(frozen=True, slots=True, kw_only=True)
class ListFormat:
    """How a list is to be read, as far as its name does not tell."""

    url_column: str = "url"
    id_column: str = ""
    delimiter: str = ""  # empty: by the name
    quoting: Literal["auto", "double", "none"] = "auto"  # auto: tab-separated values have no quotes
    base_url: str = ""  # relative URLs are joined with it; their key does not depend on it


BY_NAME = ListFormat()


def read_sources(
    path: str | PathLike[str],
    format: ListFormat = BY_NAME,
    *,
    columns: Columns | None = None,
    stdin: BinaryIO | None = None,
    memory: ListMemory | None = None,
) -> Iterator[Entry]:
    """The entries of the list at `path` in their order, `Ignored` as the last one; "-" is a text list on stdin.

    The suffix says how to read it: .txt or none, .csv, .tsv, .jsonl, each also with .gz; .parquet, .feather and .arrow
    by `pyarrow`, without checkpoints, as their beginning changes with what is added. Duplicates come out as often
    as they are listed. `Source.index` counts the items of this list from 0. `columns` learns of the other columns.
    With a `memory`, checkpoints are among the entries, and a list whose beginning is as it was at one of those that are
    remembered begins with `Known` and goes on behind it.
    Raises `UsageError` at the call, when the list cannot be read, is not UTF-8 text or lacks a column; and later, where
    it cannot be read further.
    """
    entries = _entries(fspath(path), format, columns if columns is not None else Columns(), stdin, memory)
    # The first entry is read now, so that a bad list is known before anything is touched.
    return itertools.chain([next(entries)], entries)


def _entries(
    path: str, format: ListFormat, columns: Columns, stdin: BinaryIO | None, memory: ListMemory | None
) -> Iterator[Entry]:
    suffix = "" if path == "-" else Path(path.removesuffix(".gz")).suffix.lower()
    wanted = Wanted(url=format.url_column, id=format.id_column)
    _check_format(path, suffix, format)
    if suffix in ARROW_SUFFIXES:
        yield from read_arrow(path, wanted=wanted, base_url=format.base_url, columns=columns)
        return
    with open_list(path, stdin) as open_blocks:
        segments = Segments(open_blocks, memory)
        try:
            if suffix in TABLES:
                dialect = _dialect(suffix, format)
                yield from read_separated(
                    segments, path, dialect=dialect, wanted=wanted, base_url=format.base_url, columns=columns
                )
            elif suffix == ".jsonl":
                yield from read_json_lines(
                    segments, path, wanted=wanted, base_url=format.base_url, columns=columns
                )
            else:
                yield from read_text(segments, format.base_url, columns)
        except TooManyColumnsError:
            message = f"has more than {MOST_COLUMNS:,} columns; put what differs from row to row into one column."
            refuse(path, message)


def _dialect(suffix: str, format: ListFormat) -> Dialect:
    quoted = format.quoting == "double" or (format.quoting == "auto" and suffix == ".csv")
    return Dialect(delimiter=format.delimiter or TABLES[suffix], quoted=quoted)


def _check_format(path: str, suffix: str, format: ListFormat) -> None:
    """Refuses names and keys that do not go together."""
    if suffix not in ("", ".txt", ".jsonl", *TABLES, *ARROW_SUFFIXES):
        kinds = ".txt, .csv, .tsv or .jsonl, each also with .gz, or .parquet"
        refuse(path, f'"{suffix}" is not a kind of list; use {kinds}.')
    if format.id_column and suffix in ("", ".txt"):
        refuse(path, f'id_column = "{format.id_column}" needs a table: .csv, .tsv, .jsonl or .parquet.')
    if format.delimiter and suffix not in TABLES:
        refuse(path, "delimiter needs a table: .csv or .tsv.")
    if format.quoting != "auto" and suffix not in TABLES:
        refuse(path, f'quoting = "{format.quoting}" needs a table: .csv or .tsv.')
