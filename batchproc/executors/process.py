"""Process: a pool of OS processes, each with a private pipe and one owner thread here; no lock is shared with any.

True parallelism, and a task that hangs or crashes costs one worker and one item. Paid for with memory per worker and
with a copy of every value across a pipe.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batchproc.executors.affinity import AffinityChannel
from batchproc.executors.child import WorkerLimits
from batchproc.executors.health import Health
from batchproc.executors.lane import DEPTH, RSS_SHARE_TO_RECYCLE, Lane
from batchproc.executors.line import JOIN_SECONDS, LEAST_CAPACITY, Line
from batchproc.executors.presence import Presence
from batchproc.executors.worker import WorkerProcess, start_context
from batchproc.model import Item, Mode, Outcome
from batchproc.protocols import Stage, WorkerTimes

WATCH_SECONDS = 0.1
ASLEEP_SECONDS = 1.0  # a look that comes so much later than planned was not just delayed


class ProcessExecutor:
    """Runs a stage in `workers` OS processes; one `run` per `with` block.

    Entering it starts the fork server, `run` the workers, each from its own lane's thread: nobody waits for them but
    the items that they are for.

    `timeout_seconds` per task: then that worker alone is killed (`worker.timeout`).
    `memory_bytes` is each worker's RLIMIT_AS. `preload` names the modules that the fork server imports once. Zero means
    no limit. What workers print goes to `<log_stem>-<number>.log`, or to stderr. `affinity` names what a worker keeps
    from an item to the next: those of one name go where it is kept, and a worker has one item at a time.
    """

    mode = Mode.PROCESS

    def __init__(
        self,
        *,
        workers: int,
        capacity: int | None = None,
        timeout_seconds: float = 0.0,
        memory_bytes: int = 0,
        recycle_after: int = 0,
        preload: tuple[str, ...] = (),
        log_stem: Path | None = None,
        affinity: Callable[[Item[Any]], str] | None = None,
    ) -> None:
        self.workers = workers
        self.capacity = capacity or max(LEAST_CAPACITY, 4 * workers)
        self._presence = Presence()
        self._preload = preload
        self._log_stem = log_stem
        self._affinity = affinity
        self._limits = WorkerLimits(memory_bytes=memory_bytes, timeout_seconds=timeout_seconds)
        self._recycle_after = recycle_after
        self._lanes: list[Lane] = []
        self._line: Line | None = None
        self._stopped = False  # written before `_line` is read, and read after that is written: no stop is missed
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._watch_deadlines, name="watch", daemon=True)

    @property
    def times(self) -> list[WorkerTimes]:
        """Each worker's account; complete when the iterator of `run` has ended."""
        return [lane.times for lane in self._lanes]

    @property
    def wall_seconds(self) -> float:
        """From its opening to its closing; until now while it is open."""
        return self._presence.seconds

    def __enter__(self) -> Self:
        self._presence.open()
        context, health = start_context(self._preload), Health()
        self._lanes = [self._lane(context, health, number) for number in range(self.workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        try:
            if self._line is not None:
                self._line.close()
                if not self._line.finished:
                    self.stop()
                self._line.join()
                self._watch.join(JOIN_SECONDS)
        finally:
            self._end_workers()
            self._presence.close()

    def run(self, stage: Stage[Any, Any], items: Iterable[Outcome]) -> Iterator[Outcome]:
        """Starts the workers now, without waiting for them, and returns the iterator of outcomes."""
        if self._line is not None:
            raise RuntimeError("a process executor runs once")
        jobs = AffinityChannel(self._affinity) if self._affinity else None
        self._line = Line(stage.name, self.workers, self.capacity, jobs)
        for number, lane in enumerate(self._lanes):
            lane.times.worker = f"{stage.name}-{number}"
        self._watch.start()
        self._line.start(items, f"{stage.name}-lane", [partial(lane.serve, stage) for lane in self._lanes])
        if self._stopped:
            self._line.close()
        return self._line.outcomes()

    def stop(self) -> None:
        """Kills the workers and closes the channels; a `run` that is still to come yields nothing. From any thread."""
        self._stopped = True
        if self._line is not None:
            self._line.close()
        for lane in self._lanes:
            lane.seat.stop()

    def _lane(self, context: BaseContext, health: Health, number: int) -> Lane:
        return Lane(
            partial(WorkerProcess, context, f"worker-{number}", self._limits_of(number)),
            health,
            number=number,
            depth=1 if self._affinity else DEPTH,
            timeout_seconds=self._limits.timeout_seconds,
            recycle_after=self._recycle_after,
            recycle_above_bytes=RSS_SHARE_TO_RECYCLE * self._limits.memory_bytes,
        )

    def _end_workers(self) -> None:
        """All are told before the first is waited for. A worker that had nothing to say leaves no log."""
        for lane in self._lanes:
            lane.seat.release()
        for lane in self._lanes:
            lane.seat.close()
        for number in range(self.workers):
            log = Path(self._limits_of(number).log_path or os.devnull)
            if log.is_file() and not log.stat().st_size:
                log.unlink()

    def _limits_of(self, number: int) -> WorkerLimits:
        log_path = f"{self._log_stem}-{number}.log" if self._log_stem else ""
        return WorkerLimits(
            memory_bytes=self._limits.memory_bytes,
            timeout_seconds=self._limits.timeout_seconds,
            log_path=log_path,
        )

    def _watch_deadlines(self) -> None:
        """Kills what is overdue. When this process itself did not run (Ctrl-Z, a paused container), neither did its
        workers: the time goes to nobody's account."""
        looked = time.monotonic()
        while not self._closing.wait(WATCH_SECONDS):
            now = time.monotonic()
            asleep = now - looked - WATCH_SECONDS
            looked = now
            for lane in self._lanes:
                if asleep > ASLEEP_SECONDS:
                    lane.seat.postpone(asleep)
                lane.seat.kill_overdue(now)
