"""Names are asked for once, answers are kept, and nobody waits longer than their budget."""

import socket
import threading
import time

import pytest

from batchproc.download.dial import Resolver, SocketAddress
from batchproc.errors import Code, Retry, StageError

ADDRESS: SocketAddress = (socket.AF_INET, ("192.0.2.7", 0))


class Names:
    """A name server that counts, and holds its answer until told."""

    def __init__(self, error: OSError | None = None) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.error = error

    def __call__(self, host: str) -> list[SocketAddress]:
        self.asked.append(host)
        self.release.wait()
        if self.error is not None:
            raise self.error
        return [ADDRESS, ADDRESS]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def go_on() -> None:
    """The check of a worker that nobody stops."""


def test_a_name_is_asked_for_once_a_minute() -> None:
    names, clock = Names(), Clock()
    resolver = Resolver(names, clock)

    first = resolver.resolve("a.example", 5, go_on)
    clock.now = 59
    resolver.resolve("a.example", 65, go_on)
    clock.now = 61
    resolver.resolve("a.example", 66, go_on)

    assert ["a.example", "a.example"] == names.asked
    assert (ADDRESS,) == first


def test_threads_that_want_one_name_share_a_look_up() -> None:
    names = Names()
    names.release.clear()
    resolver = Resolver(names)
    found: list[tuple[SocketAddress, ...]] = []
    threads = [
        threading.Thread(target=lambda: found.append(resolver.resolve("a.example", time.monotonic() + 10, go_on)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    names.release.set()
    for thread in threads:
        thread.join()

    assert ["a.example"] == names.asked
    assert [(ADDRESS,)] * 8 == found


def test_a_look_up_that_hangs_ends_as_timeout_connect() -> None:
    names = Names()
    names.release.clear()

    with pytest.raises(StageError) as caught:
        Resolver(names).resolve("slow.example", time.monotonic() + 0.02, go_on)
    names.release.set()

    assert (Code.TIMEOUT_CONNECT, Retry.BACKOFF) == (caught.value.code, caught.value.retry)


def test_a_waiting_caller_can_be_stopped() -> None:
    names = Names()
    names.release.clear()

    def stop() -> None:
        raise StageError(Code.CANCELLED, "stopped")

    with pytest.raises(StageError, match="stopped"):
        Resolver(names).resolve("slow.example", time.monotonic() + 60, stop)
    names.release.set()


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        pytest.param(socket.gaierror(socket.EAI_NONAME, "unknown"), Retry.ONCE, id="no-such-name"),
        pytest.param(socket.gaierror(socket.EAI_AGAIN, "later"), Retry.BACKOFF, id="no-answer"),
    ],
)
def test_a_failed_look_up_says_when_to_try_again(error: OSError, retry: Retry) -> None:
    with pytest.raises(StageError) as caught:
        Resolver(Names(error)).resolve("a.example", time.monotonic() + 10, go_on)

    assert (Code.DNS, retry) == (caught.value.code, caught.value.retry)


def test_a_failure_is_forgotten_after_five_seconds() -> None:
    names, clock = Names(socket.gaierror(socket.EAI_AGAIN, "later")), Clock()
    resolver = Resolver(names, clock)
    for clock.now in (0, 4, 6):
        with pytest.raises(StageError):
            resolver.resolve("a.example", clock.now + 1, go_on)

    assert 2 == len(names.asked)


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "017700000001"])
def test_addresses_in_odd_spellings_need_no_name_server(spelling: str) -> None:
    names = Names()

    found = Resolver(names).resolve(spelling, time.monotonic() + 10, go_on)

    assert [] == names.asked
    assert [("127.0.0.1", 0)] == [address for _, address in found]
