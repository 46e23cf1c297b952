"""The clocks around the work: an item's, with what a stage raises made a value, and those of a whole executor."""

import time
import traceback
from typing import Any

from batchproc.errors import Code, Reject, StageError
from batchproc.measure.clocks import Stopwatch
from batchproc.model import Failure, Item, Outcome, Rejection
from batchproc.protocols import Work

TRACEBACK_CHARACTERS = 4000


def attempt(work: Work[Any, Any], item: Item[Any], stopwatch: Stopwatch, enqueued: float) -> Outcome:
    """Does the work on one item and says what became of it, with one more span. Never raises an `Exception`.

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
