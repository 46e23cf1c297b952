"""A thread that waits long for somebody else is no worker meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from batchproc.executors.thread import ThreadExecutor
from batchproc.model import Item, Outcome, Source
from batchproc.protocols import Lap

LONGEST_SECONDS = 10.0


@dataclass(frozen=True)
class Silent:
    """Items of an odd index wait until `let_go`; `hosts` is how many they are spread over."""

    let_go: threading.Event
    hosts: int
    name: str = "download"
    preload: tuple[str, ...] = ()

    def open(self) -> "Silent":
        return self

    def __call__(self, item: Item[int], lap: Lap) -> int:
        if item.value % 2:
            lap.long_wait(f"host-{item.value // 2 % self.hosts}")
            assert self.let_go.wait(LONGEST_SECONDS)
        return item.value

    def abort(self) -> None:
        self.let_go.set()

    def close(self) -> None:
        pass


def items(values: list[int]) -> Iterator[Outcome]:
    for value in values:
        yield Item(source=Source(index=value, line=1, url="http://a.org/", key=bytes([value])), value=value)


def answered_first(executor: ThreadExecutor, silent: Silent, values: list[int], wanted: int) -> list[Any]:
    """The first so many outcomes; then the others are let go."""
    with executor, closing(executor.run(silent, items(values))) as outcomes:  # type: ignore[type-var]
        first = [next(outcomes) for _ in range(wanted)]
        silent.let_go.set()
        rest = list(outcomes)
    assert len(values) == len(first) + len(rest)
    return [outcome.value for outcome in first if isinstance(outcome, Item)]


def test_others_go_on_while_all_workers_wait_for_silent_hosts() -> None:
    executor = ThreadExecutor(workers=2)

    found = answered_first(executor, Silent(threading.Event(), hosts=9), [1, 3, 0, 2, 4], wanted=3)

    assert {0, 2, 4} == set(found)
    assert 2 < len(executor.times) <= 4


def test_items_in_a_long_wait_hold_no_room_that_others_need() -> None:
    executor = ThreadExecutor(workers=2, capacity=2)

    found = answered_first(executor, Silent(threading.Event(), hosts=9), [1, 3, 0, 2, 4], wanted=3)

    assert {0, 2, 4} == set(found)


def test_one_silent_host_takes_a_part_of_the_spares_only() -> None:
    executor = ThreadExecutor(workers=4)

    found = answered_first(executor, Silent(threading.Event(), hosts=1), [1, 3, 0, 2, 5, 7, 4, 6], wanted=4)

    assert {0, 2, 4, 6} == set(found)
    assert 5 == len(executor.times)


def test_without_a_long_wait_there_is_no_spare() -> None:
    executor = ThreadExecutor(workers=3)

    answered_first(executor, Silent(threading.Event(), hosts=1), [0, 2, 4, 6, 8], wanted=5)

    assert 3 == len(executor.times)
