"""Thread: workers in this process, who ask upstream in turn, and a queue of their results."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from batchproc.executors.serial import Presence, attempt
from batchproc.executors.supply import END, LEAST_CAPACITY, Arrival, EndMark, Supply, UpstreamFault
from batchproc.measure.clocks import Stopwatch
from batchproc.model import Item, Mode, Outcome
from batchproc.protocols import Stage, Work, WorkerTimes

SHARE_OF_ONE = 4  # of the spare threads, at most such a part (but one) for what waits for one host


class _Staff:
    """Which threads may work: `workers`, and one more for each that is in a long wait; as many again at most.

    A thread too many rests until it is needed. Shared, all under `_changed`: the counts.
    """

    def __init__(self, workers: int, start: Callable[[int], None]) -> None:
        self.threads = workers  # started
        self._workers = workers
        self._start = start
        self._changed = threading.Condition()
        self._active = workers  # not at rest
        self._called = 0  # of those at rest, to go on
        self._waits: Counter[str] = Counter()
        self._ended = False

    def begin_wait(self, whom: str) -> None:
        """The calling thread will wait long for somebody: another may go on in its place."""
        with self._changed:
            self._waits[whom] += 1
            if self._ended or self._active >= self._allowed():
                return
            if self._active < self.threads:
                self._active += 1  # for the one that is woken, who may not run at once
                self._called += 1
                self._changed.notify()
                return
            with suppress(RuntimeError):  # the system has no room for another thread: it goes without
                self._start(self.threads)
                self.threads += 1
                self._active += 1

    def end_wait(self, whom: str) -> None:
        """The wait is over."""
        with self._changed:
            self._waits[whom] -= 1
            if not self._waits[whom]:
                del self._waits[whom]

    def rest(self) -> None:
        """Returns when the calling thread is needed: mostly at once, at the end always."""
        if self._active <= self._workers:  # read without the lock: nobody has to rest
            return
        with self._changed:
            if self._active <= self._allowed():
                return
            self._active -= 1
            self._changed.wait_for(lambda: self._ended or self._called)
            if self._called:
                self._called -= 1
            else:
                self._active += 1

    def end(self) -> None:
        """Nobody rests any more, and nobody starts."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _allowed(self) -> int:
        share = max(1, self._workers // SHARE_OF_ONE)
        return self._workers + min(self._workers, sum(min(share, number) for number in self._waits.values()))


class ThreadExecutor:
    """Runs a stage in `workers` threads of this process: shared memory, one GIL, and no way to kill one.

    One that waits long for somebody else (`Lap.long_wait`) is no worker meanwhile: a spare thread goes on.

    A time limit per item cannot be enforced here; a stage that can be interrupted does it itself (`Work.abort`).
    """

    mode = Mode.THREAD

    def __init__(self, *, workers: int, capacity: int | None = None) -> None:
        self.workers = workers
        self.capacity = capacity or max(LEAST_CAPACITY, 2 * workers)
        self.times: list[WorkerTimes] = []
        self._presence = Presence()
        self._supplies: list[Supply] = []
        self._staffs: list[_Staff] = []
        self._works: list[Work[Any, Any]] = []  # workers append, `stop` reads a copy; both are atomic
        self._stopped = False

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

        def start(number: int, opened: float | None = None) -> None:
            times = WorkerTimes(worker=f"{stage.name}-{number}", opened=opened or time.perf_counter())
            supply.start(times.worker, partial(self._consume, stage, times, supply, staff, results))
            self.times.append(times)

        staff = _Staff(self.workers, start)
        self._staffs.append(staff)
        for number in range(self.workers):
            start(number, opened)
        if self._stopped:
            self.stop()  # again, of what began since
        return self._outcomes(supply, staff, results)

    def stop(self) -> None:
        """Ends every wait and aborts the calls in progress; a `run` that is still to come yields nothing."""
        self._stopped = True
        for staff in self._staffs:
            staff.end()  # first: nothing starts behind the back of the next line
        for supply in self._supplies:
            supply.close()
        for work in tuple(self._works):
            work.abort()

    def _outcomes(self, supply: Supply, staff: _Staff, results: "SimpleQueue[Arrival]") -> Iterator[Outcome]:
        """Yields what comes out until every worker has ended. Raises what upstream raised, or what broke a worker."""
        ended = 0
        try:
            while ended < staff.threads:
                result = results.get()
                if supply.closed:
                    return
                if isinstance(result, UpstreamFault):
                    raise result.error
                if isinstance(result, EndMark):
                    ended += 1
                else:
                    yield result
                    supply.make_room()
        finally:
            staff.end()
            supply.close()

    def _consume(
        self,
        stage: Stage[Any, Any],
        times: WorkerTimes,
        supply: Supply,
        staff: _Staff,
        results: "SimpleQueue[Arrival]",
    ) -> None:
        times.began = time.perf_counter()
        try:
            with closing(stage.open()) as work, Stopwatch(stage.name, times.worker) as stopwatch:
                self._works.append(work)
                times.ready = time.perf_counter()
                times.startup_seconds = times.ready - times.opened
                stopwatch.on_long_wait = partial(_let_others_go_on, staff, supply)
                stopwatch.on_long_wait_over = staff.end_wait
                _consume(work, stopwatch, times, supply, staff, results)
        finally:
            staff.end()  # the first to leave has found the end
            times.closed = time.perf_counter()
        results.put(END)


def _let_others_go_on(staff: _Staff, supply: Supply, whom: str) -> None:
    """The item of the calling thread waits long: neither the thread's place nor the item's room is held meanwhile."""
    staff.begin_wait(whom)
    supply.make_room()


def _consume(
    work: Work[Any, Any],
    stopwatch: Stopwatch,
    times: WorkerTimes,
    supply: Supply,
    staff: _Staff,
    results: "SimpleQueue[Arrival]",
) -> None:
    clock = time.perf_counter
    while True:
        resting = clock()
        staff.rest()
        done = clock()
        times.rested_seconds += done - resting
        supply.wait_for_room()
        asked = clock()
        times.output_blocked_seconds += asked - done
        item = supply.take()
        got = clock()
        times.starved_seconds += got - asked
        if isinstance(item, Item):
            times.first_task = times.first_task or got
            times.tasks += 1
            outcome = attempt(work, item, stopwatch, got)
            if stopwatch.waited_long:
                supply.wait_for_room()  # which it had let go
            results.put(outcome)
        elif isinstance(item, EndMark):
            return
        else:
            results.put(item)
