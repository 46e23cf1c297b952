"""The server's manners: framing, caching, limits, latency and pace, without a socket where none is needed."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from batchproc.errors import UsageError
from batchproc.origin.server import (
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    MAX_HEAD_BYTES,
    ClientRequest,
    HttpProtocol,
    ServerState,
    jitter_factors,
    parse,
)
from batchproc.origin.site import Fault, OriginSettings, Response, ServedUrl, check_settings, faulty, picture, prepare

PICTURE = picture(b"\xff\xd8\xff" + bytes(range(256)) * 4)


class Clock:
    """The part of an event loop that a connection needs; time moves only when `run` lets the next call happen."""

    def __init__(self) -> None:
        self.now = 100.0
        self._calls: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[..., object], *arguments: Any) -> None:
        heapq.heappush(self._calls, (self.now + delay, next(self._order), call, arguments))

    def call_soon(self, call: Callable[..., object], *arguments: Any) -> None:
        self.call_later(0.0, call, *arguments)

    def run(self) -> Iterator[float]:
        """Lets the waiting calls happen one by one and yields the time of each."""
        while self._calls:
            self.now, _, call, arguments = heapq.heappop(self._calls)
            call(*arguments)
            yield self.now


class Socket:
    def setsockopt(self, level: int, option: int, value: int) -> None:
        pass


class Wire(asyncio.Transport):
    """Keeps what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.ended = self.closed = self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return Socket()

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Client:
    """A connection of its own to a site, on a clock of its own."""

    def __init__(self, **settings: Any) -> None:
        self.settings = OriginSettings(**({"latency_seconds": 0.0} | settings))
        self.clock = Clock()
        replies = {
            "/a.jpg": PICTURE,
            "/b.jpg": faulty(PICTURE, Fault.UNAVAILABLE),
            "/c.jpg": faulty(PICTURE, Fault.SLOW),
        }
        self.site = ServerState(settings=self.settings, replies=replies, factors=jitter_factors(self.settings))
        self.site.refresh_date()
        self.connection, self.wire = self.connect()

    def connect(self) -> tuple[HttpProtocol, Wire]:
        wire = Wire()
        connection = HttpProtocol(self.site, self.clock)  # type: ignore[arg-type]
        connection.connection_made(wire)
        return connection, wire

    def send(self, data: bytes) -> bytes:
        """Sends and returns all that comes back once every waiting call has happened."""
        self.connection.data_received(data)
        for _ in self.clock.run():
            pass
        sent, self.wire.sent = self.wire.sent, b""
        return sent


def get(path: str = "/a.jpg", fields: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()


def test_a_picture_comes_with_its_length_type_and_validators() -> None:
    head, _, body = Client().send(get()).partition(b"\r\n\r\n")

    assert PICTURE.body == body
    assert b"HTTP/1.1 200 OK" == head.split(b"\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert [b"Content-Type", b"Content-Length", b"ETag", b"Last-Modified", b"Date"] == names


def test_a_head_request_gets_the_head_alone() -> None:
    client = Client()

    reply = client.send(get(method="HEAD"))

    assert reply.endswith(b"\r\n\r\n")
    assert f"Content-Length: {len(PICTURE.body)}\r\n".encode() in reply


def test_a_known_etag_gets_304_without_a_body() -> None:
    reply = Client().send(get(fields=f'If-None-Match: W/{PICTURE.etag.decode()}, "other"\r\n'))

    assert reply.startswith(b"HTTP/1.1 304 Not Modified\r\nETag: " + PICTURE.etag)
    assert reply.endswith(b"\r\n\r\n")


def test_an_unknown_etag_gets_the_picture() -> None:
    assert Client().send(get(fields='If-None-Match: "other"\r\n')).endswith(PICTURE.body)


def test_pipelined_requests_are_answered_in_order() -> None:
    client = Client(latency_seconds=0.05)

    replies = client.send(get() + get("/no") + get(method="HEAD"))

    assert [b"200", b"404", b"200"] == [part[:3] for part in replies.split(b"HTTP/1.1 ")[1:]]
    assert 3 == client.site.requests


def test_a_request_may_come_in_pieces() -> None:
    client = Client()
    request = get()

    early = b"".join(client.send(request[i : i + 1]) for i in range(len(request) - 1))

    assert b"" == early
    assert client.send(request[-1:]).endswith(PICTURE.body)


def test_the_query_and_a_proxys_origin_are_not_part_of_the_name() -> None:
    client = Client()

    assert client.send(get("/a.jpg?x=1")).endswith(PICTURE.body)
    assert client.send(get("http://somewhere/a.jpg")).endswith(PICTURE.body)
    assert client.send(get("/%61.jpg")).endswith(PICTURE.body)


@pytest.mark.parametrize(
    ("request_head", "refusal"),
    [
        (b"GET /a.jpg", BAD_REQUEST),
        (b"nonsense", BAD_REQUEST),
        (b"GET  HTTP/1.1", BAD_REQUEST),
        (b"\x16\x03\x01\x02\x00", BAD_REQUEST),
        (b"GET /a.jpg HTTP/1.1\r\nContent-Length: 5", BAD_REQUEST),
        (b"GET /a.jpg HTTP/1.1\r\nTransfer-Encoding: chunked", BAD_REQUEST),
        (b"POST /a.jpg HTTP/1.1", BAD_METHOD),
        (b"GET /a.jpg HTTP/2.0", BAD_VERSION),
    ],
    ids=["0.9", "word", "no target", "tls", "body", "chunked", "post", "version"],
)
def test_what_is_not_understood_is_refused_and_the_connection_ends(request_head: bytes, refusal: Response) -> None:
    client = Client()

    sent = client.send(request_head + b"\r\n\r\n" + get())

    assert refusal is parse(request_head)
    assert sent.startswith(refusal.head)
    assert 1 == sent.count(b"HTTP/1.1 ")
    assert client.wire.ended


def test_a_head_without_end_is_refused() -> None:
    client = Client()

    sent = client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES)

    assert sent.startswith(b"HTTP/1.1 431 ")
    assert client.wire.ended


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1", False),
        (b"GET / HTTP/1.1\r\nConnection: Close", True),
        (b"GET / HTTP/1.0", True),
        (b"GET / HTTP/1.0\r\nconnection: Keep-Alive", False),
    ],
    ids=["1.1", "1.1 close", "1.0", "1.0 keep-alive"],
)
def test_the_connection_is_kept_as_the_client_wishes(head: bytes, closes: bool) -> None:
    request = parse(head)

    assert isinstance(request, ClientRequest)
    assert closes == request.closes


