"""`status --watch`: what it shows, how often, and when it ends. The clock is the test's."""

from collections.abc import Iterator
from datetime import datetime

from batchproc.lock import Holder
from batchproc.record.run_json import Counts
from batchproc.report.status import HOME_AND_CLEAR, JobStatus, lines, screen, watch

NOON = datetime(2026, 11, 22, 12)


def state(done: int, *, running: bool = True) -> JobStatus:
    holder = Holder(pid=7, started="2026-11-22T11:59:00Z") if running else None
    counts = Counts(items=10, done=done, pending=10 - done)
    return JobStatus(job="a", config="job.toml", output="out", counts=counts, running=holder)


class Clock:
    """Goes on by what is waited for, and by `reading` seconds with every look at it."""

    def __init__(self, reading: float = 0.0) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self._reading = reading

    def __call__(self) -> float:
        self.now += self._reading
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def watched(states: list[JobStatus], clock: Clock) -> list[tuple[int, float | None]]:
    shown: list[tuple[int, float | None]] = []
    reads: Iterator[JobStatus] = iter(states)
    watch(
        lambda: next(reads),
        lambda status, rate: shown.append((status.counts.done, rate)),
        wait=clock.wait,
        clock=clock,
    )
    return shown


def test_it_ends_with_the_run_and_tells_the_rate_meanwhile() -> None:
    clock = Clock()

    shown = watched([state(2), state(6), state(10, running=False)], clock)

    assert [(2, None), (6, 2.0), (10, 2.0)] == shown
    assert [2.0, 2.0] == clock.waits


def test_without_a_run_it_shows_once() -> None:
    assert [(10, None)] == watched([state(10, running=False)], Clock())


def test_a_ledger_that_is_slow_to_read_is_looked_at_less_often() -> None:
    clock = Clock(reading=1.0)

    watched([state(2), state(10, running=False)], clock)

    assert [10.0] == clock.waits


def test_on_a_pipe_only_changes_are_written_and_the_whole_at_the_end() -> None:
    written: list[str] = []
    show = lines(written.append, lambda: NOON)

    for status, rate in ((state(2), None), (state(2), 0.0), (state(6), 2.0), (state(10, running=False), 2.0)):
        show(status, rate)

    *progress, whole = written
    assert [
        "12:00:00 10 items: 2 done, 8 pending\n",
        "12:00:00 10 items: 6 done, 4 pending; 2 items/s\n",
        "12:00:00 10 items: 10 done; 2 items/s\n",
    ] == progress
    assert whole.startswith("a: 10 items in out\n")


def test_a_screen_is_drawn_anew_within_its_bounds() -> None:
    written: list[str] = []
    screen(written.append, lambda: (20, 4))(state(6), 2.0)

    (text,) = written
    assert text.startswith(HOME_AND_CLEAR)
    drawn = text.removeprefix(HOME_AND_CLEAR).splitlines()
    assert (3, True) == (len(drawn), max(map(len, drawn)) < 20)
