"""The owner of one worker: feeds it two jobs deep, takes its replies in order, and replaces it when it dies.

Runs in a thread of the parent. The deadline of the task in hand is watched by another thread (`ProcessExecutor`),
because a send of more than the pipe holds blocks until the worker reads, and a hung worker never does.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from batchproc.errors import Code, ExecutorError
from batchproc.executors.attempt import bug
from batchproc.executors.child import Broken, Left, Tally
from batchproc.executors.health import Health
from batchproc.executors.line import END, EndMark, Job, Line
from batchproc.executors.seat import STARTS_TRIED, Seat
from batchproc.executors.wire import pack, receive, send, unpack
from batchproc.executors.worker import WorkerProcess
from batchproc.kinds import kind_of
from batchproc.model import Disposition, Failure, Outcome
from batchproc.protocols import Stage, WorkerTimes

DEPTH = 2  # one job in hand, the next waiting in the worker's own pipe
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.005, 0.1
RSS_SHARE_TO_RECYCLE = 0.8
LEFT = pack(Left())
QUARANTINE_HINT = "no run tries it again by itself; --retry-failed does"


class Lane:
    """One worker process, its pipe, and the jobs it has not answered yet.

    `seat` is for every thread that it says; all else belongs to the owner thread once `serve` has begun.
    """

    def __init__(
        self,
        spawn: Callable[[], WorkerProcess],
        health: Health,
        *,
        number: int = 0,
        depth: int = DEPTH,
        timeout_seconds: float = 0.0,
        recycle_after: int = 0,
        recycle_above_bytes: float = 0,
    ) -> None:
        self.times = WorkerTimes(worker="")
        self.seat = Seat(spawn, timeout_seconds=timeout_seconds)
        self._health = health
        self._number = number
        self._depth = depth
        self._recycle_after = recycle_after or math.inf
        self._recycle_above_bytes = recycle_above_bytes or math.inf
        self._unanswered: deque[Job] = deque()
        self._carried: deque[Job] = deque()  # to be sent again, before any new job
        self._ended = False  # the end mark came
        self._tally = Tally()  # the worker's last word about its own time
        self._tasks_of_worker = 0
        self._crashes_in_a_row = 0
        self._idle_since = 0.0  # perf_counter seconds of the last reply, or of the stage's opening
        self._held_up_seconds = 0.0  # in `_deliver` since then

    def launch(self) -> None:
        """Starts a worker process, without waiting for it. Raises `ExecutorError` when none can be had."""
        self.times.opened = self.times.opened or time.perf_counter()
        self.seat.launch()
        self.times.starts += 1
        self._tally = Tally()
        self._tasks_of_worker = 0

    def serve(self, stage: Stage[Any, Any], line: Line) -> None:
        """The owner thread's body: every job of the line that this lane gets, until the end mark."""
        try:
            self.launch()
            self._introduce(stage, self.times.opened)
            while True:
                self._fill(line)
                if self._unanswered:
                    self._exchange(stage, line)
                elif self._ended and not self._carried:
                    break
                elif self._worn_out:
                    self._replace(stage)
        finally:
            self.times.closed = time.perf_counter()
            if self._idle_since:
                self.times.starved_seconds += self.times.closed - self._idle_since
        line.results.put(END)

    @property
    def _worn_out(self) -> bool:
        return (
            self._tasks_of_worker >= self._recycle_after or self._tally.max_rss_bytes > self._recycle_above_bytes
        )

    def _introduce(self, stage: Stage[Any, Any], since: float) -> None:
        """Waits for the worker, hands it the stage, waits until it is open. Raises `ExecutorError` if it cannot be."""
        for tried in range(1, STARTS_TRIED + 1):
            try:
                began = self._greet()
                send(self.seat.worker.pipe, pack(stage, self.times.worker))
                ready = self._greet()
                self.times.began, self.times.ready = self.times.began or began, self.times.ready or ready
                break
            except (EOFError, OSError) as error:
                how = self.seat.post_mortem(busy=bool(self._unanswered))[1]
                if tried == STARTS_TRIED:
                    raise ExecutorError(f"no {stage.name} worker could start: {how}") from error
                self.seat.close()
                self.launch()
        self.seat.arm(busy=bool(self._unanswered))
        self._idle_since = time.perf_counter()
        self.times.startup_seconds += self._idle_since - since

    def _greet(self) -> float:
        """The worker's stamp, perf_counter seconds. Raises `ExecutorError` with its traceback if it is broken."""
        (answer,) = unpack(receive(self.seat.worker.pipe))
        if isinstance(answer, Broken):
            raise ExecutorError(f"a worker could not open its stage:\n{answer.trace}")
        return float(answer.perf_counter)

    def _fill(self, line: Line) -> None:
        """Brings the worker's pipe to its depth; waits for a job only when the worker has none."""
        self.seat.arm(busy=bool(self._unanswered))
        while len(self._unanswered) < self._depth:
            job = self._next_job(line)
            if job is None:
                return
            self._unanswered.append(job)
            if len(self._unanswered) == 1:
                self.seat.arm(busy=bool(self._unanswered))
            self._send(job, line)
            if job.alone:
                return

    def _next_job(self, line: Line) -> Job | None:
        idle = not self._unanswered
        if self._worn_out or (not idle and self._unanswered[0].alone):
            return None
        if self._carried:
            return self._carried.popleft() if idle or not self._carried[0].alone else None
        if self._ended:
            return None
        job = line.jobs.get_for(self._number) if idle else line.jobs.get_spare()
        self._ended = isinstance(job, EndMark)
        return None if isinstance(job, EndMark) else job

    def _send(self, job: Job, line: Line) -> None:
        started = time.thread_time()
        try:
            packed = pack(job.item, job.enqueued, job.leaves)
        except Exception as error:  # noqa: BLE001 - a value that cannot be pickled concerns this item only
            self._unanswered.remove(job)
            mistake = bug(error)
            self._fail(job, line, mistake.code, mistake.message)
            return
        try:
            send(self.seat.worker.pipe, packed)
        except OSError:
            return  # the worker is dead: the next `_exchange` finds out how
        finally:
            self.times.ipc_parent_cpu_seconds += time.thread_time() - started
            self.times.ipc_bytes += packed.size_bytes

    def _exchange(self, stage: Stage[Any, Any], line: Line) -> None:
        """Takes one reply, or the worker's death."""
        try:
            packed = receive(self.seat.worker.pipe)
        except (EOFError, OSError):
            line.jobs.left(self._number)
            self._bury(line)
            self._replace(stage)
            return
        if packed.head == LEFT.head:
            line.jobs.left(self._number)
            return
        killed_meanwhile = self.seat.disarm()
        started = time.thread_time()
        outcome, tally = unpack(packed)
        self.times.ipc_parent_cpu_seconds += time.thread_time() - started
        self.times.ipc_bytes += packed.size_bytes
        self._book(tally)
        self._unanswered.popleft()
        self._health.succeeded()
        self._crashes_in_a_row = 0
        line.jobs.ready(self._number)
        self._deliver(outcome, line)
        if killed_meanwhile:  # too late to be blamed on anybody: the reply had come
            self._carry_unanswered()
            self._replace(stage)

    def _book(self, tally: Tally) -> None:
        times, before = self.times, self._tally
        times.first_task = times.first_task or times.ready + tally.waiting_seconds
        waited = tally.waiting_seconds - before.waiting_seconds
        held_up = min(waited, self._held_up_seconds)  # idle because its owner found no room downstream
        times.output_blocked_seconds += held_up
        times.starved_seconds += waited - held_up
        times.ipc_seconds += tally.ipc_seconds - before.ipc_seconds
        times.cpu_seconds += tally.cpu_seconds - before.cpu_seconds
        times.max_rss_bytes = max(times.max_rss_bytes, tally.max_rss_bytes)
        times.tasks += 1
        self._tasks_of_worker += 1
        self._tally = tally
        self._idle_since, self._held_up_seconds = time.perf_counter(), 0.0

    def _bury(self, line: Line) -> None:
        """Blames a death on exactly one job: the first one unanswered. It gets one more try, alone."""
        code, how = self.seat.post_mortem(busy=bool(self._unanswered))
        self.times.lost_seconds += time.perf_counter() - self._idle_since
        suspect = self._unanswered.popleft()
        self._carry_unanswered()
        self._crashes_in_a_row += 1
        if code is Code.WORKER_TIMEOUT:
            self._fail(suspect, line, code, how)
            return
        self._health.crashed(how)
        if suspect.alone:
            self._fail(suspect, line, code, f"{how}, twice", Disposition.QUARANTINED)
        else:
            suspect.alone = True
            self._carried.append(suspect)

    def _carry_unanswered(self) -> None:
        self._carried.extendleft(reversed(self._unanswered))
        self._unanswered.clear()

    def _replace(self, stage: Stage[Any, Any]) -> None:
        """Ends what is left of the worker and starts another; crash after crash it waits longer before."""
        started = time.perf_counter()
        if self._crashes_in_a_row > 1:
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._crashes_in_a_row)
            self.seat.rest(pause)
        self.seat.close()
        self.launch()
        self._introduce(stage, started)

    def _fail(
        self, job: Job, line: Line, code: str, message: str, disposition: Disposition = Disposition.FAILED
    ) -> None:
        failure = Failure(
            source=job.item.source,
            stage=line.name,
            code=code,
            message=message,
            retry=kind_of(code).retry_in(line.name),
            disposition=disposition,
            hint=QUARANTINE_HINT if disposition is Disposition.QUARANTINED else "",
            spans=job.item.spans,
        )
        self._deliver(failure, line)

    def _deliver(self, outcome: Outcome, line: Line) -> None:
        started = time.perf_counter()
        line.results.put(outcome)
        self._held_up_seconds += time.perf_counter() - started
