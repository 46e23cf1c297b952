"""Lines of a file or pipe, in constant memory: any line end, gzip, a bound on their length, and what is no UTF-8.

A list is read in segments that end where a line ends, each known by the digest of all the text up to its end. What it
holds, line by line, are items, some of which can never be downloaded, and rows that are none: they are made here for
every format, and the plain text of URLs, which is the first of them, is read.
"""

import difflib
import gzip
import json
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn, TypeAlias, cast

from msgspec import Struct, field

from batchproc.columns import Columns
from batchproc.errors import Code, Problem, UsageError
from batchproc.model import ListedItem
from batchproc.redact import printable
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sources.url import CANONICAL, MAX_URL_CHARS, BadUrl, as_listed, canonical, joiner

LONGEST_LINE_BYTES = 65536
# Not larger than a line may be: then only a block's first line can be too long, and only that one is measured.
BLOCK_BYTES = LONGEST_LINE_BYTES
HEAD_BYTES = 8192
COPY_AGAIN = "Copy it again; until then nothing counts as having left the list."
KEY_BYTES = 16
# What a shell calls a pipe that it gives to a command, as in `batchproc run job.toml --set job.input=<(zcat old.gz)`.
_SHELL_NAME = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/\d+")

_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


class LongLine(Struct, frozen=True, kw_only=True):
    """A line over the bound: its beginning, its whole length, and the key made of all its bytes."""

    head: bytes
    size_bytes: int
    key: bytes
    quotes: int  # how many double quotes are in it


Line: TypeAlias = bytes | LongLine


def head_of(line: Line) -> bytes:
    """The line, or of a long one what was kept of it."""
    return line if isinstance(line, bytes) else line.head


def is_stream(path: str) -> bool:
    """Whether a list can be read only once: stdin, and pipes that the shell names."""
    return path == "-" or (_SHELL_NAME.fullmatch(path) is not None and not Path(path).is_file())


@contextmanager
def open_list(path: str, stdin: BinaryIO | None) -> Iterator[Callable[[int | None], Iterator[bytes]]]:
    """What gives the blocks of the list at `path`, or of `stdin` when that is "-", from a byte of its text on.

    None stands for its beginning, once: anything else goes back, which only a file can.

    Raises `UsageError` when it cannot be read; also in its middle, for then nobody knows what else it holds.
    """
    with ExitStack() as stack:
        try:
            file = _standard_input(stdin) if path == "-" else stack.enter_context(_open_file(path))
        except OSError as error:
            refuse(path, _why_unreadable(error))
        if path.lower().endswith(".gz"):
            file = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=file)))
        yield partial(_blocks, file, "stdin" if path == "-" else path)


def split_lines(blocks: Iterator[bytes]) -> Iterator[Line]:
    """Cuts blocks at line feeds, carriage returns and both together; ends are not part of a line."""
    tail = pending = b""
    while block := pending or next(blocks, b""):
        pending = b""
        data = tail + block
        lines = data.splitlines()
        if data.endswith(b"\n"):
            tail = b""
        else:  # a carriage return at the end may be half of a pair: it waits with its line
            last = lines.pop()
            tail = data[len(data) - len(last) - data.endswith(b"\r") :]
        if lines and len(lines[0]) > LONGEST_LINE_BYTES:
            yield _long_line(lines.pop(0))
        yield from lines
        if len(tail) > LONGEST_LINE_BYTES:
            long_line, pending = _skip_line(tail, blocks)
            tail = b""
            yield long_line
    if tail:
        yield tail.removesuffix(b"\r")


def _long_line(line: bytes) -> LongLine:
    key = blake2b(line, digest_size=KEY_BYTES).digest()
    return LongLine(head=line[:HEAD_BYTES], size_bytes=len(line), key=key, quotes=line.count(b'"'))


def _skip_line(start: bytes, blocks: Iterator[bytes]) -> tuple[LongLine, bytes]:
    """Reads on to the line's end, keeping only its hash. Returns it, and the beginning of what follows."""
    digest = blake2b(digest_size=KEY_BYTES)
    size_bytes, quotes, rest = 0, 0, start
    while rest:
        line = rest.splitlines()[0]
        digest.update(line)
        size_bytes += len(line)
        quotes += line.count(b'"')
        if len(line) < len(rest):
            rest = rest[len(line) :]
            break
        rest = next(blocks, b"")
    if rest == b"\r":  # its line feed may be in the next block
        rest += next(blocks, b"")
    rest = rest[2 if rest.startswith(b"\r\n") else 1 :]
    head, key = start[:HEAD_BYTES], digest.digest()
    return LongLine(head=head, size_bytes=size_bytes, key=key, quotes=quotes), rest


