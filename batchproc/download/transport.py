"""The transport: one GET after the other over the run's connections, guarded, each wait bound by a deadline.

A library's client knows neither a deadline per exchange nor a pool that all threads of a run share, and costs three
to ten times the CPU of an exchange. What an exchange is made of: `pool`, `route`, `connection`, `http1` and `reply`.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from msgspec import Struct

from batchproc.download.connection import Connection, Deadline, Patience, SocketInterrupt
from batchproc.download.pool import Pool
from batchproc.download.reply import ReceiveBuffer, StaleConnectionError, WireReply, receive_head
from batchproc.download.route import Route
from batchproc.download.settings import Settings
from batchproc.download.urls import Location
from batchproc.errors import Code
from batchproc.protocols import Lap

LEAST_PATIENCE_SECONDS = 0.25
PATIENCE = 2  # times the usual time: what takes longer is a long wait


class Request(Struct, frozen=True):
    """A GET that needs no preparation: its location was parsed and its headers were checked before."""

    location: Location
    headers: Mapping[str, str]
    total: Deadline
    lap: Lap


class Transport:
    """One worker's transport. Only `interrupt` is for other threads."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.interrupt = SocketInterrupt()
        self._settings = settings
        self._pool = pool
        self._inbox = ReceiveBuffer()
        self._route = Route(settings, self.interrupt, self._inbox)

    def send(self, request: Request) -> WireReply:
        """Sends a GET and reads the head of its reply, whose body may be read then; at most one is open at a time.

        A kept connection that turns out to be closed is replaced once. The limits of time are the settings'; whom to
        trust and which proxy to use are theirs, too. Raises `StageError`.
        """
        try:
            return self._exchange(request)
        except StaleConnectionError:
            return self._exchange(request, fresh=True)

    def give_up_idle(self, refused: Request, reply: WireReply) -> None:
        """Closes the connection of a refusal and those that are idle: the host may need their slots for others."""
        reply.close()
        self._pool.drop_idle(refused.location.origin, refused.lap)

    def _exchange(self, request: Request, *, fresh: bool = False) -> WireReply:
        connection = self._connect(request, fresh)
        give_back = partial(self._give_back, request.lap)
        try:
            seconds = self._settings.first_byte_timeout_seconds
            deadline = Deadline.after(seconds, Code.TIMEOUT_FIRST_BYTE).or_earlier(request.total)
            self._ask(request, connection, deadline)
            connection.patience = self._patience(request)
            asked = time.monotonic()
            head = receive_head(self._inbox, connection, deadline)
            connection.patience = None
            request.lap.long_wait_over()
            self._pool.note_head(time.monotonic() - asked)
            connection.keep_seconds = head.keep_seconds
            return WireReply(head, self._inbox, connection, give_back, idle_seconds=seconds, total=request.total)
        except BaseException:
            give_back(connection, False)
            raise

    def _patience(self, request: Request) -> Patience | None:
        """None before the first reply: a host that is slow and well is not to be taken for a silent one."""
        usual = self._pool.usual_seconds
        if usual is None:
            return None
        seconds = max(LEAST_PATIENCE_SECONDS, PATIENCE * usual)
        return Patience(seconds, partial(request.lap.long_wait, request.location.origin.authority))

    def _connect(self, request: Request, fresh: bool) -> Connection:
        origin, lap = request.location.origin, request.lap
        seconds = self._settings.connect_timeout_seconds
        deadline = Deadline.after(seconds, Code.TIMEOUT_CONNECT).or_earlier(request.total)
        connection = self._pool.take(origin, deadline, self.interrupt.check, lap, fresh=fresh)
        if connection is not None:
            connection.borrow(self.interrupt)
            lap.count(f"reused {origin.authority}")
            return connection
        try:
            connection = self._route.connect(origin, deadline, lap)
        except BaseException:
            self._pool.give_up(origin)
            raise
        lap.count(f"opened {origin.authority}")
        return connection

    def _give_back(self, lap: Lap, connection: Connection, keep: bool) -> None:
        self._pool.give_back(connection, lap, keep=keep)

    def _ask(self, request: Request, connection: Connection, deadline: Deadline) -> None:
        """Sends the request in one piece."""
        location, headers = request.location, request.headers
        target = location.target
        if proxy := self._route.forwarder(location.origin):
            target, headers = location.url, {**headers, **proxy.headers}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "\r\n"]
        with suppress(OSError):  # what the other side said before it hung up, and why, is read next
            connection.send("\r\n".join(lines).encode("latin-1"), deadline)
