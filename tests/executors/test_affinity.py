"""Jobs of one affinity go where their kind is kept already; nowhere is more kept than was needed at once."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from batchproc.executors.affinity import MOST_OVERTAKEN, AffinityChannel
from batchproc.executors.channel import Closed
from batchproc.executors.line import END, EndMark, Job
from batchproc.executors.process import ProcessExecutor
from batchproc.model import Item
from batchproc.protocols import Lap
from tests.executors.stages import Deed, items, source


def channel_of(names: Iterable[str]) -> AffinityChannel:
    """A channel that holds jobs of these affinities."""
    channel = AffinityChannel(lambda item: str(item.value))
    for name in names:
        channel.put(Job(Item(source=source(0), value=name), 0.0))
    return channel


def got(channel: AffinityChannel, getter: int) -> tuple[Any, bool]:
    job = channel.get_for(getter)
    assert isinstance(job, Job)
    return job.item.value, job.leaves


def test_a_getter_is_given_what_it_keeps_before_what_is_older() -> None:
    channel = channel_of("abba")

    assert [("a", False), ("a", False), ("b", True), ("b", False)] == [got(channel, 0) for _ in range(4)]


def test_the_oldest_is_overtaken_so_many_times_and_no_more() -> None:
    channel = channel_of("ab" + "a" * 2 * MOST_OVERTAKEN)
    names = [got(channel, 0)[0] for _ in range(MOST_OVERTAKEN + 2)]

    assert ["a"] * (MOST_OVERTAKEN + 1) + ["b"] == names


def test_with_nothing_of_its_own_a_getter_takes_the_oldest() -> None:
    channel = channel_of("abc")
    assert ("a", False) == got(channel, 0)
    assert ("b", False) == got(channel, 1)

    assert ("c", True) == got(channel, 0)


def test_what_is_being_given_up_is_begun_nowhere_else() -> None:
    channel = channel_of("ab")
    got(channel, 0)
    got(channel, 0)
    events: list[str] = []

    def give_up() -> None:
        events.append("given up")
        channel.left(0)

    channel.put(Job(Item(source=source(0), value="a"), 0.0))
    timer = threading.Timer(0.02, give_up)
    timer.start()
    events.append(got(channel, 1)[0])
    timer.join()

    assert ["given up", "a"] == events


def test_other_jobs_go_on_meanwhile() -> None:
    channel = channel_of("ab")
    got(channel, 0)
    got(channel, 0)
    for name in "ac":
        channel.put(Job(Item(source=source(0), value=name), 0.0))

    assert ("c", False) == got(channel, 1)


def test_a_getter_that_asks_again_blocks_nothing_for_ever() -> None:
    channel = channel_of("ab")
    got(channel, 0)
    got(channel, 0)  # its job is lost on the way: nobody says that it has left `a`
    channel.put(Job(Item(source=source(0), value="c"), 0.0))
    got(channel, 0)
    channel.put(Job(Item(source=source(0), value="a"), 0.0))

    assert ("a", False) == got(channel, 1)


def test_a_getter_that_is_done_is_given_the_next_job_before_it_comes_for_it() -> None:
    channel = channel_of("a")
    got(channel, 0)
    channel.ready(1)
    channel.ready(0)
    channel.put(Job(Item(source=source(0), value="a"), 0.0))

    assert ("a", False) == got(channel, 0)


def test_end_marks_come_after_every_job() -> None:
    channel = channel_of("a")
    channel.put(END)
    channel.put(END)
    got(channel, 0)

    assert [END, END] == [channel.get_for(0), channel.get_for(1)]


def test_closing_wakes_who_waits() -> None:
    channel = channel_of("")
    timer = threading.Timer(0.02, channel.close)
    timer.start()

    with pytest.raises(Closed):
        channel.get_for(0)
    timer.join()
    with pytest.raises(Closed):
        channel.put(EndMark())


@dataclass(frozen=True)
class Keeps(Deed):
    """Says in which process it was asked, and what for it was opened there."""

    def open(self) -> "Keeping":
        return Keeping()


class Keeping(Deed):
    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "seen", set())

    def __call__(self, item: Item[Any], lap: Lap) -> Any:
        self.seen.add(item.value)
        return self.pid(), frozenset(self.seen)


def test_a_worker_process_never_keeps_two_things() -> None:
    with ProcessExecutor(workers=2, affinity=lambda item: str(item.value)) as executor:
        outcomes = list(executor.run(Keeps(), items("abcabcaabbcc" * 4)))

    assert 48 == len(outcomes)
    assert {1} == {len(outcome.value[1]) for outcome in outcomes if isinstance(outcome, Item)}


def test_one_thing_at_a_time_is_kept_by_one_process() -> None:
    class OneByOne:
        """Gives the next item when the last one has come out."""

        def __init__(self) -> None:
            self.room = threading.Semaphore(1)

        def __iter__(self) -> Any:
            for item in items("a" * 12):
                assert self.room.acquire(timeout=20)
                yield item

    upstream, pids = OneByOne(), set()
    with ProcessExecutor(workers=3, affinity=lambda item: str(item.value)) as executor:
        for outcome in executor.run(Keeps(), upstream):
            pids.add(outcome.value[0])
            upstream.room.release()

    assert 1 == len(pids)