def _blocks(file: BinaryIO, name: str, start: int | None) -> Iterator[bytes]:
    """The file's blocks from this byte of its text on, without a byte order mark; see `open_list`.

    Raises `UsageError` for other encodings, and as `_read` does.
    """
    try:
        if start is not None:
            file.seek(0)
        first = _first_block(file, name)
    except OSError as error:
        refuse(name, _why_unreadable(error))
    _refuse_other_encodings(first, name)
    text = first.removeprefix(b"\xef\xbb\xbf")
    if start is not None:
        file.seek(len(first) - len(text) + start)
    elif text:
        yield text
    while block := _read(file, name):
        yield block


def _first_block(file: BinaryIO, name: str) -> bytes:
    """At least the bytes that show the encoding, where a pipe gives them bit by bit."""
    first = b""
    while len(first) < 8 and (block := _read(file, name)):
        first += block
    return first


def _read(file: BinaryIO, name: str) -> bytes:
    """What is there now, at most one block: a pipe is not waited for longer than it takes to get something.

    Raises `UsageError` for what cannot be read, or not be unpacked.
    """
    try:
        return file.read1(BLOCK_BYTES) if hasattr(file, "read1") else file.read(BLOCK_BYTES)
    except EOFError:
        refuse(name, f"the compressed list breaks off after {file.tell():,} bytes of text. {COPY_AGAIN}")
    except (zlib.error, gzip.BadGzipFile):
        if file.tell() == 0:
            refuse(name, "its name ends in .gz but it is not a gzip file.")
        refuse(name, f"the compressed list is damaged after {file.tell():,} bytes of text. {COPY_AGAIN}")
    except OSError as error:
        refuse(name, _why_unreadable(error))


def _refuse_other_encodings(first: bytes, name: str) -> None:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if first.startswith(mark):
            refuse(name, f"is {encoding}; save it as UTF-8.")
    if len(first) >= 8 and b"\0\0\0\0" in (first[0:8:2], first[1:8:2]) and any(first[:8]):
        refuse(name, "looks like UTF-16 without a byte order mark; save it as UTF-8.")


def _open_file(path: str) -> BinaryIO:
    """Opens the list, unless that would wait: a named pipe has no end that could be relied on. Raises OSError."""
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or is_stream(path)):
        refuse(path, 'is no regular file; for anything else say input = "-" and give it to stdin.')
    return Path(path).open("rb")


def _standard_input(stdin: BinaryIO | None) -> BinaryIO:
    if stdin is None and sys.stdin is None:
        refuse("stdin", "is closed, and the list is to be read from it.")
    return stdin if stdin is not None else sys.stdin.buffer


def _why_unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file."
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a list of URLs."
    return f"cannot be read: {os.strerror(error.errno) if error.errno else type(error).__name__}."


def refuse(where: str, message: str) -> NoReturn:
    """Raises the `UsageError` of a list that cannot be read."""
    raise UsageError([Problem(where=where, message=message)])


SEGMENT_BYTES = 4 << 20  # about 50,000 rows: what is read again at most, before the first change

NO_MEMORY = ListMemory(rule="")
OpenBlocks = Callable[[int | None], Iterator[bytes]]  # the blocks of the list from a byte of its text on


