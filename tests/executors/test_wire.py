"""Messages between a worker and its parent: none blocks, none is lost, and memory for long ones is given back."""

import multiprocessing
import os
from collections.abc import Iterator

import pytest

from batchproc.executors.wire import KEPT_BYTES, Post, open_memory, pack, unpack
from tests.executors.stages import original


@pytest.fixture
def ends() -> Iterator[tuple[Post, Post]]:
    ours, theirs = multiprocessing.Pipe(duplex=True)
    shelves = (open_memory(), open_memory())
    parent, worker = Post(ours, shelves), Post(theirs, shelves)
    yield parent, worker
    parent.close()
    worker.pipe.close()


def test_messages_that_came_together_are_taken_one_by_one(ends: tuple[Post, Post]) -> None:
    parent, worker = ends
    for number in range(3):
        worker.send(pack("word", number))

    heard = [unpack(parent.receive())]
    while parent.has_more:
        heard.append(unpack(parent.receive()))

    assert [("word", 0), ("word", 1), ("word", 2)] == heard


def test_two_jobs_wait_for_a_worker_that_does_not_read_whatever_their_size(ends: tuple[Post, Post]) -> None:
    parent, worker = ends
    sent = [original(turn, 3_000_000) for turn in range(2)]
    for turn, value in enumerate(sent):
        parent.send(pack(value, turn), turn)

    assert [(value, turn) for turn, value in enumerate(sent)] == [unpack(worker.receive()) for _ in sent]


def test_a_long_message_without_a_payload_blocks_nobody_either(ends: tuple[Post, Post]) -> None:
    parent, worker = ends
    parent.send(pack("x" * 5_000_000))

    assert ("x" * 5_000_000,) == unpack(worker.receive())


def test_a_reply_follows_its_job_on_the_same_shelf(ends: tuple[Post, Post]) -> None:
    parent, worker = ends
    parent.send(pack(original(1, 100_000)), 7)
    worker.receive()
    worker.send(pack(original(2, 200_000)), 7)

    assert (original(2, 200_000),) == unpack(parent.receive())


def test_memory_of_a_huge_message_is_given_back_by_the_next(ends: tuple[Post, Post]) -> None:
    parent, _ = ends
    parent.send(pack(original(1, 8 * KEPT_BYTES)))
    parent.send(pack(original(2, 100_000)))

    assert os.fstat(parent.shelves[0].fileno()).st_size <= KEPT_BYTES


def test_the_end_of_the_other_side_is_an_error_at_once(ends: tuple[Post, Post]) -> None:
    parent, worker = ends
    worker.pipe.close()

    with pytest.raises(EOFError):
        parent.receive()
    with pytest.raises(BrokenPipeError):
        parent.send(pack("word"))
