"""The transport: an adapter of `requests` whose connections are the run's, guarded, and bound by deadlines.

`requests` defines what a request, a reply and an adapter are (`BaseAdapter`, the part it gives away for this); urllib3
below its own adapter knows neither a deadline per exchange nor a pool that a whole run may share. The exchange itself,
GET without a body, is `connection`, `head`, `chunks` and `wire`.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import requests
from requests.adapters import BaseAdapter

from batchproc.download.connection import Connection, Deadline, Patience, SocketInterrupt
from batchproc.download.pool import Pool
from batchproc.download.reply import ReceiveBuffer, StaleConnectionError, WireReply, receive_head
from batchproc.download.route import Route
from batchproc.download.settings import Settings
from batchproc.download.urls import Location, parse
from batchproc.errors import Code
from batchproc.protocols import Lap

LEAST_PATIENCE_SECONDS = 0.25
PATIENCE = 2  # times the usual time: what takes longer is a long wait


class Uncounted:
    """A lap of nobody's clock."""

    def __call__(self, part: str) -> None:
        """Books nothing."""

    def count(self, what: str) -> None:
        """Counts nothing."""

    def long_wait(self, whom: str) -> None:
        """Says nothing."""

    def long_wait_over(self) -> None:
        """Says nothing."""


class Request(requests.PreparedRequest):
    """A GET that needs no preparation: its location was parsed and its headers were checked before."""

    def __init__(self, location: Location, headers: Mapping[str, str], total: Deadline, lap: Lap) -> None:
        super().__init__()
        self.method = "GET"
        self.url = location.url
        self.headers = headers  # type: ignore[assignment]
        self.location = location
        self.total = total
        self.lap = lap


_EMPTY = vars(requests.Response())  # what every reply begins with: made once, for its empty cookie jar takes 8 us


class Response(requests.Response):
    """A reply whose body is still to be read. The names of its `headers` are in lower case."""

    raw: WireReply
    request: Request

    def __init__(self, request: Request, raw: WireReply) -> None:
        self.__dict__.update(_EMPTY)
        self.status_code = raw.head.status_code
        self.reason = raw.head.reason
        self.headers = raw.head.fields  # type: ignore[assignment]
        self.url = request.url or ""
        self.request = request
        self.raw = raw


class Transport(BaseAdapter):
    """One worker's transport. Only `interrupt` is for other threads."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        super().__init__()
        self.interrupt = SocketInterrupt()
        self._settings = settings
        self._pool = pool
        self._inbox = ReceiveBuffer()
        self._route = Route(settings, self.interrupt, self._inbox)

    def send(
        self, request: requests.PreparedRequest, *_ignored: Any, **_options: Any
    ) -> Response:
        """Sends a GET and reads the head of its reply, whose body is `raw`; at most one body is open at a time.

        A kept connection that turns out to be closed is replaced once. The limits of time are the settings'; whom to
        trust and which proxy to use are theirs, too. Raises `StageError`.
        """
        if not isinstance(request, Request):  # of a session that this adapter was mounted in
            location = parse(request.url or "")
            headers = {"Host": location.origin.authority, **(request.headers or {})}
            total = Deadline.after(self._settings.total_timeout_seconds, Code.TIMEOUT_TOTAL)
            request = Request(location, headers, total, Uncounted())
        try:
            raw = self._exchange(request)
        except StaleConnectionError:
            raw = self._exchange(request, fresh=True)
        return Response(request, raw)

    def give_up_idle(self, refusal: Response) -> None:
        """Closes the connection of a refusal and those that are idle: the host may need their slots for others."""
        refusal.raw.close()
        self._pool.drop_idle(refusal.request.location.origin, refusal.request.lap)

    def close(self) -> None:
        """Nothing: the connections are the run's."""

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
            target, headers = location.url, {**headers, **proxy.headers}  # type: ignore[assignment]
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "\r\n"]
        with suppress(OSError):  # what the other side said before it hung up, and why, is read next
            connection.send("\r\n".join(lines).encode("latin-1"), deadline)
