"""The server: HTTP/1.1 with keep-alive on asyncio, answering from memory, late and slowly when it is asked to.

`python -m batchproc.origin.server` is the child of an `EmbeddedOrigin`; by itself the server is `batchproc origin`.

One process, one thread. A connection has one request in hand at a time; what is pipelined behind it waits.
"""

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from random import Random
from urllib.parse import unquote

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from batchproc.errors import ExitCode, Problem, UsageError
from batchproc.origin.site import (
    OriginSettings,
    OriginTotals,
    Response,
    ServedUrl,
    base_url_of,
    check_settings,
    index_page,
    listing,
    plain,
    prepare,
)

MAX_HEAD_BYTES = 16_384
SEND_BUFFER_BYTES = 262_144  # one send takes a whole picture of the usual size
SLICE_SECONDS = 0.02  # between the writes of a paced body
JITTER_TABLE = 4096
BACKLOG = 1024  # connections that wait to be taken

NOT_FOUND = plain("404 Not Found", "not found\n")
BIG_HEAD = plain("431 Request Header Fields Too Large", "16 KiB of head at most\n", closes=True)
FULL = plain("503 Service Unavailable", "too many connections\n", closes=True)
BAD_REQUEST = plain("400 Bad Request", "not a request this server understands\n", closes=True)
BAD_METHOD = plain("405 Method Not Allowed", "only GET and HEAD\n", closes=True, fields="Allow: GET, HEAD\r\n")
BAD_VERSION = plain("505 HTTP Version Not Supported", "HTTP/1.1, please\n", closes=True)


class ClientRequest(Struct, frozen=True, kw_only=True):
    """What matters of a request."""

    path: str
    head_only: bool
    closes: bool
    known_etags: bytes


def parse(head: bytes) -> ClientRequest | Response:
    """A request from its head, without the empty line; or the reply that refuses it."""
    line, _, rest = head.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or not words[1] or not words[2].startswith(b"HTTP/"):
        return BAD_REQUEST
    method, target, version = words
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return BAD_VERSION
    if method not in (b"GET", b"HEAD"):
        return BAD_METHOD
    fields = _fields(rest)
    if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
        return BAD_REQUEST  # a body would be taken for the next request
    wish = fields.get(b"connection", b"").lower()
    return ClientRequest(
        path=_path(target),
        head_only=method == b"HEAD",
        closes=b"close" in wish or (version == b"HTTP/1.0" and b"keep-alive" not in wish),
        known_etags=fields.get(b"if-none-match", b""),
    )


def _fields(rest: bytes) -> dict[bytes, bytes]:
    """The header fields, names in lower case; a line that is none is passed over."""
    pairs = (line.partition(b":") for line in rest.split(b"\r\n"))
    return {name.lower(): value.strip() for name, _, value in pairs}


def _path(target: bytes) -> str:
    """The unquoted path of a request target, without its query and, as a proxy is asked, its origin."""
    text = target.decode(errors="replace")
    if not text.startswith("/"):
        text = "/" + text.partition("://")[2].partition("/")[2]
    path = text.partition("?")[0]
    return unquote(path) if "%" in path else path


class ServerState(Struct, kw_only=True):
    """What all connections share: the answers, the manners, the counts. Touched by the loop's thread alone."""

    settings: OriginSettings
    replies: dict[str, Response]
    factors: list[float]
    visits: dict[int, int] = field(default_factory=dict)
    connections: set["HttpProtocol"] = field(default_factory=set)
    requests: int = 0
    connected: int = 0
    sent_bytes: int = 0
    date_line: bytes = b""

    def reply(self, path: str) -> tuple[Response, float]:
        """The answer to the next request for a path, and how many seconds to wait before it."""
        reply = self.replies.get(path, NOT_FOUND)
        visit = self.visits.get(reply.index, 0) + 1
        self.visits[reply.index] = visit
        factor = self.factors[(reply.index * 61 + visit * 17) % JITTER_TABLE]
        latency = reply.latency_seconds
        delay = (self.settings.latency_seconds * factor if latency is None else latency) + reply.delay_seconds
        if reply.every_odd is not None and visit % 2:
            reply = reply.every_odd
        return reply, delay

    def refresh_date(self) -> None:
        """Writes the Date line anew; called once a second."""
        self.date_line = f"Date: {formatdate(usegmt=True)}\r\n\r\n".encode()

    def sweep(self, now: float) -> None:
        """Ends the connections on which nothing has moved for `idle_seconds`."""
        for connection in [each for each in self.connections if now - each.moved > self.settings.idle_seconds]:
            connection.abandon()


