"""Tables with a header: cells between commas, tabs or another delimiter, in double quotes where the format has those.

A broken row costs one line, and never what stands behind it. An open quote swallows all up to the next one, so the
lines that a broken record took are read again, unless they can only be its own.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

from msgspec import Struct

from batchproc.columns import Columns
from batchproc.errors import Code
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint
from batchproc.sources.lines import (
    LONGEST_LINE_BYTES,
    Entry,
    ItemMaker,
    Line,
    ListFormat,
    LongLine,
    Segments,
    bad_row,
    describe_bad_encoding,
    head_of,
    make_encoder,
    nearest,
    refuse,
)

LOOK_AHEAD_BYTES = 8 << 20  # how far the end of a record that is too long is looked for; held in memory meanwhile
DELIMITERS = {",": ",", ";": ";", "\t": "\\t", "|": "|"}  # as they are written in TOML
OPEN_QUOTE = "a quote is opened and not closed"
SWALLOWED = 'lines that look like rows are part of a cell in quotes; if they are rows, say [job] quoting = "none"'


class Dialect(Struct, frozen=True, kw_only=True):
    """How cells are separated: the character between them, and whether double quotes may stand around them."""

    delimiter: str
    quoted: bool

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The records of these lines, as lists of cells. Raises csv.Error where the quotes are wrong."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=True,
        )


class _TooLong(Exception):
    """The record under way is longer than a row may be."""


class _Feed:
    """Feeds csv.reader with lines and remembers those of the record under way, so that they can be read again."""

    def __init__(self, segments: Segments, dialect: Dialect, columns: Columns) -> None:
        self.header: Sequence[str] = segments.known.header if segments.known else ()
        self.passed: Checkpoint | None = None  # the end of a segment, right before the record under way
        self._columns = columns
        self._lines = self._number_lines(segments)
        self._quoted = dialect.quoted
        self._again: deque[tuple[int, Line]] = deque()
        self._taken: list[tuple[int, Line]] = []
        self._taken_bytes = 0
        self._looked_at = 0  # up to this line the end of a record was looked for in vain
        self.is_row: Callable[[str], bool] = bool  # whether a line by itself could be a row; known with the header

    def __iter__(self) -> "_Feed":
        return self

    def _number_lines(self, segments: Segments) -> Iterator[tuple[int, Line]]:
        number = segments.line
        for lines in segments:
            for number, content in lines:
                yield number, content
            checkpoint = segments.end(number, self._columns, self.header)
            if not self._taken:
                self.passed = checkpoint

    def __next__(self) -> str:
        number, content = self._again.popleft() if self._again else next(self._lines)
        self._taken.append((number, content))
        if isinstance(content, LongLine):
            raise _TooLong
        self._taken_bytes += len(content)
        if self._taken_bytes > LONGEST_LINE_BYTES:
            raise _TooLong
        return content.decode() + "\n"

    def begin(self) -> None:
        """The next line begins a record."""
        self._taken.clear()
        self._taken_bytes = 0

    def take_passed(self) -> Iterator[Checkpoint]:
        """The end of the segment, if one was passed since this was asked last, and not inside a record."""
        passed, self.passed = self.passed, None
        if passed is not None:
            yield passed

    @property
    def line(self) -> int:
        """The first line of the record under way."""
        return self._taken[0][0]

    @property
    def spans_lines(self) -> bool:
        """Whether the record under way has more than one line."""
        return len(self._taken) > 1

    @property
    def holds_rows(self) -> bool:
        """Whether a line of this record, behind its first, could be a row of its own."""
        return any(self.is_row(head_of(content).decode("utf-8", "replace")) for _, content in self._taken[1:])

    def reject(self, message: str) -> ListedItem:
        """The bad row of a record that was read to its end: of the whole of it, unless a quote swallowed rows."""
        return self.give_up(message) if self.holds_rows else self._bad_row(message)

    def give_up(self, message: str, code: Code = Code.INPUT_ROW) -> ListedItem:
        """Makes the record's first line a bad row; the lines after it are read again."""
        self._again.extendleft(reversed(self._taken[1:]))
        return self._bad_row(message, code)

    def reject_long(self) -> ListedItem:
        """The bad row of a record that is too long: of the whole of it, if its end is found."""
        is_alone = not self.spans_lines
        size = head = _size(self._taken[0][1])
        if self._find_end() and not self.holds_rows:
            size, where = sum(_size(content) for _, content in self._taken), f"{len(self._taken)} lines"
            return self._bad_row(_too_long(size, where if self.spans_lines else "one line"))
        return self.give_up(_too_long(head, "one line") if is_alone else OPEN_QUOTE)

    def reject_encoding(self) -> ListedItem:
        """The same for a record in which a line is not UTF-8."""
        number, content = self._taken[-1]
        message = describe_bad_encoding(head_of(content))
        is_alone = not self.spans_lines
        if self._find_end() and not self.holds_rows:
            return self._bad_row(message if is_alone else f"{message}, on line {number}", Code.INPUT_ENCODING)
        return self.give_up(message, Code.INPUT_ENCODING) if is_alone else self.give_up(OPEN_QUOTE)

    def _bad_row(self, message: str, code: Code = Code.INPUT_ROW) -> ListedItem:
        number, content = self._taken[0]
        return bad_row(number, head_of(content), message, code=code)

    def _find_end(self) -> bool:
        """Takes lines up to the record's end, where the number of its quotes is even; whether that was found."""
        quotes = sum(_count_quotes(content) for _, content in self._taken) if self._quoted else 0
        if self.line <= self._looked_at:
            return quotes % 2 == 0
        held_bytes = self._taken_bytes
        while quotes % 2 and held_bytes < LOOK_AHEAD_BYTES:
            taken = self._again.popleft() if self._again else next(self._lines, None)
            if taken is None:
                break
            self._taken.append(taken)
            quotes += _count_quotes(taken[1])
            held_bytes += len(head_of(taken[1]))
        self._looked_at = self._taken[-1][0]
        return quotes % 2 == 0


