"""The sources of a job: a list as text, table or JSON Lines, each also gzipped, read as a stream in constant memory; or
image files."""

import itertools
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from typing import BinaryIO

from batchproc.columns import MOST_COLUMNS, Columns, TooManyColumnsError
from batchproc.model import LINES_PER_LIST
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sources.arrow import ARROW_SUFFIXES, read_arrow
from batchproc.sources.finding import TABLES, Found, find_sources, is_list_name, list_images, suffix_of
from batchproc.sources.json_lines import read_json_lines
from batchproc.sources.lines import Entry, ItemMaker, ListFormat, Segments, is_stream, open_list, read_text, refuse
from batchproc.sources.separated import Dialect, read_separated
from batchproc.sources.url import BadUrl, canonical, joiner

__all__ = [
    "BadUrl",
    "Entry",
    "Found",
    "ListFormat",
    "canonical",
    "find_sources",
    "is_list_name",
    "is_stream",
    "joiner",
    "list_images",
    "read_sources",
]


BY_NAME = ListFormat()


def read_sources(
    lists: str | PathLike[str] | Sequence[str],
    format: ListFormat = BY_NAME,
    *,
    columns: Columns | None = None,
    stdin: BinaryIO | None = None,
    memory: ListMemory | None = None,
) -> Iterator[Entry]:
    """The entries of a list, or of several as one, in their order; "-" is text on stdin.

    The suffix says how to read it: .txt or none, .csv, .tsv, .jsonl, each also with .gz; .parquet, .feather and .arrow
    by `pyarrow`. Blank lines and comments are passed over, duplicates come out as often as they are listed. `columns`
    learns of the other columns. With a `memory`, checkpoints are among the entries, and what begins as it was at one of
    those that are remembered begins with `Known` and goes on behind it. One list has checkpoints within, but not in
    columns, where all moves when something is added; several have one at the end of each.
    Raises `UsageError` at the call, when the list cannot be read, is not UTF-8 text or lacks a column; and later, where
    it cannot be read further.
    """
    paths = [fspath(lists)] if isinstance(lists, str | PathLike) else list(lists)
    learned, maker = columns if columns is not None else Columns(), ItemMaker(format.base_url, local=format.local)
    if len(paths) == 1:
        entries = _entries(paths[0], format, maker, learned, stdin, memory)
    else:
        entries = _entries_of_several(paths, format, maker, learned, memory)
    # The first entry is read now, so that a bad list is known before anything is touched.
    return itertools.chain([*itertools.islice(entries, 1)], entries)


def _entries_of_several(
    paths: Sequence[str], format: ListFormat, maker: ItemMaker, columns: Columns, memory: ListMemory | None
) -> Iterator[Entry]:
    known = _known_lists(memory) if memory else None
    if known is not None:
        columns.load(known.columns)
        yield Known(checkpoint=known)
    for number in range(known.size_bytes // LINES_PER_LIST if known else 0, len(paths)):
        yield from _entries(paths[number], format, maker, columns, None, None, line=number * LINES_PER_LIST)
        if memory:
            yield _end_of_list(memory, number, columns.dump())


def _known_lists(memory: ListMemory) -> Checkpoint | None:
    """The last list's end up to which all lists are as they were."""
    remembered = {checkpoint.digest: checkpoint for checkpoint in memory.checkpoints}
    ends = (_end_of_list(memory, number, "").digest for number in reversed(range(len(memory.files))))
    return next((remembered[digest] for digest in ends if digest in remembered), None)


def _end_of_list(memory: ListMemory, number: int, columns: str) -> Checkpoint:
    """The end of one of several lists, counted from 0: a place known by what tells it and all before it from others."""
    place = (number + 1) * LINES_PER_LIST
    digest = memory.hasher()
    digest.update("\n".join(memory.files[: number + 1]).encode())
    return Checkpoint(size_bytes=place, digest=digest.digest(), line=place - 1, header=(), columns=columns)


def _entries(
    path: str,
    format: ListFormat,
    maker: ItemMaker,
    columns: Columns,
    stdin: BinaryIO | None,
    memory: ListMemory | None,
    line: int = 0,
) -> Iterator[Entry]:
    """The entries of one list whose first line is the one behind `line`."""
    suffix = suffix_of(path)
    _check_format(path, suffix, format)
    try:
        if suffix in ARROW_SUFFIXES:
            yield from read_arrow(path, format=format, maker=maker, columns=columns, line=line)
            return
        with open_list(path, stdin) as open_blocks:
            segments = Segments(open_blocks, memory, line)
            if suffix in TABLES:
                dialect = _dialect(suffix, format)
                yield from read_separated(segments, path, dialect=dialect, format=format, maker=maker, columns=columns)
            elif suffix == ".jsonl":
                yield from read_json_lines(segments, path, format=format, maker=maker, columns=columns)
            else:
                yield from read_text(segments, maker, columns)
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
