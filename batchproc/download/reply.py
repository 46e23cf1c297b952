"""The bytes of an HTTP/1.1 reply: its head into the inbox, its body as it comes, then the connection back (RFC 9112).

A head is read strictly in one pass: the e-mail parser of the standard library costs more than all the rest of a
request. Odd lines that curl and requests take are taken, but not where they say how the body is framed, because two
readers of one ambiguous head may see two different bodies.
"""

import math
import re
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from batchproc.download.connection import Connection, Deadline, certificate_wanted
from batchproc.errors import Code, Retry, StageError
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


# Most images fit, so most bodies are received in place and copied once. Kept for the worker's life: fresh memory of
# this size costs more in page faults than the copy.
_INBOX_BYTES = 262_144
_MOST_INTERIM_REPLIES = 100
SWITCHING_PROTOCOLS = 101  # RFC 9110, section 15.2.2


class StaleConnectionError(Exception):
    """A kept connection was closed by the server before it could answer: ask again on a fresh one."""


class ReceiveBuffer:
    """One worker's receive buffer. `view[start:end]` holds what was received and not yet taken."""

    def __init__(self) -> None:
        self.octets = bytearray(_INBOX_BYTES)
        self.view = memoryview(self.octets)
        self.start = self.end = 0


def receive_head(inbox: ReceiveBuffer, connection: Connection, deadline: Deadline) -> Head:
    """Reads until the head of the final reply is complete; what came after it stays in the inbox.

    Raises `StageError`: `proto`, `truncated`, `connect`, what the deadline says; `StaleConnectionError` when a
    connection that has answered before ends before a byte.
    """
    inbox.start = inbox.end = 0
    reused = connection.answered
    for _ in range(_MOST_INTERIM_REPLIES):
        head = _next_head(inbox, connection, deadline, reused)
        if head.status_code >= 200:
            connection.answered = True
            return head
        if head.status_code == SWITCHING_PROTOCOLS:
            raise protocol_error("the server switched protocols unasked")
        reused = False
    raise StageError(Code.TIMEOUT_FIRST_BYTE, "only interim replies came", retry=Retry.ONCE)


def _next_head(inbox: ReceiveBuffer, connection: Connection, deadline: Deadline, reused: bool) -> Head:
    searched = start = inbox.start
    while True:
        end, after = _end_of_head(inbox.octets, searched, inbox.end)
        if end >= 0:
            inbox.start = after
            return parse_head(bytes(inbox.view[start:end]))
        if inbox.end - start > MOST_HEAD_BYTES or inbox.end == len(inbox.octets):
            raise protocol_error("the head of the reply is too long")
        searched = max(start, inbox.end - 3)
        inbox.end += _receive_of_head(inbox, connection, deadline, reused and inbox.end == 0)


def _end_of_head(octets: bytearray, start: int, end: int) -> tuple[int, int]:
    """Where the head ends and what follows begins; (-1, -1) when it is not complete. A bare LF ends a line, too."""
    strict = octets.find(b"\r\n\r\n", start, end)
    bare = octets.find(b"\n\n", start, end if strict < 0 else strict)
    if bare >= 0:
        return bare, bare + 2
    return strict, strict + 4


def _receive_of_head(inbox: ReceiveBuffer, connection: Connection, deadline: Deadline, may_be_stale: bool) -> int:
    try:
        count = connection.receive_into(inbox.view[inbox.end :], deadline, expected=False)
    except OSError as error:
        if wanted := certificate_wanted(error, connection.origin.host):
            raise wanted from None
        count = 0
    if count:
        return count
    if may_be_stale:
        raise StaleConnectionError
    if inbox.end:
        raise truncated("the connection ended inside the head of the reply")
    raise lost_before_reply(connection.origin.host)


def lost_before_reply(host: str) -> StageError:
    """The failure of a connection that ended before a byte of the reply."""
    return StageError(Code.CONNECT, f"{host} closed the connection without a reply")


def truncated(message: str) -> StageError:
    """The failure of a reply that ended early."""
    return StageError(Code.TRUNCATED, message)