def _size(content: Line) -> int:
    return len(content) if isinstance(content, bytes) else content.size_bytes


def _count_quotes(content: Line) -> int:
    return content.count(b'"') if isinstance(content, bytes) else content.quotes


def _too_long(size: int, where: str) -> str:
    return f"{size} bytes on {where}, the limit is {LONGEST_LINE_BYTES}"


def read_separated(
    segments: Segments, name: str, *, dialect: Dialect, format: ListFormat, maker: ItemMaker, columns: Columns
) -> Iterator[Entry]:
    """The entries of a table with a header. Raises `UsageError` when a wanted column is not in it."""
    feed = _Feed(segments, dialect, columns)
    reader = dialect.reader(feed)
    yield from segments.begin(columns)
    header = feed.header = feed.header or _read_header(feed, reader, name)
    feed.passed = None  # nobody could go on before the header
    if not header:
        return
    url_at = _position(header, format.url_column, "url_column", name, dialect)
    id_at = _position(header, format.id_column, "id_column", name, dialect) if format.id_column else None
    feed.is_row = _row_test(dialect, len(header), url_at, is_relative=maker.relative)
    extras = [(header.index(column), name) for column, name in format.carry(name, header).items()]
    columns.declare({column: "" for _, column in extras})
    encode = make_encoder()
    for record in _records(feed, reader, len(header)):
        if feed.passed:
            yield from feed.take_passed()
        if isinstance(record, ListedItem):
            yield record
        elif not (url := record[url_at].strip(" ")) or (id_at is not None and not record[id_at]):
            yield feed.reject(f'the column "{format.url_column if not url else format.id_column}" is empty')
        else:
            if feed.spans_lines and feed.holds_rows:
                columns.remark(SWALLOWED, feed.line)
            extra_json = encode({column: record[position] for position, column in extras}) if extras else ""
            item_id = record[id_at] if id_at is not None else ""
            yield maker.make(feed.line, url, item_id, extra_json)
    yield from feed.take_passed()


def _records(feed: _Feed, reader: Iterator[list[str]], width: int) -> Iterator[list[str] | ListedItem]:
    """The records after the header but for blank ones, each with `width` cells."""
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            yield feed.reject_encoding()
        except _TooLong:
            yield feed.reject_long()
        except csv.Error:
            yield feed.give_up("the quotes do not match")
        else:
            if len(cells) == width:
                yield cells
            elif cells and (len(cells) > 1 or cells[0].strip()):
                yield feed.reject(f"{len(cells)} columns where the header has {width}")


def _row_test(dialect: Dialect, width: int, url_at: int, *, is_relative: bool) -> Callable[[str], bool]:
    """The test whether a line by itself could be a row of this table."""

    def is_row(line: str) -> bool:
        try:
            cells = next(dialect.reader([line]), [])
        except csv.Error:
            return False
        if len(cells) != width:
            return False
        url = cells[url_at].strip(" ")
        return (is_relative and bool(url) and " " not in url) or url.lower().startswith(("http://", "https://"))

    return is_row


def _read_header(feed: _Feed, reader: Iterator[list[str]], name: str) -> list[str]:
    """The column names; empty for an empty file. Blank lines before it are passed over."""
    header: list[str] = []
    try:
        while not header:
            feed.begin()
            header = [cell.strip() for cell in next(reader)]
    except StopIteration:
        return []
    except (UnicodeDecodeError, _TooLong, csv.Error):
        refuse(name, "its header, the first line, cannot be read.")
    for column in header:
        if header.count(column) > 1:
            refuse(name, f'its header has the column "{column}" more than once.')
    return header


def _position(header: Sequence[str], column: str, setting: str, name: str, dialect: Dialect) -> int:
    if column not in header:
        _refuse_column(header, column, setting, name, dialect)
    return header.index(column)


def _refuse_column(header: Sequence[str], column: str, setting: str, name: str, dialect: Dialect) -> NoReturn:
    """Says which column is missing, and which key of the config may fix it."""
    near = nearest(column, header)
    if f'"{column}"' in header:
        hint = '; its names stand in quotes: set [job] quoting = "double".'
    elif delimiter := _likely_delimiter(header, column, dialect):
        hint = f'; its first line looks separated by "{delimiter}": set [job] delimiter = "{delimiter}".'
    else:
        hint = f'; did you mean [job] {setting} = "{near}"?' if near else f"; set [job] {setting}."
    refuse(name, f'has no column "{column}"; its columns are {", ".join(header[:20])}{hint}')


def _likely_delimiter(header: Sequence[str], column: str, dialect: Dialect) -> str:
    """The delimiter, as it is written in TOML, by which the column would be in this header; else nothing."""
    line = dialect.delimiter.join(header)
    for delimiter, shown in DELIMITERS.items():
        cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
        if delimiter != dialect.delimiter and (column in cells or (len(header) == 1 < len(cells))):
            return shown
    return ""