class HttpProtocol(asyncio.Protocol):
    """One client. Reads a request, waits, answers, and looks for the next."""

    def __init__(self, site: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._buffer = b""
        self._busy = False  # a request is in hand
        self._closing = False  # the reply in hand is the last one
        self._ended = False  # the client will send no more
        self._blocked = False  # the client reads more slowly than we write
        self._then: Callable[[], object] | None = None  # what goes on when it has caught up
        self.moved = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        client: socket.socket = transport.get_extra_info("socket")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._site.connected += 1
        full = len(self._site.connections) >= self._site.settings.max_connections
        self._site.connections.add(self)
        if full:
            self._write(FULL.head + self._site.date_line + FULL.body)
            self._closing = True
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._then = None
        self._site.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self.moved = max(self.moved, self._loop.time())
        self._buffer += data
        if not self._busy:
            self._next_request()
        elif len(self._buffer) > MAX_HEAD_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Keeps the way back open for a client that has said all it wants and still waits for a reply."""
        self._ended = True
        return self._busy and not self._closing

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        then, self._then = self._then, None
        if then is not None:
            then()

    def abandon(self) -> None:
        """Ends the connection at once."""
        self._closing = True
        self._transport.abort()

    def _next_request(self) -> None:
        """Takes one request from the buffer, when there is a whole one."""
        self._buffer = self._buffer.lstrip(b"\r\n")
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 and len(self._buffer) <= MAX_HEAD_BYTES:
            if self._ended:
                self._transport.close()
            return
        self._busy = True
        self._site.requests += 1
        if end < 0 or end > MAX_HEAD_BYTES:
            self._answer(BIG_HEAD)
            return
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        request = parse(head)
        if isinstance(request, Response):
            self._answer(request)
            return
        reply, delay = self._site.reply(request.path)
        if delay > 0:
            self.moved = self._loop.time() + delay
            self._loop.call_later(delay, self._respond, request, reply)
        else:
            self._respond(request, reply)

    def _respond(self, request: ClientRequest, reply: Response) -> None:
        if reply.unchanged_head and request.known_etags and reply.etag in request.known_etags:
            reply = replace(reply, head=reply.unchanged_head, body=b"", closes=False)
        elif request.head_only:
            reply = replace(reply, body=b"", closes=False)
        self._answer(reply, b"Connection: close\r\n" if request.closes else b"")

    def _answer(self, reply: Response, close_line: bytes = b"") -> None:
        if self._transport.is_closing():
            return
        head = reply.head + close_line + self._site.date_line
        self.moved = self._loop.time()
        self._closing = reply.closes or bool(close_line)
        if self._site.settings.bandwidth_bytes_per_second and reply.body:
            self._write(head)
            self._pace(memoryview(reply.body), self.moved, 0)
        else:
            self._write(head + reply.body)
            self._when_read(self._finish)

    def _pace(self, body: memoryview, started: float, sent: int) -> None:
        """Writes as much as the bandwidth allows by now, and comes again."""
        if self._transport.is_closing():
            return
        self.moved = self._loop.time()
        allowed = int((self.moved - started + SLICE_SECONDS) * self._site.settings.bandwidth_bytes_per_second)
        part = body[sent : max(allowed, sent + 1)]
        self._write(part)
        sent += len(part)
        if sent >= len(body):
            self._when_read(self._finish)
        else:
            self._when_read(partial(self._loop.call_later, SLICE_SECONDS, self._pace, body, started, sent))

    def _write(self, data: bytes | memoryview) -> None:
        self._site.sent_bytes += len(data)
        self._transport.write(data)

    def _when_read(self, then: Callable[[], object]) -> None:
        """Goes on at once, or when a client that lags behind has caught up: so at most one reply is in our memory."""
        if self._blocked:
            self._then = then
        else:
            then()

    def _finish(self) -> None:
        """The reply is on its way: the next request, or the end.

        The end is a half-close: what the client still sends is read and dropped until it closes too, because closing on
        unread input resets the connection and could take the reply with it.
        """
        self._busy = False
        if self._closing and self._ended:
            self._transport.close()
        elif self._closing:
            self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.resume_reading()
            if self._buffer or self._ended:
                self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._busy and not self._closing:
            self._next_request()


def jitter_factors(settings: OriginSettings) -> list[float]:
    """Log-normal factors of median 1, in an order that the seed decides."""
    rng = Random(f"{settings.seed}/latency")
    return [math.exp(rng.gauss(0.0, settings.jitter)) for _ in range(JITTER_TABLE)]


def bind(settings: OriginSettings) -> socket.socket:
    """A bound socket. Raises `UsageError` when the address is not to be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"[origin] port = {settings.port}"
        message = f"cannot listen on {settings.host}: {error.strerror or error}"
        raise UsageError([Problem(where=where, message=message)]) from None


async def _serve(site: ServerState, listener: socket.socket, life: int | None, ready: Callable[[], None]) -> None:
    """Serves on a bound socket until a signal, or until the pipe `life` ends."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if life is None:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    else:
        loop.add_reader(life, lambda: None if os.read(life, 4096) else stop.set())
    site.refresh_date()
    server = await loop.create_server(lambda: HttpProtocol(site, loop), sock=listener, backlog=BACKLOG)
    ready()
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(1.0, site.settings.idle_seconds / 4))
        site.refresh_date()
        site.sweep(loop.time())
    server.close()
    for connection in list(site.connections):
        connection.abandon()


def run(
    settings: OriginSettings, life: int | None, ready: Callable[[str, tuple[ServedUrl, ...]], None]
) -> OriginTotals:
    """Makes the pictures, serves them until the end, returns what was done.

    The end is SIGTERM, and SIGINT, or with `life` (a file descriptor) the end of that pipe. `ready` hears the base URL
    and what is served. Raises `UsageError` when the settings cannot be served.
    """
    check_settings(settings)
    entries = listing(settings)
    with bind(settings) as listener:
        base_url = base_url_of(settings.host, listener.getsockname()[1])
        replies = prepare(settings, entries) | {"/": index_page(base_url, entries)}
        site = ServerState(settings=settings, replies=replies, factors=jitter_factors(settings))
        before = time.process_time()
        asyncio.run(_serve(site, listener, life, lambda: ready(base_url, entries)))
        cpu_seconds = time.process_time() - before
    return OriginTotals(
        requests=site.requests, connections=site.connected, bytes=site.sent_bytes, cpu_seconds=cpu_seconds
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def serve_alone(settings: OriginSettings) -> int:
    """Serves until SIGINT or SIGTERM. Says on stdout where the pictures are; returns the exit code."""

    def ready(base_url: str, entries: tuple[ServedUrl, ...]) -> None:
        misbehaving = sum(entry.fault is not None for entry in entries)
        lines = (
            f"serving {len(entries)} pictures, {misbehaving} of which misbehave on purpose, until Ctrl-C",
            f"first:  {base_url}{entries[0].path}",
            f"all:    {base_url}/  (a URL list: curl -s {base_url}/ > list.txt)",
            'a job that fetches them needs allow_addresses = ["127.0.0.0/8"] under [download]',
        )
        _say("\n".join(lines))

    totals = run(settings, None, ready)
    rate = f"{totals.requests} requests on {totals.connections} connections, {totals.bytes / 1e6:.1f} MB"
    _say(f"served {rate}, {totals.cpu_seconds:.2f} s of CPU")
    return 0


def main() -> int:
    """The child of `EmbeddedOrigin`: settings from stdin, one line when ready and one with the totals to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # its parent blocked it until here
    stdin, line = sys.stdin.fileno(), b""
    while not line.endswith(b"\n"):
        part = os.read(stdin, 4096)
        if not part:
            return ExitCode.DONE
        line += part
    try:
        settings = OriginSettings(**json.loads(line))
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: nobody is left to tell
            totals = run(settings, stdin, lambda base_url, _: _say(json.dumps({"base_url": base_url})))
            _say(json.dumps(to_builtins(totals)))
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
