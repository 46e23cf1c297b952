"""An attempt at an item, the same in every mode; and the serial mode, one after the other in the puller's thread."""

import time
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from batchproc.errors import Code, Reject, StageError
from batchproc.measure.clocks import Stopwatch
from batchproc.model import Failure, Item, Mode, Outcome, Rejection
from batchproc.protocols import Stage, Work, WorkerTimes

TRACEBACK_CHARACTERS = 4000


def attempt(work: Work[Any, Any], item: Item[Any], stopwatch: Stopwatch, enqueued: float) -> Outcome:
    """Does the work on one item and says what became of it, with one more span: in every mode. Raises no `Exception`.

    Runs in the worker. What is neither `StageError` nor `Reject` is a bug of ours: image 7 must not cost image 99,999,
    so it becomes the failure `internal.bug` with its traceback.
    """
    stopwatch.start()
    try:
        value = work(item, stopwatch)
    except StageError as error:
        return _failed(item, stopwatch, enqueued, error)
    except Reject as reject:
        return Rejection(
            source=item.source,
            stage=stopwatch.stage,
            code=reject.code,
            message=reject.reason,
            spans=(*item.spans, stopwatch.span(enqueued)),
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the seam: whatever a stage raises becomes a value here
        return _failed(item, stopwatch, enqueued, bug(error))
    return Item(source=item.source, value=value, spans=(*item.spans, stopwatch.span(enqueued)))


def bug(error: BaseException) -> StageError:
    """An unexpected exception as the failure `internal.bug`; the message ends with the traceback."""
    trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
    return StageError(
        Code.INTERNAL_BUG,
        f"{type(error).__name__} in batchproc itself\n{trace}",
        hint="please report it with this traceback",
    )


def _failed(item: Item[Any], stopwatch: Stopwatch, enqueued: float, error: StageError) -> Failure:
    return Failure(
        source=item.source,
        stage=stopwatch.stage,
        code=error.code,
        message=error.message,
        hint=error.hint,
        retry=error.retry_in(stopwatch.stage),
        retry_after_seconds=error.retry_after_seconds,
        spans=(*item.spans, stopwatch.span(enqueued)),
    )


class Presence:
    """Opened and closed once each by its executor; may be read from any thread."""

    def __init__(self) -> None:
        self._opened = 0.0
        self._closed = 0.0

    def open(self) -> None:
        """The time begins."""
        self._opened = time.perf_counter()

    def close(self) -> None:
        """The time ends."""
        self._closed = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From opening to closing; until now while it is open; 0 before."""
        return (self._closed or time.perf_counter()) - self._opened if self._opened else 0.0


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