class WireReply:
    """A reply whose head has been read; its body is read by `readinto`, after what the inbox holds of it.

    Its connection is handed to `give_back` when the body has been read to its end, to be kept if nothing came after
    it, and to be closed otherwise. Used by one worker.
    """

    def __init__(
        self,
        head: Head,
        inbox: ReceiveBuffer,
        connection: Connection,
        give_back: Callable[[Connection, bool], None],
        *,
        idle_seconds: float,
        total: Deadline,
    ) -> None:
        self.status_code = head.status_code
        self.headers = head.fields
        self.host = connection.origin.host
        self.inbox = inbox
        self._connection: Connection | None = connection
        self._give_back = give_back
        self._idle_seconds = idle_seconds
        self._total = total
        self._keep_alive = head.keep_alive
        self._chunks = ChunkDecoder() if head.chunked else None
        self._waiting = b""  # bytes of a chunked body that came with the head
        self._left = self._claim_inbox(head.length)
        if self._left == 0:
            self._end(self._keep_alive)

    def _claim_inbox(self, length: int | None) -> int | None:
        """How many bytes of the body are still to come; None when that is not told."""
        inbox = self.inbox
        here = inbox.end - inbox.start
        if self._chunks is not None:
            self._waiting = bytes(inbox.view[inbox.start : inbox.end])
            here = 0
        elif length is not None and here > length:
            here = length
            self._keep_alive = False  # bytes after the end: whose are they?
        inbox.end = inbox.start + here
        return None if length is None else length - here

    def read(self, most_bytes: int) -> bytes:
        """The next bytes of the body, those in the inbox first; none at its end. As `readinto`."""
        inbox = self.inbox
        if inbox.start == inbox.end:
            inbox.start = 0
            inbox.end = self.readinto(inbox.view[:most_bytes])
        here = bytes(inbox.view[inbox.start : min(inbox.end, inbox.start + most_bytes)])
        inbox.start += len(here)
        return here

    def readinto(self, room: memoryview) -> int:
        """Receives what there is, at most `room`, after the bytes in the inbox; 0 at the end of the body.

        Raises `StageError`: `timeout.idle`, `timeout.total`, `truncated`, `proto`.
        """
        if self._connection is None:
            return 0
        if self._chunks is not None:
            return self._read_chunked(room, self._chunks, self._connection)
        count = self._receive(room if self._left is None else room[: self._left], self._connection)
        if self._left is None:
            if count == 0:
                self._end(False)
        else:
            if count == 0:
                raise truncated(f"the body ended {self._left} bytes early")
            self._left -= count
            if self._left == 0:
                self._end(self._keep_alive)
        return count

    def _read_chunked(self, room: memoryview, chunks: ChunkDecoder, connection: Connection) -> int:
        while not chunks.done:
            octets, self._waiting = self._waiting[: len(room)], self._waiting[len(room) :]
            if not octets:
                octets = bytes(room[: self._receive(room, connection)])
                if not octets:
                    raise truncated("the body ended before its last chunk")
            content = chunks.feed(octets)
            if content:
                room[: len(content)] = content
                return len(content)
        self._end(self._keep_alive and not chunks.surplus and not self._waiting)
        return 0

    def _receive(self, room: memoryview, connection: Connection) -> int:
        deadline = Deadline.after(self._idle_seconds, Code.TIMEOUT_IDLE).or_earlier(self._total)
        try:
            return connection.receive_into(room, deadline)
        except OSError:
            raise truncated("the connection was lost inside the body") from None

    def close(self) -> None:
        """Gives the connection up unless the body has been read, or is here already. May be called twice."""
        if self._connection is not None:
            self._end(self._is_here())

    def _is_here(self) -> bool:
        """Whether all of a chunked body came with its head, as that of many a refusal does."""
        if self._chunks is None or not self._waiting or not self._keep_alive:
            return False
        with suppress(StageError):
            self._chunks.feed(self._waiting)
        return self._chunks.done and not self._chunks.surplus

    def _end(self, keep: bool) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        self._give_back(connection, keep)
