"""What a list holds, line by line: items, some of which can never be downloaded, and rows that are none."""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

from msgspec import Struct, field

from batchproc.columns import Columns
from batchproc.errors import Code
from batchproc.model import ListedItem
from batchproc.redact import printable
from batchproc.remembered import Checkpoint, Known
from batchproc.sources.lines import HEAD_BYTES, KEY_BYTES, LongLine, Place, Segments, refuse
from batchproc.sources.url import CANONICAL, MAX_URL_CHARS, BadUrl, as_listed, canonical, joiner


class Wanted(Struct, frozen=True, kw_only=True):
    """Where a table has what: the URL, and the item's own id or nothing."""

    url: str
    id: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)  # other columns: new names by those of the list
    dropped: frozenset[str] = frozenset()

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
        carried = {name: new for name in names if name != self.url and (new := self.carried(name)) is not None}
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
        yield from checkpoints(segments.end(number), columns)


def checkpoints(place: Place | None, columns: Columns, header: Sequence[str] = ()) -> Iterator[Checkpoint]:
    """The checkpoint at this place, if it is one; `columns` are what they are there."""
    if place is not None:
        yield Checkpoint(
            size_bytes=place.size_bytes,
            digest=place.digest,
            line=place.line,
            header=tuple(header),
            columns=columns.dump(),
        )


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
