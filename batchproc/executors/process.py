"""Process: a pool of OS processes, each with a private pipe and one slot here; no lock is shared with any.

    upstream --feeder thread--> inbox --caller's thread--> workers --caller's thread--> downstream

The caller's thread owns every worker: it gives out jobs, takes replies, watches deadlines and replaces the dead, all
in one poll. No message makes it wait (see `wire`), so no worker can keep it from the others. True parallelism, and a
task that hangs or crashes costs one worker and one item; paid for with memory per worker and a copy of every value.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from batchproc.errors import ExecutorError
from batchproc.executors.child import GaveUp, WorkerLimits
from batchproc.executors.serial import Presence
from batchproc.executors.slot import DEPTH, RSS_SHARE_TO_RECYCLE, Affinities, HeldJob, WorkerSlot
from batchproc.executors.supply import LEAST_CAPACITY, ArrivalInbox, Closed, EndMark, Supply, UpstreamFault
from batchproc.executors.worker import WorkerProcess, start_context
from batchproc.model import Item, Mode, Outcome
from batchproc.protocols import Stage, WorkerTimes

WATCH_SECONDS = 0.1
ASLEEP_SECONDS = 1.0  # a look that comes so much later than planned was not just delayed
CRASHES_THAT_STOP = 40  # more than that, and more than successes: no worker can live here


class ProcessExecutor:
    """Runs a stage in `workers` OS processes; one `run` per `with` block.

    Entering it starts the fork server, `run` and the iterator that it returns the workers: nobody waits for them but
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
        self._limits = WorkerLimits(memory_bytes=memory_bytes, timeout_seconds=timeout_seconds)
        self._recycle_after = recycle_after
        self._affinities = Affinities(affinity) if affinity else None
        self._slots: list[WorkerSlot] = []
        self._by_descriptor: dict[int, WorkerSlot] = {}
        self._poll = select.poll()
        self._inbox: ArrivalInbox  # while it is open
        self._supply: Supply | None = None
        self._stopped = False  # written before `_supply` is read, and read after that is written: no stop is missed
        self._jobs: deque[HeldJob] = deque()  # that no worker has yet
        self._drained = False  # nothing more will come from upstream
        self._finished = False  # every item has come out
        self._crashes = 0
        self._left = 0  # items that have come out since the feeder was told
        self._away_seconds = 0.0  # of the caller's thread, between the outcomes that it took
        self._watched = 0.0  # monotonic seconds of the last look at the deadlines

    @property
    def times(self) -> list[WorkerTimes]:
        """Each worker's account; complete when the iterator of `run` has ended."""
        return [slot.times for slot in self._slots]

    @property
    def wall_seconds(self) -> float:
        """From its opening to its closing; until now while it is open."""
        return self._presence.seconds

    def __enter__(self) -> Self:
        self._presence.open()
        self._inbox = ArrivalInbox()
        context = start_context(self._preload)
        self._slots = [self._slot(context, number) for number in range(self.workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._supply is not None:
                self._supply.close()
                if not self._finished:
                    self.stop()
                self._supply.join()
        finally:
            self._end_workers()
            self._inbox.close()
            self._presence.close()

    def run(self, stage: Stage[Any, Any], items: Iterable[Outcome]) -> Iterator[Outcome]:
        """Starts the first worker now, without waiting for it, and returns the iterator of outcomes."""
        if self._supply is not None:
            raise RuntimeError("a process executor runs once")
        for slot in self._slots:
            slot.assign(stage)
        supply = self._supply = Supply(items, self.capacity, self._inbox.put)
        supply.start(f"{stage.name}-feeder", partial(self._feed, supply))
        if self._stopped:
            supply.close()
        self._poll.register(self._inbox, select.POLLIN)
        self._watched = time.monotonic()
        self._launch_next(supply)
        return self._outcomes(supply)

    def stop(self) -> None:
        """Kills the workers and ends every wait; a `run` that is still to come yields nothing. From any thread."""
        self._stopped = True
        if self._supply is not None:
            self._supply.close()
        for slot in self._slots:
            slot.kill()

    def _feed(self, supply: Supply) -> None:
        while True:
            supply.wait_for_room()
            arrival = supply.take()
            self._inbox.put(arrival)
            if isinstance(arrival, EndMark):
                return

    def _outcomes(self, supply: Supply) -> Iterator[Outcome]:
        """Yields what comes out until every item has, or the supply is closed.

        Raises what upstream raised, or what broke the workers.
        """
        try:
            while not (supply.closed or self._finished):
                for outcome in self._turn(supply):
                    left = time.perf_counter()
                    yield outcome
                    self._away_seconds += time.perf_counter() - left
                    self._make_room(supply)
        except Closed:
            return
        finally:
            supply.close()
            for slot in self._slots:
                slot.end()

    def _make_room(self, supply: Supply) -> None:
        """Lets the feeder go on, but not for every single item: to wake it costs more than what it does."""
        self._left += 1
        if self._left >= max(1, self.capacity // 4):
            for _ in range(self._left):
                supply.make_room()
            self._left = 0

    def _turn(self, supply: Supply) -> list[Outcome]:
        """Does all that can be done now; then, if nothing came out of it, waits for what comes next."""
        outcomes = self._take_arrivals()
        more = self._launch_next(supply)
        outcomes += self._give_out()
        busy = self._jobs or any(slot.unanswered or slot.carried for slot in self._slots)
        self._finished = self._drained and not busy
        if self._finished or supply.closed:
            return outcomes
        outcomes += self._take_replies(0.0 if outcomes or more else WATCH_SECONDS)
        return outcomes + self._give_out()

    def _take_arrivals(self) -> list[Outcome]:
        """Sorts what the feeder brought: jobs, what passes by, and its end."""
        passing: list[Outcome] = []
        while (arrival := self._inbox.take()) is not None:
            if isinstance(arrival, Item):
                job = HeldJob(arrival, time.perf_counter())
                if self._affinities is not None:
                    self._affinities.name(job)
                self._jobs.append(job)
            elif isinstance(arrival, EndMark):
                self._drained = True
            elif isinstance(arrival, UpstreamFault):
                raise arrival.error
            else:
                passing.append(arrival)
        return passing

    def _launch_next(self, supply: Supply) -> bool:
        """Starts one worker that is due, so that those who are there are not left alone for long; whether more are."""
        now = time.monotonic()
        due = [slot for slot in self._slots if slot.launch_at <= now]
        if due and not supply.closed:
            slot = due[0]
            slot.launch()
            assert slot.worker is not None
            descriptor = slot.worker.post.pipe.fileno()
            self._by_descriptor[descriptor] = slot
            self._poll.register(descriptor, select.POLLIN)
        return len(due) > 1

    def _give_out(self) -> list[Outcome]:
        """Gives jobs to workers with room, to the idle first; returns the failures of those that cannot be sent."""
        failures: list[Outcome] = []
        for slot in self._slots:
            while slot.carried and slot.room and (failure := slot.give_carried()):
                failures.append(failure)
        while self._jobs and (chosen := self._choose()) is not None:
            job, slot = chosen
            if failure := slot.give(job):
                failures.append(failure)
                if self._affinities is not None:
                    self._affinities.left(slot.number)
        return failures

    def _choose(self) -> tuple[HeldJob, WorkerSlot] | None:
        free = [slot for slot in self._slots if slot.room and not slot.carried]
        if not free:
            return None
        if self._affinities is None:
            return self._jobs.popleft(), min(free, key=lambda slot: len(slot.unanswered))
        free.sort(key=lambda slot: slot.idle_since)
        chosen = self._affinities.choose(self._jobs, [slot.number for slot in free])
        return None if chosen is None else (chosen[0], self._slots[chosen[1]])

    def _take_replies(self, most_seconds: float) -> list[Outcome]:
        """Takes what the workers have sent, waiting for it so long at most; then kills who is overdue."""
        waits = bool(most_seconds) and self._inbox.fall_asleep()
        ready = self._poll.poll(most_seconds * 1000 if waits else 0)
        if waits:
            self._inbox.wake_up()
        outcomes: list[Outcome] = []
        for descriptor, _ in ready:
            slot = self._by_descriptor.get(descriptor)
            while slot is not None:
                if (outcome := self._take_reply(slot, descriptor)) is not None:
                    outcomes.append(outcome)
                if slot.worker is None or not slot.worker.post.has_more:
                    break
        now = time.monotonic()
        if now - self._watched >= WATCH_SECONDS:
            self._watch_deadlines(now)
        return outcomes

    def _take_reply(self, slot: WorkerSlot, descriptor: int) -> Outcome | None:
        reply = slot.take_reply(self._away_seconds)
        if slot.worker is None:
            self._poll.unregister(descriptor)
            del self._by_descriptor[descriptor]
        if self._affinities is not None and (slot.worker is None or isinstance(reply, GaveUp)):
            self._affinities.left(slot.number)
        return None if isinstance(reply, GaveUp) else reply

    def _watch_deadlines(self, now: float) -> None:
        """Kills what is overdue. When this process itself did not run (Ctrl-Z, a paused container), neither did its
        workers: the time goes to nobody's account. Nor does that of a caller who did not come for their replies."""
        asleep = now - self._watched - WATCH_SECONDS
        self._watched = now
        for slot in self._slots:
            if asleep > ASLEEP_SECONDS:
                slot.deadline += asleep
            slot.kill_overdue(now)

    def _count_crash(self, how: str) -> None:
        """Raises `ExecutorError` when there is little else."""
        self._crashes += 1
        done = sum(slot.times.tasks for slot in self._slots)
        if self._crashes > CRASHES_THAT_STOP and self._crashes > done:
            raise ExecutorError(f"{self._crashes} worker processes died against {done} items done; the last one: {how}")

    def _slot(self, context: BaseContext, number: int) -> WorkerSlot:
        depth = DEPTH if self._affinities is None else 1
        return WorkerSlot(
            partial(WorkerProcess, context, f"worker-{number}", self._limits_of(number), depth),
            number=number,
            on_crash=self._count_crash,
            depth=depth,
            timeout_seconds=self._limits.timeout_seconds,
            recycle_after=self._recycle_after,
            recycle_above_bytes=RSS_SHARE_TO_RECYCLE * self._limits.memory_bytes,
        )

    def _end_workers(self) -> None:
        """All are told before the first is waited for. A worker that had nothing to say leaves no log."""
        for slot in self._slots:
            slot.release()
        for slot in self._slots:
            slot.close()
        for number in range(self.workers):
            log = Path(self._limits_of(number).log_path or os.devnull)
            if log.is_file() and not log.stat().st_size:
                log.unlink()

    def _limits_of(self, number: int) -> WorkerLimits:
        return replace(self._limits, log_path=f"{self._log_stem}-{number}.log" if self._log_stem else "")
