"""The connections of a run: shared by its workers, so many per origin, so many in all, idle ones last in, first out."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from batchproc.download.connection import Connection, Deadline, SocketInterrupt
from batchproc.download.fetch import Download
from batchproc.download.pool import IDLE_SECONDS, Pool, Pools
from batchproc.download.settings import Settings
from batchproc.download.urls import Origin, parse
from batchproc.errors import Code, StageError
from batchproc.executors import ThreadExecutor
from batchproc.model import Item
from tests.download.conftest import Counts, Open, failure, fetch, item
from tests.download.scripted import JPEG, Peer, Server, always

A, B, C = (parse(f"http://{name}.example/").origin for name in "abc")


class Bench:
    """A pool with a clock that stands still; its connections lead to sockets of the test."""

    def __init__(self, stack: ExitStack, *, per_host: int = 2, most: int = 9) -> None:
        self.now = 100.0
        self.pool = Pool(per_host=lambda origin: per_host, most=most, clock=lambda: self.now)
        self.lap = Counts()
        self.interrupt = SocketInterrupt()
        self._stack = stack
        self._far_ends: dict[Connection, socket.socket] = {}
        stack.callback(self.pool.close)

    def take(self, origin: Origin, seconds: float = 10.0, *, fresh: bool = False) -> Connection:
        """A connection, made when the pool has none."""
        deadline = Deadline.after(seconds, Code.TIMEOUT_CONNECT)
        connection = self.pool.take(origin, deadline, self.interrupt.check, self.lap, fresh=fresh)
        if connection is None:
            ours, theirs = (self._stack.enter_context(one) for one in socket.socketpair())
            ours.setblocking(False)
            connection = Connection(origin, ours, self.interrupt)
            self._far_ends[connection] = theirs
        return connection

    def give_back(self, *connections: Connection, keep: bool = True) -> None:
        for connection in connections:
            self.pool.give_back(connection, self.lap, keep=keep)
            self.now += 0.1

    def hang_up(self, connection: Connection) -> None:
        self._far_ends[connection].close()

    def is_closed(self, connection: Connection) -> bool:
        theirs = self._far_ends[connection]
        theirs.setblocking(False)
        try:
            return not theirs.recv(1)
        except BlockingIOError:
            return False


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    with ExitStack() as stack:
        yield lambda **limits: Bench(stack, **limits)


def test_the_connection_used_last_is_lent_first(bench: Callable[..., Bench]) -> None:
    one = bench()
    first, second = one.take(A), one.take(A)
    one.give_back(first, second)

    assert [second, first] == [one.take(A), one.take(A)]


def test_origins_share_nothing(bench: Callable[..., Bench]) -> None:
    one = bench()
    first = one.take(A)
    one.give_back(first)

    assert first is not one.take(B)


def test_there_are_never_more_than_allowed_and_the_wait_for_one_ends(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.take(A)
    one.take(A)

    with pytest.raises(StageError, match="all 2 connections to a") as caught:
        one.take(A, 0.01)
    assert Code.BUSY == caught.value.code
    assert "<Pool 2 open, 0 idle, 1 origins>" == repr(one.pool)


def test_who_waits_gets_what_another_gives_back(bench: Callable[..., Bench]) -> None:
    one = bench(per_host=1)
    lent = one.take(A)
    giver = threading.Timer(0.02, one.give_back, [lent])
    giver.start()

    assert lent is one.take(A)
    giver.join()


def test_who_waits_may_make_one_when_another_could_not(bench: Callable[..., Bench]) -> None:
    one = bench(per_host=1)
    one.pool.take(A, Deadline.after(1.0, Code.TIMEOUT_CONNECT), one.interrupt.check, one.lap)
    giver = threading.Timer(0.02, one.pool.give_up, [A])
    giver.start()

    assert isinstance(one.take(A), Connection)
    giver.join()


def test_a_wait_for_a_connection_can_be_interrupted(bench: Callable[..., Bench]) -> None:
    one = bench(per_host=1)
    one.take(A)
    one.interrupt.fire()

    with pytest.raises(StageError, match="stopped"):
        one.take(A)


def test_what_is_not_kept_is_closed_and_makes_room(bench: Callable[..., Bench]) -> None:
    one = bench(per_host=1)
    first = one.take(A)
    one.give_back(first, keep=False)

    assert first is not one.take(A)
    assert one.is_closed(first)
    assert {"dropped": 1} == one.lap.counts


def test_idle_connections_grow_old(bench: Callable[..., Bench]) -> None:
    one = bench()
    old, young = one.take(A), one.take(A)
    one.give_back(old)
    one.now += IDLE_SECONDS - 1.0
    one.give_back(young)
    one.now += 2.0

    assert young is one.take(A)
    one.give_back(young)
    assert [True, False] == [one.is_closed(old), one.is_closed(young)]


def test_idle_connections_of_a_host_that_nobody_asks_any_more_grow_old_too(bench: Callable[..., Bench]) -> None:
    one = bench()
    old = one.take(A)
    one.give_back(old)
    one.now += IDLE_SECONDS + 1.0
    one.take(B)

    assert one.is_closed(old)
    assert "<Pool 1 open, 0 idle, 1 origins>" == repr(one.pool)


def test_a_server_that_says_how_long_it_keeps_a_connection_is_believed(bench: Callable[..., Bench]) -> None:
    one = bench()
    first = one.take(A)
    first.keep_seconds = 4.0
    one.give_back(first)
    one.now += 4.0

    assert first is not one.take(A)
    assert one.is_closed(first)


def test_a_connection_that_the_server_closed_is_not_lent(bench: Callable[..., Bench]) -> None:
    one = bench()
    first = one.take(A)
    one.give_back(first)
    one.hang_up(first)
    one.now += 1.0

    assert first is not one.take(A)
    assert "<Pool 1 open, 0 idle, 1 origins>" == repr(one.pool)


def test_a_fresh_one_closes_what_is_idle(bench: Callable[..., Bench]) -> None:
    one = bench()
    first, second = one.take(A), one.take(A)
    one.give_back(first, second)

    assert one.take(A, fresh=True) not in (first, second)
    assert [True, True] == [one.is_closed(first), one.is_closed(second)]


def test_the_longest_idle_makes_room_for_another_origin(bench: Callable[..., Bench]) -> None:
    one = bench(most=2)
    first, second = one.take(A), one.take(B)
    one.give_back(first, second)
    one.take(C)

    assert [True, False] == [one.is_closed(first), one.is_closed(second)]
    assert "<Pool 2 open, 1 idle, 2 origins>" == repr(one.pool)


def test_with_all_in_use_another_origin_waits(bench: Callable[..., Bench]) -> None:
    one = bench(most=1)
    one.take(A)

    with pytest.raises(StageError, match="all 1 connections that this machine allows") as caught:
        one.take(B, 0.01)
    assert Code.LOCAL_FILES == caught.value.code


def test_a_refusal_gives_up_what_is_idle(bench: Callable[..., Bench]) -> None:
    one = bench()
    first, other = one.take(A), one.take(B)
    one.give_back(first, other)
    one.pool.drop_idle(A, one.lap)
    one.pool.drop_idle(C, one.lap)

    assert [True, False] == [one.is_closed(first), one.is_closed(other)]


def test_what_comes_back_to_a_closed_pool_is_closed(bench: Callable[..., Bench]) -> None:
    one = bench()
    lent, idle = one.take(A), one.take(A)
    one.give_back(idle)
    one.pool.close()
    one.give_back(lent)

    assert [True, True] == [one.is_closed(lent), one.is_closed(idle)]


def test_equal_settings_share_a_pool_until_the_last_has_left() -> None:
    shared, settings = Pools(), Settings(per_host=3)
    pool = shared.join(settings)
    same, other = shared.join(Settings(per_host=3)), shared.join(Settings(per_host=4))
    shared.leave(settings)
    still = shared.join(settings)
    shared.leave(settings)
    shared.leave(settings)

    assert pool is same is still
    assert pool is not other
    assert pool is not shared.join(settings)


class Ward:
    """Notes the most connections that a server had at once: each from its acceptance until its end was seen."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open = self.most = 0

    def __call__(self, peer: Peer) -> None:
        with self.lock:
            self.open += 1
            self.most = max(self.most, self.open)
        always()(peer)
        with self.lock:
            self.open -= 1


