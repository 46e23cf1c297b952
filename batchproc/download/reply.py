"""The bytes of a reply: its head into the inbox, its body as it comes, the connection back when all is read."""

from collections.abc import Callable
from contextlib import suppress

from batchproc.download.connection import Connection, Deadline
from batchproc.download.http1 import MOST_HEAD_BYTES, ChunkDecoder, Head, parse_head, protocol_error
from batchproc.download.tls import certificate_wanted
from batchproc.errors import Code, Retry, StageError

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