def test_a_client_that_half_closes_still_gets_its_reply() -> None:
    client = Client(latency_seconds=0.05)
    client.connection.data_received(get())

    assert client.connection.eof_received()
    assert client.send(b"").endswith(PICTURE.body)
    assert client.wire.closed


def test_latency_comes_before_the_reply_and_follows_the_seed() -> None:
    def delays(seed: int) -> list[float]:
        client = Client(latency_seconds=0.05, jitter=0.5, seed=seed)
        waited = []
        for _ in range(4):
            before = client.clock.now
            client.send(get())
            waited.append(client.clock.now - before)
        return waited

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)
    assert 4 == len(set(delays(1)))


def test_without_jitter_every_reply_is_as_late_as_was_asked_for() -> None:
    client = Client(latency_seconds=0.05, jitter=0.0)

    client.send(get())

    assert pytest.approx(100.05) == client.clock.now


def test_a_path_with_a_wait_of_its_own_always_waits_that_long() -> None:
    settings = OriginSettings(images=4, latency_seconds=0.05, faults=0.0, latencies={"/img/0001.jpg": 0.3})
    entries = tuple(ServedUrl(index=index, path=f"/img/000{index}.jpg") for index in range(4))
    site = ServerState(settings=settings, replies=prepare(settings, entries), factors=jitter_factors(settings))

    waits = [site.reply("/img/0001.jpg")[1] for _ in range(3)]

    assert [0.3] * 3 == waits
    assert site.reply("/img/0002.jpg")[1] != site.reply("/img/0002.jpg")[1]


@pytest.mark.parametrize("wait", [-0.1, 61.0])
def test_an_impossible_wait_of_one_path_is_told(wait: float) -> None:
    with pytest.raises(UsageError, match=r"latencies /a\.jpg"):
        check_settings(OriginSettings(latencies={"/a.jpg": wait}))


def test_half_the_jitter_factors_lie_below_one() -> None:
    factors = jitter_factors(OriginSettings(jitter=0.5))

    assert 0.47 < sum(factor < 1 for factor in factors) / len(factors) < 0.53


def test_a_slow_url_is_a_second_later() -> None:
    client = Client(latency_seconds=0.05, jitter=0.0)

    assert client.send(get("/c.jpg")).endswith(PICTURE.body)
    assert pytest.approx(101.05) == client.clock.now


def test_an_unavailable_url_answers_every_second_request() -> None:
    client = Client()

    assert [b"503", b"200", b"503", b"200"] == [client.send(get("/b.jpg"))[9:12] for _ in range(4)]


def test_bandwidth_spreads_a_body_over_time_and_changes_no_byte() -> None:
    client = Client(bandwidth_bytes_per_second=10_000)

    reply = client.send(get())

    assert reply.endswith(b"\r\n\r\n" + PICTURE.body)
    assert pytest.approx(len(PICTURE.body) / 10_000, abs=0.03) == client.clock.now - 100


def test_a_client_that_does_not_read_gets_no_further_reply() -> None:
    client = Client()
    client.connection.pause_writing()

    first = client.send(get() + get())
    client.connection.resume_writing()
    second = client.send(b"")

    assert 1 == first.count(b"HTTP/1.1 200")
    assert 1 == second.count(b"HTTP/1.1 200")


def test_a_client_that_talks_on_while_it_waits_is_not_read_without_end() -> None:
    client = Client(latency_seconds=0.05)
    client.connection.data_received(get())

    client.connection.data_received(b"x" * (MAX_HEAD_BYTES + 1))

    assert client.wire.paused


def test_an_idle_connection_is_ended_and_a_waiting_one_is_not() -> None:
    client = Client(latency_seconds=50.0, jitter=0.0, idle_seconds=10.0)
    _, idle = client.connect()
    client.connection.data_received(get())

    client.site.sweep(client.clock.now + 11.0)

    assert idle.closed
    assert not client.wire.closed


def test_connections_above_the_cap_are_refused() -> None:
    client = Client(max_connections=1)

    _, second = client.connect()

    assert second.sent.startswith(b"HTTP/1.1 503 ")
    assert second.closed
    assert client.send(get()).endswith(PICTURE.body)