def test_many_threads_have_few_connections() -> None:
    ward = Ward()
    stage = Download(allow_addresses=("127.0.0.0/8",), honour_robots=False, per_host=3)
    with Server(ward) as server, ThreadExecutor(workers=12) as executor:
        items = (item(server.url(f"/{number}")) for number in range(200))
        outcomes = list(executor.run(stage, items))
        connections = server.connections

    assert [JPEG] * 200 == [outcome.value.content for outcome in outcomes if isinstance(outcome, Item)]
    assert 3 >= ward.most == connections


def test_workers_share_what_is_idle_and_close_it_with_the_last() -> None:
    ended = threading.Event()

    def handle(peer: Peer) -> None:
        always()(peer)
        ended.set()

    stage = Download(allow_addresses=("127.0.0.0/8",), honour_robots=False)
    with Server(handle) as server:
        works = [stage.open(), stage.open()]
        for work in works:
            fetch(work, server.url())
        works[0].close()
        fetch(works[1], server.url())
        connections, open_still = server.connections, not ended.is_set()
        works[1].close()

        assert (1, True) == (connections, open_still)
        assert ended.wait(10)


@pytest.mark.parametrize("status", ["429 Too Many", "503 Busy"])
def test_a_refusal_ends_its_connection(opened: Open, status: str) -> None:
    with Server(always(b"", status)) as server:
        work = opened()
        failure(work, server.url())
        failure(work, server.url())

        assert 2 == server.connections


def test_a_keep_alive_header_ends_the_wait_of_a_connection(opened: Open) -> None:
    with Server(always(JPEG, "200 OK", "Keep-Alive: max=9, timeout=1")) as server:
        work = opened()
        fetch(work, server.url())
        fetch(work, server.url())

        assert 2 == server.connections


def test_it_is_counted_what_became_of_the_connections(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            peer.reply(JPEG, "200 OK", "Connection: close" if b"/last" in head else "A: b")

    lap = Counts()
    with Server(handle) as server:
        work = opened()
        for path in ("/a", "/b", "/last", "/c"):
            work(item(server.url(path)), lap)

    assert {"opened": 2, "reused": 2, "dropped": 1} == lap.counts
