"""Serial: the puller's own thread, one item at a time. The reference for the other modes."""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from batchproc.executors.attempt import Presence, attempt
from batchproc.measure.clocks import Stopwatch
from batchproc.model import Item, Mode, Outcome
from batchproc.protocols import Stage, Work, WorkerTimes


class SerialExecutor:
    """Runs a stage in the thread that asks for the next outcome."""

    mode = Mode.SERIAL
    workers = 1
    capacity = 1

    def __init__(self) -> None:
        self.times: list[WorkerTimes] = []
        self._presence = Presence()
        self._stopped = False
        self._work: Work[Any, Any] | None = None

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
        if self._work is not None:
            self._work.close()
        self._presence.close()

    def run(self, stage: Stage[Any, Any], items: Iterable[Outcome]) -> Iterator[Outcome]:
        """Opens the stage now; works when asked."""
        times = WorkerTimes(worker=f"{stage.name}-0", opened=time.perf_counter())
        self.times.append(times)
        self._work = stage.open()
        times.began, times.ready = times.opened, time.perf_counter()
        times.startup_seconds = times.ready - times.opened
        return self._outcomes(stage, self._work, iter(items), times)

    def stop(self) -> None:
        """Ends the iterator before its next item, and a call in progress soon."""
        self._stopped = True
        if self._work is not None:
            self._work.abort()

    def _outcomes(
        self, stage: Stage[Any, Any], work: Work[Any, Any], upstream: Iterator[Outcome], times: WorkerTimes
    ) -> Iterator[Outcome]:
        with Stopwatch(stage.name, times.worker) as stopwatch:
            waiting = time.perf_counter()
            for outcome in upstream:
                times.tasks += isinstance(outcome, Item)
                enqueued = time.perf_counter()
                times.starved_seconds += enqueued - waiting
                times.first_task = times.first_task or enqueued
                if self._stopped:
                    break
                worked = attempt(work, outcome, stopwatch, enqueued) if isinstance(outcome, Item) else outcome
                done = time.perf_counter()
                yield worked
                waiting = time.perf_counter()
                times.output_blocked_seconds += waiting - done
            times.closed = time.perf_counter()
