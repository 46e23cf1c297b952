"""Thread: the textbook's producer and consumers around a `queue.Queue`, with end marks and a result queue."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, Self

from batchproc.executors.attempt import attempt
from batchproc.executors.line import END, LEAST_CAPACITY, EndMark, Line
from batchproc.executors.presence import Presence
from batchproc.measure.spans import Stopwatch
from batchproc.model import Mode, Outcome
from batchproc.protocols import Stage, Work, WorkerTimes


class ThreadExecutor:
    """Runs a stage in `workers` threads of this process: shared memory, one GIL, and no way to kill one.

    A time limit per item cannot be enforced here; a stage that can be interrupted does it itself (`Work.abort`).
    """

    mode = Mode.THREAD

    def __init__(self, *, workers: int, capacity: int | None = None) -> None:
        self.workers = workers
        self.capacity = capacity or max(LEAST_CAPACITY, 2 * workers)
        self.times: list[WorkerTimes] = []
        self._presence = Presence()
        self._lines: list[Line] = []
        self._works: list[Work[Any, Any]] = []  # consumers append, `stop` reads a copy; both are atomic

    @property
    def wall_seconds(self) -> float:
        """From its opening to its closing; until now while it is open."""
        return self._presence.seconds

    def __enter__(self) -> Self:
        self._presence.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for line in self._lines:
            line.join()
        self._presence.close()

    def run(self, stage: Stage[Any, Any], items: Iterable[Outcome]) -> Iterator[Outcome]:
        """Starts the threads now and returns the iterator of outcomes."""
        line = Line(stage.name, self.workers, self.capacity)
        self._lines.append(line)
        opened = time.perf_counter()
        times = [WorkerTimes(worker=f"{stage.name}-{number}", opened=opened) for number in range(self.workers)]
        self.times.extend(times)
        line.start(items, stage.name, [partial(self._consume, stage, own) for own in times])
        return line.outcomes()

    def stop(self) -> None:
        """Closes the channels and aborts the calls in progress."""
        for line in self._lines:
            line.close()
        for work in tuple(self._works):
            work.abort()

    def _consume(self, stage: Stage[Any, Any], times: WorkerTimes, line: Line) -> None:
        times.began = time.perf_counter()
        try:
            with closing(stage.open()) as work, Stopwatch(stage.name, times.worker) as stopwatch:
                self._works.append(work)
                times.ready = time.perf_counter()
                times.startup_seconds = times.ready - times.opened
                _consume(work, stopwatch, times, line)
        finally:
            times.closed = time.perf_counter()
        line.results.put(END)


def _consume(work: Work[Any, Any], stopwatch: Stopwatch, times: WorkerTimes, line: Line) -> None:
    clock = time.perf_counter
    while True:
        asked = clock()
        job = line.jobs.get()
        got = clock()
        times.starved_seconds += got - asked
        if isinstance(job, EndMark):
            return
        times.first_task = times.first_task or got
        times.tasks += 1
        outcome = attempt(work, job.item, stopwatch, job.enqueued)
        done = clock()
        line.results.put(outcome)
        times.output_blocked_seconds += clock() - done
