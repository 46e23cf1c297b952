"""The contract that every executor keeps, whatever its mode."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batchproc.executors.process import ProcessExecutor
from batchproc.executors.serial import SerialExecutor
from batchproc.executors.thread import ThreadExecutor
from batchproc.model import Failure, Item, Outcome, Rejection
from batchproc.protocols import Executor
from tests.executors.stages import Deed, Waits, items, original, source

Make = Callable[..., Executor]

MAKERS: dict[str, Make] = {
    "serial": lambda workers=1, capacity=None: SerialExecutor(),
    "thread": lambda workers=3, capacity=None: ThreadExecutor(workers=workers, capacity=capacity),
    "process": lambda workers=2, capacity=None: ProcessExecutor(workers=workers, capacity=capacity),
    "process-with-affinity": lambda workers=2, capacity=None: ProcessExecutor(
        workers=workers, capacity=capacity, affinity=lambda item: str(item.source.index % 5)
    ),
}


@pytest.fixture(params=MAKERS, ids=str)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


def values(outcomes: list[Outcome]) -> list[Any]:
    return sorted(outcome.value for outcome in outcomes if isinstance(outcome, Item))


def test_each_item_comes_out_once(make: Make) -> None:
    with make() as executor:
        outcomes = list(executor.run(Deed(), items(range(50))))

    assert [2 * number for number in range(50)] == values(outcomes)
    assert 50 == len({outcome.source.key for outcome in outcomes})


def test_nothing_in_nothing_out(make: Make) -> None:
    with make() as executor:
        assert [] == list(executor.run(Deed(), iter(())))


def test_failures_and_rejections_of_earlier_stages_pass_through_untouched(make: Make) -> None:
    failure = Failure(source=source(1), stage="before", code="dns", message="no such host")
    rejection = Rejection(source=source(2), stage="before", code="check.min_size", message="small")

    with make() as executor:
        outcomes = list(executor.run(Deed(), iter([failure, rejection, Item(source=source(3), value=3)])))

    assert failure in outcomes
    assert rejection in outcomes
    assert [6] == values(outcomes)


@pytest.mark.parametrize(
    ("deed", "kind", "code"),
    [
        ("fail", Failure, "http.404"),
        ("reject", Rejection, "check.min_size"),
        ("bug", Failure, "internal.bug"),
        ("leave", Failure, "internal.bug"),
    ],
    ids=["stage-error", "reject", "unexpected-exception", "sys-exit"],
)
def test_what_a_stage_raises_becomes_a_value(make: Make, deed: str, kind: type, code: str) -> None:
    with make() as executor:
        outcomes = list(executor.run(Deed(), items([1, deed, 2])))

    assert [2, 4] == values(outcomes)
    (left,) = [outcome for outcome in outcomes if not isinstance(outcome, Item)]
    assert isinstance(left, kind)
    assert code == left.code
    assert 1 == len(left.spans)


def test_a_bug_keeps_its_traceback(make: Make) -> None:
    with make() as executor:
        (failure,) = executor.run(Deed(), items(["bug"]))

    assert isinstance(failure, Failure)
    assert "KeyError: 'surprise'" in failure.message


def test_never_more_than_capacity_inside(make: Make) -> None:
    pulled, most = 0, 0
    received = 0

    def upstream() -> Iterator[Outcome]:
        nonlocal pulled, most
        for item in items(range(60)):
            pulled += 1
            most = max(most, pulled - received)
            yield item

    with make(workers=2, capacity=5) as executor:
        for _ in executor.run(Deed(), upstream()):
            received += 1

    assert most <= executor.capacity
    assert 60 == received


def test_an_upstream_error_surfaces(make: Make) -> None:
    def upstream() -> Iterator[Outcome]:
        yield from items(range(3))
        raise OSError("the list went away")

    with make() as executor, pytest.raises(OSError, match="the list went away"):
        list(executor.run(Deed(), upstream()))


def test_an_outcome_is_never_held_back_while_upstream_waits(make: Make) -> None:
    frontier = Waits(4)

    with make() as executor:
        for outcome in executor.run(Deed(), frontier):
            frontier.on_outcome(outcome)

    assert frontier.retried


@pytest.mark.parametrize("inner", MAKERS, ids=str)
def test_nested_executors_hold_nothing_back_either(make: Make, inner: str) -> None:
    frontier = Waits(4)

    with make() as outer_executor, MAKERS[inner]() as inner_executor:
        for outcome in outer_executor.run(Deed(), inner_executor.run(Deed(), frontier)):
            frontier.on_outcome(outcome)

    assert frontier.retried


def test_nothing_survives_an_early_stop(make: Make) -> None:
    before = set(threading.enumerate())

    with make() as executor:
        outcomes = executor.run(Deed(), items(range(1000)))
        next(outcomes)

    assert before >= set(threading.enumerate())


def test_stop_from_another_thread_ends_the_iterator(make: Make) -> None:
    asked = threading.Event()

    def endless() -> Iterator[Outcome]:
        number = 0
        while True:
            yield Item(source=source(number), value=number)
            number += 1
            if number == 20:
                asked.set()

    with make() as executor:
        stopper = threading.Thread(target=lambda: (asked.wait(20), executor.stop()))
        stopper.start()
        count = sum(1 for _ in executor.run(Deed(), endless()))
        stopper.join()

    assert count >= 1


def test_what_was_stopped_before_it_began_yields_nothing(make: Make) -> None:
    def endless() -> Iterator[Outcome]:
        while True:
            yield Item(source=source(0), value=0)

    with make() as executor:
        executor.stop()

        assert [] == list(executor.run(Deed(), endless()))


def test_spans_say_who_worked_when(make: Make) -> None:
    with make() as executor:
        outcomes = list(executor.run(Deed(), items(range(8))))

    for outcome in outcomes:
        (span,) = outcome.spans
        assert "deed" == span.stage
        assert span.worker.startswith("deed-")
        assert span.enqueued <= span.started <= span.ended
        assert {"first"} == set(span.parts)


def test_every_task_is_booked_to_a_worker(make: Make) -> None:
    with make() as executor:
        outcomes = list(executor.run(Deed(), items(range(20))))

    by_worker = Counter(outcome.spans[0].worker for outcome in outcomes)
    assert by_worker == {times.worker: times.tasks for times in executor.times if times.tasks}
    assert all(times.opened < times.closed for times in executor.times)


def test_bytes_come_through_unchanged(make: Make) -> None:
    sizes = [1, 4096, 155_000, 1_000_000]
    sent = [original(number, size) for number, size in enumerate(sizes)]

    with make() as executor:
        outcomes = list(executor.run(Deed(), items(sent)))

    got = {outcome.source.index: outcome.value.content for outcome in outcomes}
    assert {number: value.content[::-1] for number, value in enumerate(sent)} == got
