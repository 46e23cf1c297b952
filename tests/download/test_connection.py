"""A deadline is looked at before every wait; an interrupt ends the wait under way."""

import socket
import threading
from collections.abc import Iterator

import pytest

from batchproc.download.connection import Connection, Deadline, SocketInterrupt
from batchproc.download.urls import Origin
from batchproc.errors import Code, Retry, StageError

ORIGIN = Origin(scheme="http", host="a.example", port=80, authority="a.example")
Pair = tuple[Connection, socket.socket, SocketInterrupt]


def far() -> Deadline:
    return Deadline.after(20.0, Code.TIMEOUT_TOTAL)


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    interrupt = SocketInterrupt()
    with ours, theirs:
        yield Connection(ORIGIN, ours, interrupt), theirs, interrupt


def code_of(connection: Connection, deadline: Deadline) -> Code:
    with pytest.raises(StageError) as caught:
        connection.receive_into(memoryview(bytearray(9)), deadline)
    return Code(caught.value.code)


@pytest.mark.parametrize("seconds", [-1.0, 0.02], ids=["past", "near"])
def test_who_waits_past_the_deadline_is_late(pair: Pair, seconds: float) -> None:
    assert Code.TIMEOUT_IDLE == code_of(pair[0], Deadline.after(seconds, Code.TIMEOUT_IDLE))


def test_what_has_come_is_received_however_late(pair: Pair) -> None:
    pair[1].send(b"x")

    assert 1 == pair[0].receive_into(memoryview(bytearray(9)), Deadline.after(-1.0, Code.TIMEOUT_IDLE))


def test_who_cannot_send_is_late_too(pair: Pair) -> None:
    with pytest.raises(StageError) as caught:
        pair[0].send(bytes(10_000_000), Deadline.after(0.02, Code.TIMEOUT_FIRST_BYTE))

    assert (Code.TIMEOUT_FIRST_BYTE, Retry.BACKOFF) == (caught.value.code, caught.value.retry)


def test_the_earlier_deadline_counts() -> None:
    sooner, later = Deadline(1.0, Code.TIMEOUT_IDLE), Deadline(2.0, Code.TIMEOUT_TOTAL)

    assert [sooner] * 3 == [sooner.or_earlier(later), later.or_earlier(sooner), sooner.or_earlier(sooner)]


def test_an_interrupt_wakes_a_wait_and_refuses_the_next(pair: Pair) -> None:
    connection, _, interrupt = pair
    waiter = threading.Timer(0.02, interrupt.fire)
    waiter.start()
    codes = [code_of(connection, far()), code_of(connection, far())]
    waiter.join()

    assert [Code.CANCELLED, Code.CANCELLED] == codes


def test_an_interrupt_leaves_a_connection_alone_that_was_handed_back(pair: Pair) -> None:
    connection, theirs, interrupt = pair
    connection.hand_back()
    interrupt.fire()
    theirs.send(b"x")
    connection.borrow(SocketInterrupt())

    assert 1 == connection.receive_into(memoryview(bytearray(9)), far())


def test_an_interrupt_does_no_harm_to_a_closed_socket(pair: Pair) -> None:
    pair[0].close()
    pair[2].fire()

    with pytest.raises(StageError, match="stopped"):
        pair[2].check()
