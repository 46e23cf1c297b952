"""Ends a run that no longer moves: whatever the reason, a night must not hang until somebody looks.

Every wait has its own limit, and this is the one behind them all. It says where every thread stands, stops the
workers, and leaves the process if even that does not help; the ledger is committed up to the last half second.
"""

import contextlib
import faulthandler
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from batchproc.config import Config
from batchproc.errors import ExitCode
from batchproc.frontier import LONGEST_BACKOFF_SECONDS
from batchproc.lifecycle import call_within, exit_by_force

LAST_SECONDS = 60.0  # for the run to end by itself, once it was stopped
SLACK_SECONDS = 60.0
STACKS_SECONDS = 5.0  # at most, for a disk that hangs


def stall_limit(config: Config) -> float:
    """Seconds without any progress after which a run is given up.

    By default more than all limits of the stages, and the longest pause that a host may ask for, together.
    """
    if config.job.stall_timeout:
        return config.job.stall_timeout
    pause = max(config.download.max_retry_after, LONGEST_BACKOFF_SECONDS)
    return 2 * (config.download.total_timeout + config.transform.timeout) + pause + SLACK_SECONDS


def watch(
    config: Config,
    moves: Callable[[], Iterable[int]],
    give_up: Callable[[str], None],
    save: Callable[[ExitCode], None],
    stacks_path: Path,
) -> "StallWatch":
    """The watch of a run: `give_up` hears why it is to be stopped, `save` saves it when it cannot be."""
    limit_seconds = stall_limit(config)
    why = f"no item began or ended for {limit_seconds:g} s ([job] stall_timeout)"
    return StallWatch(
        lambda: list(moves()),
        lambda: give_up(f"{why}; {stacks_path} says where every thread stood"),
        lambda: exit_by_force(
            ExitCode.INTERNAL, f"{why}, and the run cannot be stopped: leaving", lambda: save(ExitCode.INTERNAL)
        ),
        stacks_path,
        limit_seconds=limit_seconds,
    )


class StallWatch:
    """Looks at `progress` now and then; when it is the same for `limit_seconds`, calls `stop`.

    The stacks of all threads go to `stacks_path`. If the `with` block is not left within `last_seconds` after that,
    `leave` ends the process. Only time in which this process ran is counted: a stopped one (SIGSTOP, a sleeping
    laptop) has not stalled. `stop` and `leave` are called in the watch's own thread.
    """

    def __init__(
        self,
        progress: Callable[[], object],
        stop: Callable[[], None],
        leave: Callable[[], None],
        stacks_path: Path,
        *,
        limit_seconds: float,
        last_seconds: float = LAST_SECONDS,
    ) -> None:
        self._progress = progress
        self._stop = stop
        self._stacks_path = stacks_path
        self._limit_seconds = limit_seconds
        self._last_seconds = last_seconds
        self._leave = leave
        self._tick_seconds = min(5.0, limit_seconds / 4)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(self._last_seconds)

    def _watch(self) -> None:
        seen, quiet_seconds, looked = self._progress(), 0.0, time.monotonic()
        while not self._ended.wait(self._tick_seconds):
            progress, now = self._progress(), time.monotonic()
            quiet_seconds += min(now - looked, 2 * self._tick_seconds)
            looked = now
            if progress != seen:
                seen, quiet_seconds = progress, 0.0
            elif quiet_seconds >= self._limit_seconds:
                self._give_up()
                return

    def _give_up(self) -> None:
        call_within(STACKS_SECONDS, self._write_stacks)
        try:
            self._stop()
        finally:
            if not self._ended.wait(self._last_seconds):
                self._leave()

    def _write_stacks(self) -> None:
        with contextlib.suppress(OSError), self._stacks_path.open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