class Segments:
    """The segments of one list, each the iterator of its numbered lines, to be used up and ended before the next one.

    Without a `memory` a list is one segment, without an end to come back to.
    """

    def __init__(self, open_blocks: OpenBlocks, memory: ListMemory | None, line: int = 0) -> None:
        self.known: Checkpoint | None = None
        self.line = line  # the last one before the first segment
        self._memory = memory
        self._size = 0  # of the text that was given out
        self._digest = (memory or NO_MEMORY).hasher()  # of that text
        self._ends_line = False  # the segment that was given out last
        self._blocks = open_blocks(None)
        self._waiting: list[bytes] = []  # blocks that were read ahead, the next one last
        if memory is not None:
            self._skip_known(open_blocks, memory)

    def __iter__(self) -> Iterator[Iterator[tuple[int, Line]]]:
        if self._memory is None:
            yield enumerate(split_lines(self._blocks), start=self.line + 1)
            return
        while self._look_ahead():
            yield enumerate(split_lines(self._cut()), start=self.line + 1)

    def begin(self, columns: Columns) -> Iterator[Known]:
        """The first entry of a list that is not read from its beginning; `columns` become what they were there."""
        if self.known is not None:
            columns.load(self.known.columns)
            yield Known(checkpoint=self.known)

    def end(self, line: int, columns: Columns, header: Sequence[str] = ()) -> Checkpoint | None:
        """The end of the segment that was just used up with this line; None where nobody could go on there."""
        self.line = line
        if not self._ends_line:
            return None
        return Checkpoint(
            size_bytes=self._size, digest=self._digest.digest(), line=line, header=tuple(header), columns=columns.dump()
        )

    def _cut(self) -> Iterator[bytes]:
        """The blocks of the next segment: to the first line end behind `SEGMENT_BYTES`, or the last of the list."""
        end = self._size + SEGMENT_BYTES
        self._ends_line = False
        while not self._ends_line and self._look_ahead():
            block = self._waiting.pop()
            is_last = not self._look_ahead()
            if (is_last or self._size + len(block) >= end) and (cut := block.rfind(b"\n") + 1):
                self._waiting += filter(None, [block[cut:]])
                block = block[:cut]
                self._ends_line = True
            self._digest.update(block)
            self._size += len(block)
            yield block

    def _look_ahead(self) -> bool:
        """Whether there is another block."""
        if not self._waiting:
            self._waiting += filter(None, [next(self._blocks, b"")])
        return bool(self._waiting)

    def _skip_known(self, open_blocks: OpenBlocks, memory: ListMemory) -> None:
        """Goes to the last checkpoint up to which the list is as it was."""
        digest, read = memory.hasher(), 0
        for checkpoint in memory.checkpoints:
            while read < checkpoint.size_bytes and self._look_ahead():
                block = self._waiting.pop()
                wanted = checkpoint.size_bytes - read
                self._waiting += filter(None, [block[wanted:]])
                digest.update(block[:wanted])
                read += min(wanted, len(block))
            if read < checkpoint.size_bytes or digest.digest() != checkpoint.digest:
                break
            self.known, self._digest, self._size, self.line = checkpoint, digest.copy(), read, checkpoint.line
        if read != self._size:
            self._waiting, self._blocks = [], open_blocks(self._size)


class ListFormat(Struct, frozen=True, kw_only=True):
    """How a list is to be read, as far as its name does not say, and where a table has what."""

    url_column: str = "url"
    id_column: str = ""  # with the items' own ids
    delimiter: str = ""  # empty: by the name
    quoting: Literal["auto", "double", "none"] = "auto"  # auto: tab-separated values have no quotes
    base_url: str = ""  # relative URLs are joined with it; their key does not depend on it
    local: bool = False  # whether file:// is taken too
    renamed: Mapping[str, str] = field(default_factory=dict)  # other columns: new names by those of the list
    dropped: frozenset[str] = frozenset()  # other columns that are left out

    @property
    def changes_columns(self) -> bool:
        """Whether other columns are not carried along as they are."""
        return bool(self.renamed or self.dropped)

    def carried(self, name: str) -> str | None:
        """The name under which another column is carried along; None where it is left out."""
        return None if name in self.dropped else self.renamed.get(name, name)

    def carry(self, path: str, names: Sequence[str]) -> dict[str, str]:
        """The columns of a table that are carried along, by their names in it, as `carried` says.

        Raises `UsageError` where one that is named is missing, or two come to one name.
        """
        for name in (*self.renamed, *self.dropped):
            if name not in names:
                near = nearest(name, names)
                hint = f'did you mean "{near}"?' if near else f"its columns are {', '.join(names[:20])}"
                refuse(path, f'has no column "{name}", which [job.columns] names; {hint}')
        carried = {name: new for name in names if name != self.url_column and (new := self.carried(name)) is not None}
        for new in carried.values():
            if sum(new == other for other in carried.values()) > 1:
                refuse(path, f'[job.columns] makes two columns "{new}" of it; drop one, or name it otherwise.')
        return carried


