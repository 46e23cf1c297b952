"""The clocks of one worker: wall time, thread CPU time and run-queue delay of each item, and their parts."""

import os
import time
from types import TracebackType
from typing import Self

from batchproc.model import Span

NANOSECONDS = 1e-9


class RunQueueClock:
    """Seconds the calling thread was ready to run while no core was free.

    Reads field 2 of `/proc/thread-self/schedstat` (Linux, Documentation/scheduler/sched-stats). Belongs to the thread
    that opened it. `seconds()` is None where the kernel does not tell: no such file, or "0 0 0" (no CONFIG_SCHED_INFO).
    """

    def __init__(self) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        if os.pread(self._descriptor, 64, 0).split() == [b"0", b"0", b"0"]:
            self.close()

    def seconds(self) -> float | None:
        """The delay so far, since the thread began."""
        if self._descriptor < 0:
            return None
        return int(os.pread(self._descriptor, 64, 0).split(b" ", 2)[1]) * NANOSECONDS

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Stopwatch:
    """Times one item after the other for one worker. Belongs to the thread that made it."""

    def __init__(self, stage: str, worker: str) -> None:
        self.stage = stage
        self.worker = worker
        self._runqueue = RunQueueClock()
        self._parts: dict[str, tuple[float, float]] = {}
        self._counts: dict[str, int] = {}
        self._started = self._lap_wall = 0.0
        self._started_cpu = self._lap_cpu = 0
        self._started_runqueue: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runqueue.close()

    def start(self) -> None:
        """Begins an item."""
        self._parts, self._counts = {}, {}
        self._started_runqueue = self._runqueue.seconds()
        self._started_cpu = self._lap_cpu = time.thread_time_ns()
        self._started = self._lap_wall = time.perf_counter()

    def __call__(self, part: str) -> None:
        """Books the time since the last lap under `part`; the same name adds up."""
        wall, cpu = time.perf_counter(), time.thread_time_ns()
        before = self._parts.get(part, (0.0, 0.0))
        self._parts[part] = (
            before[0] + wall - self._lap_wall,
            before[1] + (cpu - self._lap_cpu) * NANOSECONDS,
        )
        self._lap_wall, self._lap_cpu = wall, cpu

    def count(self, what: str) -> None:
        """Counts something that happened in the work."""
        self._counts[what] = self._counts.get(what, 0) + 1

    def span(self, enqueued: float) -> Span:
        """Ends the item that `start` began."""
        ended = time.perf_counter()
        cpu_seconds = (time.thread_time_ns() - self._started_cpu) * NANOSECONDS
        delay, delay_before = self._runqueue.seconds(), self._started_runqueue
        return Span(
            stage=self.stage,
            worker=self.worker,
            enqueued=enqueued,
            started=self._started,
            ended=ended,
            cpu_seconds=cpu_seconds,
            runqueue_seconds=None if delay is None or delay_before is None else delay - delay_before,
            parts=self._parts,
            counts=self._counts,
        )
