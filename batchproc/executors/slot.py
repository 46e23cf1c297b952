"""A worker slot: one worker process after the other, the jobs it has not answered yet, and its deadlines.

It is fed two jobs deep, answers in order, and is replaced when it dies. All of it belongs to the caller's thread, the
one that iterates over the executor's outcomes; `kill` alone may come from any.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from batchproc.errors import Code, ExecutorError
from batchproc.executors.child import Broken, GaveUp, Ready, Tally
from batchproc.executors.serial import bug
from batchproc.executors.supply import Closed
from batchproc.executors.wire import pack, unpack
from batchproc.executors.worker import WorkerProcess, verdict
from batchproc.kinds import kind_of
from batchproc.model import Disposition, Failure, Item, Outcome, Span
from batchproc.protocols import Stage, WorkerTimes

MOST_OVERTAKEN = 16  # jobs that may go before the oldest because their worker is idle


class HeldJob(Struct):
    """One item inside a process executor.

    `alone` marks a suspect: its worker gets no second job beside it. The last three are for `Affinities`.
    """

    item: Item[Any]
    enqueued: float
    alone: bool = False
    affinity: str = ""
    leaves: bool = False  # its worker gives up first what it keeps from its last job
    overtaken: int = 0


class Affinities:
    """Which job goes to which of the numbered workers, which keep something from one to the next. Not thread-safe.

    A worker process cannot lend its connections, and it keeps only what its last job needed. So a job goes to an idle
    worker whose last one had the same affinity; if there is none, to any that is idle, and that one first gives up what
    it keeps. Until it has said so, its former affinity is begun at no other worker. Hence what is kept for an affinity
    is never kept by more workers than there were jobs of that affinity at once, and no worker stays idle while a job
    waits for another affinity's.
    """

    def __init__(self, affinity: Callable[[Item[Any]], str]) -> None:
        self._affinity = affinity
        self._kept: dict[int, str] = {}  # each worker's last affinity
        self._leaving: dict[int, str] = {}  # what a worker has been told to give up, and has not yet

    def name(self, job: HeldJob) -> None:
        """Says of which affinity a job is."""
        job.affinity = self._affinity(job.item)

    def left(self, worker: int) -> None:
        """A worker has given up what it kept before its present job, or is gone with it."""
        self._leaving.pop(worker, None)

    def choose(self, jobs: deque[HeldJob], idle: Sequence[int]) -> tuple[HeldJob, int] | None:
        """Takes one of the jobs, of which there are some, for one of the idle workers, the idle for longest first.

        None when nothing may be given out now.
        """
        place, worker = self._choose(jobs, idle)
        if worker is None:
            return None
        job = jobs[place]
        del jobs[place]
        before = self._kept.get(worker, job.affinity)
        job.leaves = before != job.affinity
        if job.leaves:
            self._leaving[worker] = before
        self._kept[worker] = job.affinity
        return job, worker

    def _choose(self, jobs: deque[HeldJob], idle: Sequence[int]) -> tuple[int, int | None]:
        """A place in the queue and a worker for the job there; None when nothing may be given out now."""
        keepers = {self._kept.get(worker): worker for worker in reversed(idle)}
        oldest = jobs[0]
        if oldest.overtaken < MOST_OVERTAKEN:
            for place, job in enumerate(jobs):
                if job.affinity in keepers:
                    oldest.overtaken += place > 0
                    return place, keepers[job.affinity]
        for place, job in enumerate(jobs):
            if job.affinity in keepers:
                return place, keepers[job.affinity]
            if job.affinity not in self._leaving.values():
                return place, keepers.get(None, idle[0])
        return 0, None


DEPTH = 2  # one job in hand, the next waiting in the worker's own pipe
START_SECONDS = 60.0
STARTS_TRIED = 3  # a worker that dies before its first job is replaced that often
# After each start that the fork server did not answer. One that is being killed refuses connections for a moment
# before it can be seen to be dead, and only then is it replaced.
START_PAUSES_SECONDS = (0.0, 0.02, 0.1, 0.5)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.005, 0.1  # before a worker is replaced, crash after crash
RSS_SHARE_TO_RECYCLE = 0.8
QUARANTINE_HINT = "no run tries it again by itself; --retry-failed does"


class WorkerSlot:
    """Shared with `kill`, under `_lock`: the worker, and whether the slot was stopped for good."""

    def __init__(
        self,
        spawn: Callable[[], WorkerProcess],
        *,
        number: int = 0,
        on_crash: Callable[[str], None] | None = None,
        depth: int = DEPTH,
        timeout_seconds: float = 0.0,
        recycle_after: int = 0,
        recycle_above_bytes: float = 0,
    ) -> None:
        self.number = number
        self.times = WorkerTimes(worker="")
        self.worker: WorkerProcess | None = None
        self.launch_at = 0.0  # monotonic seconds; infinite while there is a worker
        self.deadline = math.inf  # monotonic seconds: of the task in hand, or of the worker's start
        self.unanswered: deque[HeldJob] = deque()
        self.carried: deque[HeldJob] = deque()  # to be sent again, before any new job
        self._spawn = spawn
        self._on_crash = on_crash
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._stage: Stage[Any, Any] | None = None
        self._depth = depth
        self._timeout_seconds = timeout_seconds or math.inf
        self._recycle_after = recycle_after or math.inf
        self._recycle_above_bytes = recycle_above_bytes or math.inf
        self._begin_worker()
        self._starts_failed = self._crashes_in_a_row = 0
        self._starting_since = 0.0
        self.idle_since = 0.0  # perf_counter seconds of the last reply, or of the stage's opening
        self._away_before = 0.0

    def _begin_worker(self) -> None:
        self.is_open = False  # it has its stage, and takes jobs
        self._overdue = False
        self._tally = Tally()  # its last word about its own time
        self._starts_noted = self._sent = self._answered = 0

    def assign(self, stage: Stage[Any, Any]) -> None:
        """Says what is to be done here."""
        self._stage = stage
        self.times.worker = f"{stage.name}-{self.number}"

    def launch(self) -> None:
        """Starts a worker and hands it the stage, waiting for nothing. Raises `ExecutorError` when none can be had."""
        now = time.perf_counter()
        self.times.opened = self.times.opened or now
        self._starting_since = self._starting_since or now
        worker = self._spawn_surely()
        with self._lock:
            self.worker = worker
            if self._stopped.is_set():
                worker.kill()
        self.launch_at, self.deadline = math.inf, time.monotonic() + START_SECONDS
        self.times.starts += 1
        self._begin_worker()
        try:
            worker.post.send(pack(self._stage, self.times.worker))
        except OSError:
            return  # it is dead already: its end of the pipe says so

    def _spawn_surely(self) -> WorkerProcess:
        """A fork server that was killed takes the start under way with it; a later start brings up a new one."""
        for pause in START_PAUSES_SECONDS:
            try:
                return self._spawn()
            except (EOFError, OSError):
                self._stopped.wait(pause)
        try:
            return self._spawn()
        except (EOFError, OSError) as error:
            why = getattr(error, "strerror", None) or "the fork server ended"
            raise ExecutorError(f"cannot start a worker process: {why}") from error

    @property
    def room(self) -> int:
        """How many jobs more it takes now."""
        if not self.is_open or self.is_worn_out or (self.unanswered and self.unanswered[0].alone):
            return 0
        return self._depth - len(self.unanswered)

    @property
    def is_worn_out(self) -> bool:
        """Whether its worker is to be replaced before the next job."""
        return self._answered >= self._recycle_after or self._tally.max_rss_bytes > self._recycle_above_bytes

    def give_carried(self) -> Failure | None:
        """Sends the first of the jobs that are to be sent again, if it may go now. As `give`."""
        if not self.carried[0].alone or not self.unanswered:
            return self.give(self.carried.popleft())
        return None

    def give(self, job: HeldJob) -> Failure | None:
        """Sends a job, for which there is room. Returns the failure of a value that cannot be pickled."""
        assert self.worker is not None
        started = time.thread_time()
        try:
            packed = pack(job.item.value, job.item.source, job.enqueued, job.leaves)
        except Exception as error:  # noqa: BLE001 - a value that cannot be pickled concerns this item only
            mistake = bug(error)
            return self._failure(job, mistake.code, mistake.message)
        self.unanswered.append(job)
        if len(self.unanswered) == 1:
            self.deadline = time.monotonic() + self._timeout_seconds
        try:
            self.worker.post.send(packed, self._sent)
        except (BrokenPipeError, ConnectionError):
            return None  # the worker is dead: its end of the pipe says so
        self._sent += 1
        self.times.ipc_parent_cpu_seconds += time.thread_time() - started
        self.times.ipc_bytes += packed.size_bytes
        return None

    def take_reply(self, away_seconds: float) -> Outcome | GaveUp | None:
        """Takes one message of the worker, which has come, or its death; what came out of it, if anything.

        `away_seconds` is how long the caller's thread was elsewhere in all: so long no worker could be given a job.
        Raises `ExecutorError` when no worker can live here, `Closed` when it was `kill` that ended it.
        """
        assert self.worker is not None
        try:
            packed = self.worker.post.receive()
        except (EOFError, OSError):
            return self._handle_crash()
        started = time.thread_time()
        parts = unpack(packed)
        if len(parts) == 1:
            return self._handle_notice(*parts)
        value, spans, tally = parts
        outcome = self._answer(value, spans)
        self.times.ipc_parent_cpu_seconds += time.thread_time() - started
        self.times.ipc_bytes += packed.size_bytes
        self._book(tally, away_seconds)
        if self._overdue or (self.is_worn_out and not self.unanswered):
            self._carry_unanswered()  # killed too late to be blamed on anybody: the reply had come
            self._replace()
        return outcome

    def _handle_notice(self, notice: Ready | Broken | GaveUp) -> GaveUp | None:
        if isinstance(notice, Broken):
            raise ExecutorError(f"a worker could not open its stage:\n{notice.trace}")
        if isinstance(notice, GaveUp):
            return notice
        self._note_start(notice)
        return None

    def _note_start(self, answer: Ready) -> None:
        """It has started; or, the second time, opened its stage."""
        self._starts_noted += 1
        if self._starts_noted == 1:
            self.times.began = self.times.began or answer.perf_counter
            return
        self._starts_failed = 0
        self.is_open, self.deadline = True, math.inf
        self.times.ready = self.times.ready or answer.perf_counter
        self.idle_since = time.perf_counter()
        self.times.startup_seconds += self.idle_since - self._starting_since
        self._starting_since = 0.0

    def _answer(self, value: Any, spans: tuple[Span, ...] | None) -> Outcome:
        """The outcome of the first job unanswered: its new value and span, or, without spans, how it left early."""
        job = self.unanswered.popleft()
        self.deadline = time.monotonic() + self._timeout_seconds if self.unanswered else math.inf
        if spans is None:
            early: Outcome = replace(value, spans=(*job.item.spans, *value.spans))
            return early
        return Item(source=job.item.source, value=value, spans=(*job.item.spans, *spans))

    def _book(self, tally: Tally, away_seconds: float) -> None:
        times, before = self.times, self._tally
        times.first_task = times.first_task or times.ready + tally.waiting_seconds
        waited = tally.waiting_seconds - before.waiting_seconds
        held_up = min(waited, away_seconds - self._away_before)
        times.output_blocked_seconds += held_up
        times.starved_seconds += waited - held_up
        times.ipc_seconds += tally.ipc_seconds - before.ipc_seconds
        times.cpu_seconds += tally.cpu_seconds - before.cpu_seconds
        times.max_rss_bytes = max(times.max_rss_bytes, tally.max_rss_bytes)
        times.tasks += 1
        self._answered += 1
        self._tally = tally
        self._crashes_in_a_row = 0
        self.idle_since, self._away_before = time.perf_counter(), away_seconds

    def _handle_crash(self) -> Failure | None:
        """Blames a death on exactly one job: the first one unanswered. It gets one more try, alone."""
        if self._stopped.is_set():
            raise Closed
        code, how = self._cause_of_death()
        if not self.is_open:
            self._starts_failed += 1
            if self._starts_failed == STARTS_TRIED:
                assert self._stage is not None
                raise ExecutorError(f"no {self._stage.name} worker could start: {how}")
            self._replace()
            return None
        self.times.lost_seconds += time.perf_counter() - self.idle_since
        self._crashes_in_a_row += 1
        suspect = self.unanswered.popleft() if self.unanswered else None
        self._carry_unanswered()
        self._replace()
        if suspect is None:
            return None
        if code is Code.WORKER_TIMEOUT:
            return self._failure(suspect, code, how)
        if self._on_crash is not None:
            self._on_crash(how)
        if suspect.alone:
            return self._failure(suspect, code, f"{how}, twice", Disposition.QUARANTINED)
        suspect.alone = True
        self.carried.append(suspect)
        return None

    def _carry_unanswered(self) -> None:
        self.carried.extendleft(reversed(self.unanswered))
        self.unanswered.clear()

    def _replace(self) -> None:
        """Ends what is left of the worker and lets another be started; crash after crash some time later."""
        self._starting_since = time.perf_counter()
        self.close()
        pause = 0.0
        if self._crashes_in_a_row > 1:
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._crashes_in_a_row)
        self.launch_at = time.monotonic() + pause

    def _failure(
        self, job: HeldJob, code: str, message: str, disposition: Disposition = Disposition.FAILED
    ) -> Failure:
        stage = "" if self._stage is None else self._stage.name
        return Failure(
            source=job.item.source,
            stage=stage,
            code=code,
            message=message,
            retry=kind_of(code).retry_in(stage),
            disposition=disposition,
            hint=QUARANTINE_HINT if disposition is Disposition.QUARANTINED else "",
            spans=job.item.spans,
        )

    def _cause_of_death(self) -> tuple[Code, str]:
        """How the worker died."""
        assert self.worker is not None
        if self._overdue:
            if not self.is_open:
                return Code.WORKER_CRASH, f"it was not ready within {START_SECONDS:g} s"
            return Code.WORKER_TIMEOUT, f"took longer than {self._timeout_seconds:g} s; its worker was killed"
        return verdict(self.worker.reap(), self.worker.exit_reason())

    def kill_overdue(self, now: float) -> None:
        """Kills the worker if its task, or its start, is past the deadline, in monotonic seconds."""
        if now > self.deadline and self.worker is not None:
            self._overdue, self.deadline = True, math.inf
            self.worker.kill()

    def kill(self) -> None:
        """Kills the worker for good. From any thread."""
        self._stopped.set()
        with self._lock:
            if self.worker is not None:
                self.worker.kill()

    def end(self) -> None:
        """Closes the worker's account."""
        if self.times.opened and not self.times.closed:
            self.times.closed = time.perf_counter()
            if self.idle_since:
                self.times.starved_seconds += self.times.closed - self.idle_since

    def release(self) -> None:
        """Tells the worker to leave after the job in hand."""
        if self.worker is not None:
            self.worker.release()

    def close(self) -> None:
        """Waits, with a bound, until the worker has left, and gives back what is held."""
        with self._lock:
            worker, self.worker = self.worker, None
        self.is_open, self.deadline, self.launch_at = False, math.inf, math.inf
        if worker is not None:
            worker.release()
            worker.reap()
            worker.close()
