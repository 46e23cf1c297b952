"""Lists that are tables: comma- or tab-separated with a header, and JSON Lines. Other columns travel as JSON."""

import csv
import difflib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from batchproc.errors import Problem, UsageError
from batchproc.sources.entries import BadRow, Entry, Ignored, ItemMaker, bad_encoding, bad_row
from batchproc.sources.lines import LONGEST_LINE_BYTES, Line, LongLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where a table has what: the URL, and the item's own id or nothing."""

    url: str
    id: str = ""


class _UnreadableRecord(Exception):
    """The record under way cannot be read; the message says why."""


class _Feed:
    """Feeds csv.reader with lines and remembers those of the record under way, so that a broken one costs one line.

    An open quote swallows what follows; without going back, everything up to the next quote would be lost with it.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = enumerate(lines, start=1)
        self._again: deque[tuple[int, Line]] = deque()
        self._taken: list[tuple[int, Line]] = []
        self._taken_bytes = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        number, content = self._again.popleft() if self._again else next(self._lines)
        self._taken.append((number, content))
        if isinstance(content, LongLine):
            raise _UnreadableRecord(f"{content.size_bytes} bytes on one line, the limit is {LONGEST_LINE_BYTES}")
        self._taken_bytes += len(content)
        if self._taken_bytes > LONGEST_LINE_BYTES:
            raise _UnreadableRecord("a quote is opened and not closed")
        return content.decode() + "\n"

    def begin(self) -> None:
        """The next line begins a record."""
        self._taken.clear()
        self._taken_bytes = 0

    @property
    def line(self) -> int:
        """The first line of the record under way."""
        return self._taken[0][0]

    @property
    def spans_lines(self) -> bool:
        """Whether the record under way has more than one line."""
        return len(self._taken) > 1

    def give_up(self, message: str) -> BadRow:
        """Makes the record's first line a bad row; the lines after it are read again."""
        number, content = self._taken[0]
        self._again.extendleft(reversed(self._taken[1:]))
        return bad_row(number, content if isinstance(content, bytes) else content.head, message)

    def give_up_encoding(self) -> BadRow:
        """The same for a record in which a line is not UTF-8: that line is the bad row when it is the first."""
        number, content = self._taken[0]
        if self.spans_lines or not isinstance(content, bytes):
            return self.give_up("a quote is opened and not closed")
        return bad_encoding(number, content)


def read_separated(
    lines: Iterator[Line], name: str, *, delimiter: str, columns: Columns, base_url: str
) -> Iterator[Entry]:
    """The entries of a CSV or TSV list with a header. Raises `UsageError` when a wanted column is not in it."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    header = _read_header(feed, reader, name)
    if not header:
        yield Ignored(lines=0)
        return
    url_at = _position(header, columns.url, "url_column", name)
    id_at = _position(header, columns.id, "id_column", name) if columns.id else None
    extras = [(position, column) for position, column in enumerate(header) if position != url_at]
    maker = ItemMaker(base_url)
    ignored = 0
    for record in _records(feed, reader, len(header)):
        if isinstance(record, BadRow):
            yield record
        elif not record:
            ignored += 1
        elif not (url := record[url_at].strip(" ")) or (id_at is not None and not record[id_at]):
            yield feed.give_up(f'the column "{columns.url if not url else columns.id}" is empty')
        else:
            extra_json = json.dumps({column: record[position] for position, column in extras}) if extras else ""
            item_id = record[id_at] if id_at is not None else ""
            yield maker.make(feed.line, url, item_id=item_id, extra_json=extra_json)
    yield Ignored(lines=ignored)


def _records(feed: _Feed, reader: Iterator[list[str]], width: int) -> Iterator[list[str] | BadRow]:
    """The records after the header, blank ones as empty lists, each with `width` cells."""
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            yield feed.give_up_encoding()
        except _UnreadableRecord as error:
            yield feed.give_up(str(error))
        except csv.Error:
            yield feed.give_up("the quotes do not match")
        else:
            if len(cells) in (0, width):
                yield cells
            elif len(cells) == 1 and not cells[0].strip():
                yield []
            else:
                yield feed.give_up(f"{len(cells)} columns where the header has {width}")


def _read_header(feed: _Feed, reader: Iterator[list[str]], name: str) -> list[str]:
    """The column names; empty for an empty file. Blank lines before it are passed over."""
    header: list[str] = []
    try:
        while not header:
            feed.begin()
            header = [cell.strip() for cell in next(reader)]
    except StopIteration:
        return []
    except (UnicodeDecodeError, _UnreadableRecord, csv.Error):
        _refuse(name, "its header, the first line, cannot be read.")
    for column in header:
        if header.count(column) > 1:
            _refuse(name, f'its header has the column "{column}" more than once.')
    return header


def _position(header: Sequence[str], column: str, setting: str, name: str) -> int:
    if column not in header:
        _refuse_column(header, column, setting, name)
    return header.index(column)


def _refuse_column(header: Sequence[str], column: str, setting: str, name: str) -> NoReturn:
    near = _nearest(column, header)
    hint = f'; did you mean [job] {setting} = "{near}"?' if near else f"; set [job] {setting}."
    _refuse(name, f'has no column "{column}"; its columns are {", ".join(header[:20])}{hint}')


def read_json_lines(lines: Iterator[Line], *, columns: Columns, base_url: str) -> Iterator[Entry]:
    """The entries of a JSON Lines list: an object per line."""
    maker = ItemMaker(base_url)
    ignored = 0
    for number, content in enumerate(lines, start=1):
        if isinstance(content, LongLine):
            yield bad_row(
                number, content.head, f"{content.size_bytes} bytes on one line, the limit is {LONGEST_LINE_BYTES}"
            )
        elif not content.strip():
            ignored += 1
        else:
            yield _entry_of_object(number, content, columns, maker)
    yield Ignored(lines=ignored)


def _entry_of_object(number: int, content: bytes, columns: Columns, maker: ItemMaker) -> Entry:
    try:
        row = _read_json(content.decode())
    except UnicodeDecodeError:
        return bad_encoding(number, content)
    except json.JSONDecodeError as error:
        return bad_row(number, content, f"is not JSON at position {error.pos + 1}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return bad_row(number, content, f"is not JSON that is read here: {type(error).__name__}")
    if not isinstance(row, dict):
        return bad_row(number, content, "is not an object in braces")
    url = row.pop(columns.url, None)
    if not isinstance(url, str) or not url.strip(" "):
        return bad_row(number, content, _no_text(columns.url, url, row))
    item_id = row.get(columns.id, "") if columns.id else ""
    if columns.id and (isinstance(item_id, bool) or not isinstance(item_id, str | int) or item_id == ""):
        return bad_row(number, content, f'"{columns.id}" must be a text or a whole number')
    extra_json = json.dumps(row) if row else ""
    return maker.make(number, url.strip(" "), item_id=str(item_id), extra_json=extra_json)


def _no_text(column: str, value: object, row: dict[str, Any]) -> str:
    if value is not None:
        return f'"{column}" must be a text with the URL'
    near = _nearest(column, row)
    return f'no "{column}" in it; did you mean [job] url_column = "{near}"?' if near else f'no "{column}" in it'


def _nearest(column: str, columns: Iterable[str]) -> str:
    """The column that is most like this one, whatever its case, or nothing."""
    names = {name.lower(): name for name in columns}
    near = difflib.get_close_matches(column.lower(), names, 1)
    return names[near[0]] if near else ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(where: str, message: str) -> NoReturn:
    raise UsageError([Problem(where=where, message=message)])


_read_json = json.JSONDecoder(parse_constant=_refuse_constant).decode
