"""Thread: workers in this process, who ask upstream in turn, and a queue of their results."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from batchproc.executors.attempt import Presence, attempt
from batchproc.executors.supply import END, LEAST_CAPACITY, Arrival, EndMark, Fault, Supply
from batchproc.measure.clocks import Stopwatch
from batchproc.model import Item, Mode, Outcome
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
        self._supplies: list[Supply] = []
        self._works: list[Work[Any, Any]] = []  # workers append, `stop` reads a copy; both are atomic

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
        for supply in self._supplies:
            supply.join()
        self._presence.close()

    def run(self, stage: Stage[Any, Any], items: Iterable[Outcome]) -> Iterator[Outcome]:
        """Starts the threads now and returns the iterator of outcomes."""
        results: SimpleQueue[Arrival] = SimpleQueue()
        supply = Supply(items, self.capacity, results.put)
        self._supplies.append(supply)
        opened = time.perf_counter()
        times = [WorkerTimes(worker=f"{stage.name}-{number}", opened=opened) for number in range(self.workers)]
        self.times.extend(times)
        for own in times:
            supply.start(own.worker, partial(self._consume, stage, own, supply, results))
        return self._outcomes(supply, results)

    def stop(self) -> None:
        """Ends every wait and aborts the calls in progress."""
        for supply in self._supplies:
            supply.close()
        for work in tuple(self._works):
            work.abort()

    def _outcomes(self, supply: Supply, results: "SimpleQueue[Arrival]") -> Iterator[Outcome]:
        """Yields what comes out until every worker has ended. Raises what upstream raised, or what broke a worker."""
        ended = 0
        try:
            while ended < self.workers:
                result = results.get()
                if supply.closed:
                    return
                if isinstance(result, Fault):
                    raise result.error
                if isinstance(result, EndMark):
                    ended += 1
                else:
                    yield result
                    supply.make_room()
        finally:
            supply.close()

    def _consume(
        self, stage: Stage[Any, Any], times: WorkerTimes, supply: Supply, results: "SimpleQueue[Arrival]"
    ) -> None:
        times.began = time.perf_counter()
        try:
            with closing(stage.open()) as work, Stopwatch(stage.name, times.worker) as stopwatch:
                self._works.append(work)
                times.ready = time.perf_counter()
                times.startup_seconds = times.ready - times.opened
                _consume(work, stopwatch, times, supply, results)
        finally:
            times.closed = time.perf_counter()
        results.put(END)


def _consume(
    work: Work[Any, Any], stopwatch: Stopwatch, times: WorkerTimes, supply: Supply, results: "SimpleQueue[Arrival]"
) -> None:
    clock = time.perf_counter
    while True:
        done = clock()
        supply.wait_for_room()
        asked = clock()
        times.output_blocked_seconds += asked - done
        item = supply.take()
        got = clock()
        times.starved_seconds += got - asked
        if isinstance(item, Item):
            times.first_task = times.first_task or got
            times.tasks += 1
            results.put(attempt(work, item, stopwatch, got))
        elif isinstance(item, EndMark):
            return
        else:
            results.put(item)
