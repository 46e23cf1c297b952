"""The bytes of a reply: its head into the inbox, its body as it comes, the connection back when all is read."""

import http.client
import socket
from typing import Any, Protocol

from batchproc.download.chunks import ChunkDecoder
from batchproc.download.flight import Flight
from batchproc.download.head import MOST_HEAD_BYTES, Head, parse_head, protocol_error
from batchproc.errors import Code, Retry, StageError

_MOST_INTERIM_REPLIES = 100


class StaleConnectionError(Exception):
    """A kept connection was closed by the server before it could answer: ask again on a fresh one."""


def receive_head(flight: Flight, connected: socket.socket, reused: bool) -> Head:
    """Reads until the head of the final reply is complete; the body's first bytes stay in the flight's inbox.

    Raises `StageError`: `proto`, `truncated`, `connect`, `timeout.first_byte`; `StaleConnectionError` when a `reused`
    connection ends before a byte.
    """
    flight.start = flight.end = 0
    for _ in range(_MOST_INTERIM_REPLIES):
        head = _next_head(flight, connected, reused)
        if head.status_code >= 200:
            return head
        if head.status_code == http.client.SWITCHING_PROTOCOLS:
            raise protocol_error("the server switched protocols unasked")
        reused = False
    raise StageError(Code.TIMEOUT_FIRST_BYTE, "only interim replies came", retry=Retry.ONCE)


def _next_head(flight: Flight, connected: socket.socket, reused: bool) -> Head:
    inbox = flight.inbox
    octets: bytearray = inbox.obj  # type: ignore[assignment]
    searched = start = flight.start
    while True:
        end, after = _end_of_head(octets, searched, flight.end)
        if end >= 0:
            flight.start = after
            return parse_head(bytes(inbox[start:end]))
        if flight.end - start > MOST_HEAD_BYTES or flight.end == len(octets):
            raise protocol_error("the head of the reply is too long")
        searched = max(start, flight.end - 3)
        flight.end += _receive_of_head(flight, connected, reused and flight.end == 0)


def _end_of_head(octets: bytearray, start: int, end: int) -> tuple[int, int]:
    """Where the head ends and what follows begins; (-1, -1) when it is not complete. A bare LF ends a line, too."""
    strict = octets.find(b"\r\n\r\n", start, end)
    bare = octets.find(b"\n\n", start, end if strict < 0 else strict)
    if bare >= 0:
        return bare, bare + 2
    return strict, strict + 4


def _receive_of_head(flight: Flight, connected: socket.socket, may_be_stale: bool) -> int:
    try:
        count = connected.recv_into(flight.inbox[flight.end :])
    except TimeoutError:
        flight.watch.check()
        raise StageError(Code.TIMEOUT_FIRST_BYTE, f"{flight.host} did not answer in time") from None
    except OSError:
        count = 0
    flight.watch.check()
    if count:
        return count
    if may_be_stale:
        raise StaleConnectionError
    if flight.end:
        raise truncated("the connection ended inside the head of the reply")
    raise StageError(Code.CONNECT, f"{flight.host} closed the connection without a reply")


def truncated(message: str) -> StageError:
    """The failure of a reply that ended early."""
    return StageError(Code.TRUNCATED, message)


class Lessor(Protocol):
    """Whoever lends a connection for one exchange."""

    def take_back(self, connection: Any, keep: bool) -> None: ...


class WireReply:
    """A reply whose head has been read: stands where urllib3's response does, and is read by `readinto`.

    Its connection goes back to the pool when the body has been read to its end and nothing came after it, and is closed
    otherwise. Used by one worker.
    """

    def __init__(self, head: Head, flight: Flight, connected: socket.socket) -> None:
        self.status = head.status_code
        self.reason = head.reason
        self.headers = head.fields
        self.length_remaining = head.length  # bytes of the body, those in the inbox included; None: not told
        self._flight = flight
        self._socket = connected
        self._keep_alive = head.keep_alive
        self._lessor: Lessor | None = None
        self._connection: Any = None
        self._chunks = ChunkDecoder() if head.chunked else None
        self._waiting = b""  # bytes of a chunked body that came with the head
        self._claim_inbox(head.length)

    def _claim_inbox(self, length: int | None) -> None:
        flight = self._flight
        here = flight.end - flight.start
        if self._chunks is not None:
            self._waiting = bytes(flight.inbox[flight.start : flight.end])
            here = 0
        elif length is not None and here > length:
            here = length
            self._keep_alive = False  # bytes after the end: whose are they?
        flight.end = flight.start + here
        self._left = None if length is None else length - here

    def lease(self, lessor: Lessor, connection: object) -> None:
        """Says where the connection goes afterwards. A reply that is complete gives it back at once."""
        self._lessor, self._connection = lessor, connection
        if self._left == 0:
            self._end(self._keep_alive)
        else:
            self._flight.await_body(self._socket)

    def readinto(self, room: memoryview) -> int:
        """Receives what there is, at most `room`, after the bytes in the inbox; 0 at the end of the body.

        Raises `StageError`: `timeout.idle`, `truncated`, `proto`, and what the watchdog says.
        """
        if self._connection is None:
            return 0
        if self._chunks is not None:
            return self._read_chunked(room, self._chunks)
        count = self._receive(room if self._left is None else room[: self._left])
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

    def _read_chunked(self, room: memoryview, chunks: ChunkDecoder) -> int:
        while not chunks.done:
            octets, self._waiting = self._waiting[: len(room)], self._waiting[len(room) :]
            if not octets:
                octets = bytes(room[: self._receive(room)])
                if not octets:
                    raise truncated("the body ended before its last chunk")
            content = chunks.feed(octets)
            if content:
                room[: len(content)] = content
                return len(content)
        self._end(self._keep_alive and not chunks.surplus and not self._waiting)
        return 0

    def _receive(self, room: memoryview) -> int:
        try:
            count = self._socket.recv_into(room)
        except TimeoutError:
            self._flight.watch.check()
            raise StageError(Code.TIMEOUT_IDLE, "the server fell silent inside the body") from None
        except OSError:
            self._flight.watch.check()
            raise truncated("the connection was lost inside the body") from None
        self._flight.watch.check()
        return count

    def close(self) -> None:
        """Gives the connection up unless the body has been read. May be called twice."""
        if self._connection is not None:
            self._end(False)

    def _end(self, keep: bool) -> None:
        connection, self._connection = self._connection, None
        self._flight.watch.disarm()
        if self._lessor is not None:
            self._lessor.take_back(connection, keep)
