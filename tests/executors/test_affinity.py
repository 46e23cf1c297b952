"""Jobs of one affinity go where their kind is kept already; nowhere is more kept than was needed at once."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from batchproc.executors.process import ProcessExecutor
from batchproc.executors.slot import MOST_OVERTAKEN, Affinities, HeldJob
from batchproc.model import Item
from batchproc.protocols import Lap
from tests.executors.stages import Deed, items, source


class Crowd:
    """Idle workers and jobs of these affinities, each named by its letter."""

    def __init__(self, names: Iterable[str]) -> None:
        self.affinities = Affinities(lambda item: str(item.value))
        self.jobs: deque[HeldJob] = deque()
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            job = HeldJob(Item(source=source(0), value=name), 0.0)
            self.affinities.name(job)
            self.jobs.append(job)

    def give(self, *idle: int) -> tuple[Any, bool, int] | None:
        """What is given out (whether it makes its worker give something up), and to which of the idle."""
        chosen = self.affinities.choose(self.jobs, idle)
        return None if chosen is None else (chosen[0].item.value, chosen[0].leaves, chosen[1])


def test_a_worker_is_given_what_it_keeps_before_what_is_older() -> None:
    crowd = Crowd("abba")

    given = [crowd.give(0) for _ in range(4)]

    assert [("a", False, 0), ("a", False, 0), ("b", True, 0), ("b", False, 0)] == given


def test_the_oldest_is_overtaken_so_many_times_and_no_more() -> None:
    crowd = Crowd("ab" + "a" * 2 * MOST_OVERTAKEN)

    given = [crowd.give(0) for _ in range(MOST_OVERTAKEN + 2)]

    assert ["a"] * (MOST_OVERTAKEN + 1) + ["b"] == [one[0] for one in given if one]


def test_with_nothing_of_its_own_a_worker_takes_the_oldest() -> None:
    crowd = Crowd("abc")
    assert ("a", False, 0) == crowd.give(0)
    assert ("b", False, 1) == crowd.give(1)

    assert ("c", True, 0) == crowd.give(0)


def test_a_job_goes_to_whoever_keeps_its_affinity_though_others_are_idle_for_longer() -> None:
    crowd = Crowd("ab")
    crowd.give(0)
    crowd.give(1)
    crowd.add("b")

    assert ("b", False, 1) == crowd.give(0, 1)


def test_what_is_being_given_up_is_begun_nowhere_else() -> None:
    crowd = Crowd("ab")
    crowd.give(0)
    crowd.give(0)
    crowd.add("a")

    assert crowd.give(1) is None
    crowd.affinities.left(0)
    assert ("a", False, 1) == crowd.give(1)


def test_other_jobs_go_on_meanwhile() -> None:
    crowd = Crowd("ab")
    crowd.give(0)
    crowd.give(0)
    crowd.add("ac")

    assert ("c", False, 1) == crowd.give(1)


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
