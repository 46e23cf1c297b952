"""The seat of one worker process at a time: started, kept to its deadline, killed, and asked how it died."""

import math
import threading
import time
from collections.abc import Callable

from batchproc.errors import Code, ExecutorError
from batchproc.executors.channel import Closed
from batchproc.executors.worker import WorkerProcess, verdict

START_SECONDS = 60.0
STARTS_TRIED = 3  # a worker that dies before its first job is replaced that often
# After each start that the fork server did not answer. One that is being killed refuses connections for a moment
# before it can be seen to be dead, and only then is it replaced.
START_PAUSES_SECONDS = (0.0, 0.02, 0.1, 0.5)


class Seat:
    """One worker process after the other, never two.

    Shared with the watch and with `stop`, under `_lock`: the deadline, whether it has passed, and the worker.
    `_stopped` is an event. All that is not said to be for any thread belongs to the lane's owner thread; once that has
    ended, `release` and `close` are for the opener's.
    """

    def __init__(self, spawn: Callable[[], WorkerProcess], *, timeout_seconds: float = 0.0) -> None:
        self._spawn = spawn
        self._timeout_seconds = timeout_seconds or math.inf
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._deadline = math.inf
        self._overdue = False
        self._worker: WorkerProcess | None = None

    @property
    def worker(self) -> WorkerProcess:
        """Who sits there. Raises `Closed` when nobody does any more."""
        if self._worker is None:
            raise Closed
        return self._worker

    def kill_overdue(self, now: float) -> None:
        """Kills the worker if its task is past the deadline, in monotonic seconds. Any thread."""
        with self._lock:
            if now > self._deadline and self._worker is not None:
                self._overdue, self._deadline = True, math.inf
                self._worker.kill()

    def postpone(self, seconds: float) -> None:
        """Moves the deadline: for so long nothing here could run. Any thread."""
        with self._lock:
            self._deadline += seconds

    def stop(self) -> None:
        """Kills the worker for good. Any thread."""
        self._stopped.set()
        with self._lock:
            if self._worker is not None:
                self._worker.kill()

    def launch(self) -> None:
        """Starts a worker process, without waiting for it. Raises `ExecutorError` when none can be had."""
        worker = self._spawn_surely()
        with self._lock:
            self._worker, self._overdue = worker, False
            self._deadline = time.monotonic() + START_SECONDS
        if self._stopped.is_set():
            worker.kill()

    def _spawn_surely(self) -> WorkerProcess:
        """A fork server that was killed takes the start under way with it; a later start brings up a new one."""
        for pause in START_PAUSES_SECONDS:
            try:
                return self._spawn()
            except (EOFError, OSError):
                self.rest(pause)
        try:
            return self._spawn()
        except (EOFError, OSError) as error:
            why = getattr(error, "strerror", None) or "the fork server ended"
            raise ExecutorError(f"cannot start a worker process: {why}") from error

    def release(self) -> None:
        """Tells the worker to leave after the job in hand."""
        if self._worker is not None:
            self._worker.release()

    def close(self) -> None:
        """Waits, with a bound, until the worker has left, and gives back what is held."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.release()
            worker.reap()
            worker.close()

    def arm(self, *, busy: bool) -> None:
        """Starts the clock of the task in hand, or stops it when there is none."""
        deadline = time.monotonic() + self._timeout_seconds if busy else math.inf
        with self._lock:
            self._deadline = deadline

    def disarm(self) -> bool:
        """Stops the clock: a reply has come. Returns whether the worker was killed meanwhile."""
        with self._lock:
            overdue, self._deadline = self._overdue, math.inf
        return overdue

    def rest(self, seconds: float) -> None:
        """Waits; `stop` ends it."""
        self._stopped.wait(seconds)

    def post_mortem(self, *, busy: bool) -> tuple[Code, str]:
        """How the worker died, `busy` or not. Raises `Closed` when it was `stop` that killed it."""
        if self._stopped.is_set():
            raise Closed
        if self._overdue:
            if not busy:
                return Code.WORKER_CRASH, f"it was not ready within {START_SECONDS:g} s"
            return Code.WORKER_TIMEOUT, f"took longer than {self._timeout_seconds:g} s; its worker was killed"
        return verdict(self.worker.reap(), self.worker.last_words())
