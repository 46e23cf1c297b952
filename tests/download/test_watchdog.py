"""The watchdog shuts sockets past their deadline, and only those."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from batchproc.download.watchdog import Watch, Watchdog
from batchproc.errors import Code, Retry, StageError

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        yield ours, theirs


def test_a_socket_past_its_deadline_is_shut_and_the_reader_is_told(pair: Pair) -> None:
    watch, dog = Watch(0.02), Watchdog()
    dog.add(watch)
    watch.arm(pair[0], time.monotonic() + 0.02, Code.TIMEOUT_TOTAL)

    octets = pair[0].recv(1)
    with pytest.raises(StageError) as caught:
        watch.check()
    dog.remove(watch)

    assert b"" == octets
    assert (Code.TIMEOUT_TOTAL, Retry.BACKOFF) == (caught.value.code, caught.value.retry)


def test_a_socket_in_time_is_left_alone(pair: Pair) -> None:
    watch = Watch(1.0)
    watch.arm(pair[0], 100.0, Code.TIMEOUT_TOTAL)
    watch.expire_if_late(99.0)
    pair[1].send(b"x")

    assert b"x" == pair[0].recv(1)


def test_a_disarmed_socket_is_left_alone(pair: Pair) -> None:
    watch = Watch(1.0)
    watch.arm(pair[0], 100.0, Code.TIMEOUT_TOTAL)
    watch.disarm()
    watch.expire_if_late(101.0)
    watch.check()
    pair[1].send(b"x")

    assert b"x" == pair[0].recv(1)


def test_abort_shuts_the_socket_and_refuses_the_next(pair: Pair) -> None:
    watch = Watch(1.0)
    watch.arm(pair[0], 100.0, Code.TIMEOUT_TOTAL)
    watch.abort()

    assert b"" == pair[0].recv(1)
    watch.disarm()
    with pytest.raises(StageError) as caught:
        watch.arm(pair[0], 100.0, Code.TIMEOUT_TOTAL)
    assert Code.CANCELLED == caught.value.code


def test_a_closed_socket_does_no_harm(pair: Pair) -> None:
    watch = Watch(1.0)
    watch.arm(pair[0], 100.0, Code.TIMEOUT_FIRST_BYTE)
    pair[0].close()
    watch.expire_if_late(101.0)

    with pytest.raises(StageError):
        watch.check()


def test_the_thread_lives_as_long_as_there_is_a_watch() -> None:
    def threads() -> int:
        return sum(thread.name == "batchproc-watchdog" for thread in threading.enumerate())

    dog, watches = Watchdog(), [Watch(1.0), Watch(1.0)]
    seen = [threads()]
    for watch in watches:
        dog.add(watch)
        seen.append(threads())
    for watch in watches:
        dog.remove(watch)
        seen.append(threads())
    dog.add(watches[0])
    seen.append(threads())
    dog.remove(watches[0])

    assert [0, 1, 1, 1, 0, 1] == seen
