"""The syntax of an HTTP/1.1 reply: its head, read strictly in one pass, and the chunked transfer coding (RFC 9112).

The e-mail parser of the standard library costs more than all the rest of a request. Odd lines that curl and requests
take are taken, but not where they say how the body is framed, because two readers of one ambiguous head may see two
different bodies.
"""

import math
import re

from msgspec import Struct

from batchproc.errors import Code, StageError
from batchproc.redact import printable

MOST_HEAD_BYTES = 65536
_MOST_FIELDS = 100

_STATUS_LINE = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: .*)?")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)([ \t]*):[ \t]*(.*?)[ \t]*")
_FRAMING = ("content-length", "transfer-encoding")  # two readers must not differ in where a body ends
_KEEP_TIMEOUT = re.compile(r"(?i)\btimeout\s*=\s*([0-9]{1,9})")


class Head(Struct, frozen=True):
    """A reply's status, fields (names in lower case, repeated ones joined by commas), and how its body is framed."""

    status_code: int
    fields: dict[str, str]
    length: int | None  # of the body; None: chunked, or until the connection ends
    chunked: bool
    keep_alive: bool
    keep_seconds: float  # how long the server keeps the connection idle; infinite when it does not say


def protocol_error(message: str) -> StageError:
    """The failure of a server that does not speak HTTP/1.1."""
    return StageError(Code.PROTO, message)


def parse_head(octets: bytes) -> Head:
    """Parses a head without its closing empty line. Raises `StageError` `proto`."""
    lines = octets.decode("latin-1").replace("\r\n", "\n").split("\n")
    status_line = _STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        raise protocol_error("the reply does not begin with an HTTP/1.1 status line")
    if len(lines) > _MOST_FIELDS + 1:
        raise protocol_error(f"the reply has more than {_MOST_FIELDS} header lines")
    fields = _parse_fields(lines)
    status_code = int(status_line[2])
    chunked = _is_chunked(fields.get("transfer-encoding"))
    length = _length(fields.get("content-length"))
    both = chunked and length is not None
    if status_code in (204, 304) or status_code < 200:
        length, chunked = 0, False
    return Head(
        status_code=status_code,
        fields=fields,
        length=None if chunked else length,
        chunked=chunked,
        keep_alive=not both and _keeps_alive(status_line[1], fields.get("connection", "").lower()),
        keep_seconds=_keep_seconds(fields.get("keep-alive")),
    )


def _parse_fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for number, line in enumerate(lines[1:], 1):
        field = _FIELD.fullmatch(line)
        if "\0" in line or "\r" in line or (field is None and not (name and line[:1] in (" ", "\t"))):
            raise _malformed(number, line)
        if field is None:  # folded: obsolete, and read as a space (RFC 9112, section 5.2)
            fields[name] = f"{fields[name]} {line.strip()}"
            value_is_odd = True
        else:
            name = field[1].lower()
            fields[name] = f"{fields[name]}, {field[3]}" if name in fields else field[3]
            value_is_odd = bool(field[2])
        if value_is_odd and name in _FRAMING:
            raise _malformed(number, line)
    return fields


def _malformed(number: int, line: str) -> StageError:
    name = printable(line.partition(":")[0][:40])  # a value may be a secret
    return protocol_error(f'header line {number} of the reply is malformed; it begins with "{name}"')


def _is_chunked(coding: str | None) -> bool:
    codings = {part.strip().lower() for part in coding.split(",")} - {"", "identity"} if coding else set()
    if codings - {"chunked"}:
        raise StageError(Code.ENCODING, "the reply's Transfer-Encoding names a coding that was not asked for")
    return bool(codings)  # said twice, it is meant once: nobody chunks chunks


def _length(value: str | None) -> int | None:
    if value is None:
        return None
    values = {part.strip() for part in value.split(",")}
    number = values.pop()
    if values or not number.isascii() or not number.isdigit() or len(number) > 19:
        raise protocol_error("the reply has an unusable Content-Length")
    return int(number)


def _keep_seconds(value: str | None) -> float:
    """A second less than `Keep-Alive: timeout=5` says: a request must not cross the server's hanging up."""
    seconds = _KEEP_TIMEOUT.search(value) if value else None
    return max(0.0, float(seconds[1]) - 1.0) if seconds else math.inf


def _keeps_alive(minor_version: str, connection: str) -> bool:
    if minor_version == "0":
        return "keep-alive" in connection
    return "close" not in connection


_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LONGEST_LINE = 4096
_MOST_TRAILER_BYTES = 16384


class ChunkDecoder:
    """Turns the bytes of a chunked body into its content. Fed by one reader; holds at most one unfinished line."""

    def __init__(self) -> None:
        self.done = False  # the last chunk and the trailer have been seen
        self.surplus = False  # bytes came after the end
        self._pending = b""
        self._left = 0  # bytes of content in the present chunk
        self._between = False  # the line end after a chunk is due
        self._trailer_bytes = -1  # below 0: not in the trailer

    def feed(self, octets: bytes) -> bytes:
        """The content in `octets`, never more bytes than were fed. Raises `StageError` `proto`."""
        content: list[bytes] = []
        data = self._pending + octets if self._pending else octets
        position = 0
        while not self.done:
            if self._left:
                piece = data[position : position + self._left]
                if not piece:
                    break
                content.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._between = self._left == 0
                continue
            end = data.find(b"\n", position, position + _LONGEST_LINE)
            if end < 0:
                break
            self._line(data[position:end].removesuffix(b"\r"))
            position = end + 1
        self._pending = data[position:]
        self._check_rest()
        return b"".join(content)

    def _check_rest(self) -> None:
        if self.done:
            self.surplus = bool(self._pending)
        elif len(self._pending) >= _LONGEST_LINE:
            raise protocol_error("the reply has an endless line between its chunks")

    def _line(self, line: bytes) -> None:
        if self._trailer_bytes >= 0:
            self._trailer_line(line)
        elif self._between:
            if line:
                raise protocol_error("a chunk of the reply is longer than its size")
            self._between = False
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                raise protocol_error("a chunk of the reply has no valid size")
            self._left = int(size[1], 16)
            self._trailer_bytes = -1 if self._left else 0

    def _trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MOST_TRAILER_BYTES:
            raise protocol_error("the reply has an endless trailer")
        self.done = not line