def nearest(column: str, columns: Iterable[str]) -> str:
    """The column that is most like this one, whatever its case, or nothing."""
    names = {name.lower(): name for name in columns}
    near = difflib.get_close_matches(column.lower(), names, 1)
    return names[near[0]] if near else ""


SHOWN_CHARS = 200


Entry: TypeAlias = ListedItem | Known | Checkpoint


class ItemMaker:
    """Makes the item of one line that has a URL."""

    def __init__(self, base_url: str, *, local: bool = False) -> None:
        self.relative = bool(base_url)  # whether relative URLs are taken
        self._local = local  # whether file:// is
        self._join = joiner(base_url) if base_url else None

    def make(self, line: int, text: str, item_id: str = "", extra_json: str = "") -> ListedItem:
        """The item of a URL as listed; with a code where it is none that we fetch. A given `item_id` decides the key.

        Of a text that is no URL, the item's URL is that text, escaped and cut.
        """
        # Nearly all of a list are canonical as they stand: nothing to change, nothing to join.
        if CANONICAL.fullmatch(text) and "/." not in text and len(text) <= MAX_URL_CHARS:
            key = blake2b((item_id or text).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
            return ListedItem(key, line, text, extra_json)
        try:
            url = canonical(text, relative=self.relative, local=self._local)
        except BadUrl as error:
            shown = printable(text[: MAX_URL_CHARS + 1])[:MAX_URL_CHARS]
            return ListedItem(make_key(item_id or text), line, shown, extra_json, error.code, error.message)
        listed = url if text == url else as_listed(text, url)
        absolute = listed if self._join is None else self._join(listed)
        return ListedItem(make_key(item_id or url), line, absolute, extra_json)


def make_key(identity: str) -> bytes:
    """The key of what is known by this text."""
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def _item_of_long_line(line: int, long_line: LongLine) -> ListedItem:
    """The item of a line that is far too long for a URL."""
    shown = printable(long_line.head.decode("utf-8", "backslashreplace"))[:SHOWN_CHARS] + "…"
    message = f"{long_line.size_bytes} bytes, the limit is {MAX_URL_CHARS} characters"
    return ListedItem(long_line.key, line, shown, "", Code.INPUT_URL_TOO_LONG, message)


def make_encoder() -> Callable[[Any], str]:
    """What `json.dumps` does, without NaN (ValueError). That makes its C encoder anew for each call, which is a fifth
    of the time that reading a row takes; where the module has none, or another one, its own way is taken."""
    try:
        encode = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, None, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, False
        )
        assert list(encode({}, 0)) == ["{}"]
    except (AttributeError, TypeError, AssertionError):
        return json.JSONEncoder(allow_nan=False).encode
    return lambda value: "".join(encode(value, 0))


def read_text(segments: Segments, maker: ItemMaker, columns: Columns) -> Iterator[Entry]:
    """The entries of a plain list: a URL per line, `#` begins a comment line, a comma is just a comma."""
    make = maker.make
    number = segments.line
    yield from segments.begin(columns)
    for lines in segments:
        for number, content in lines:
            if isinstance(content, LongLine):
                yield _item_of_long_line(number, content)
                continue
            stripped = content.strip()
            if not stripped or stripped[0] == 35:  # "#"
                continue
            try:
                text = stripped.decode()
            except UnicodeDecodeError:
                yield bad_encoding(number, content)
                continue
            yield make(number, text)
        if checkpoint := segments.end(number, columns):
            yield checkpoint


def bad_encoding(number: int, content: bytes) -> ListedItem:
    """The bad row of a line that is not UTF-8, with the byte and its place."""
    return bad_row(number, content, describe_bad_encoding(content), code=Code.INPUT_ENCODING)


def describe_bad_encoding(content: bytes) -> str:
    """Which byte of a line is not UTF-8, and where."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"byte 0x{content[error.start]:02x} at position {error.start + 1} is not UTF-8"
    return "is not UTF-8"


def bad_row(number: int, content: bytes, message: str, *, code: Code = Code.INPUT_ROW) -> ListedItem:
    """A row that cannot be read, with what it begins with. It has no identity but its place and that beginning."""
    shown = printable(content[:HEAD_BYTES].decode("utf-8", "backslashreplace"))[:SHOWN_CHARS]
    return ListedItem(make_key(f"{number}\0{shown}"), number, shown, "", code, message)
