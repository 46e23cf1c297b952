"""What ends a run early: the user's signals in three steps, the clock of `max_duration`, and a watchdog.

The listener of `signals` passes every signal on to the control's own thread, which waits for them and for the clock.
The watchdog ends a run that no longer moves: whatever the reason, a scheduled run must not hang until somebody looks.
Every wait has its own limit, and this is the one behind them all. It says where every thread stands, stops the
workers, and leaves the process if even that does not help; the ledger is committed up to the last half second.
"""

import contextlib
import faulthandler
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from msgspec import Struct

from batchproc import signals
from batchproc.errors import ExitCode
from batchproc.lifecycle import call_within, exit_by_force

ENDING = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.TERMINATED}
END, CLOCK = 0, -1  # no signal has these numbers: the thread's end, and that the alarm is another now
FINISHING_SECONDS = 180.0  # without any movement while a run is being finished: more than the ledger's own patience
LAST_SECONDS = 10.0  # from "stop at once" to leaving by force, for what nothing can stop: a step in this very process


class StopHandlers(Struct, frozen=True, kw_only=True):
    """What the control can pull while the line runs. Each is callable from any thread."""

    admit_no_more: Callable[[], None]
    stop_at_once: Callable[[], None]
    save: Callable[[ExitCode], None] = lambda _: None  # the last thing before leaving by force with this code


class Control:
    """Around a run; from `take_over` on it hears the signals that end one. Outside the main thread it only has a clock.

    First signal: nothing more starts, what is in flight may finish within `grace_seconds`. Second: workers are killed.
    Third: the process leaves at once, also when the ledger cannot be committed within some seconds. A message that
    cannot be shown never keeps it from acting: it acts first.
    """

    def __init__(
        self, notify: Callable[[str], None], *, grace_seconds: float, max_duration_seconds: float = 0.0
    ) -> None:
        self.stopped_by: str | None = None  # "signal" or "duration"; written by the control's thread alone
        self.exit_code: ExitCode | None = None
        self._notify = notify
        self._handlers: StopHandlers | None = None
        self._grace_seconds = grace_seconds
        self._alarm = time.monotonic() + max_duration_seconds if max_duration_seconds else None
        self._signals = 0
        self._stopping = False
        self._finishing = False
        self._seen = ""  # what was being done when the alarm was set
        self._requests: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._open = ExitStack()
        self._lock = threading.Lock()  # guards `_handlers` and the steps taken with them
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def take_over(self) -> None:
        """A signal raises nothing any more: what it asks for is done here, to the end of the `with` block."""
        self._open.enter_context(signals.handled_by(self._requests.put))
        self._thread.start()
        self._open.callback(self._end)

    def interrupt(self) -> None:
        """Acts as on a first SIGINT. From any thread."""
        self._requests.put(signal.SIGINT)

    def _end(self) -> None:
        self._requests.put(END)
        self._thread.join(self._grace_seconds + LAST_SECONDS)

    def take(self, handlers: StopHandlers) -> None:
        """Gets hold of the handlers of the line that starts now; pulls at once what was asked for meanwhile."""
        with self._lock:
            self._handlers = handlers
            if self.stopped_by is not None:
                handlers.admit_no_more()
            if self._stopping:
                self._alarm = time.monotonic() + LAST_SECONDS
                handlers.stop_at_once()
        self._requests.put(CLOCK)

    def let_go(self) -> None:
        """The line has ended: there is nothing left to stop. What is being finished may only be left."""
        with self._lock:
            self._finishing = True
            self._set_alarm_of_finish()
        self._requests.put(CLOCK)

    def settle(self, exit_code: ExitCode) -> None:
        """The run has ended with this code, whatever may come now."""
        self.exit_code = exit_code

    def _listen(self) -> None:
        while True:
            alarm = self._alarm
            timeout = None if alarm is None else max(0.0, alarm - time.monotonic())
            try:
                number = self._requests.get(timeout=timeout)
            except queue.Empty:
                if self._alarm == alarm:
                    self._alarm_rings()
                continue
            if number == END:
                return
            if number in ENDING:
                self._signals += 1
                self._handle_signal(signal.Signals(number))

    def _handle_signal(self, number: signal.Signals) -> None:
        if self._finishing and self._signals == 1:
            self.exit_code, self.stopped_by = ENDING[number], self.stopped_by or "signal"
            self._set_alarm_of_finish()
            self._say(f"{number.name}: the run is being finished: {signals.current()}. Once more leaves at once.")
        elif self._finishing:
            self._leave_by_force(self.exit_code or ENDING[number], f"{number.name} again: leaving at once")
        elif self._signals == 1:
            self.exit_code = ENDING[number]
            self._admit_no_more("signal")
            self._say(
                f"{number.name}: nothing more starts; what is in flight may finish within {self._grace_seconds:g} s. "
                "Once more stops it at once."
            )
        elif self._signals == 2:
            self._stop_at_once()
            self._say(f"{number.name} again: stopping at once.")
        else:
            self._leave_by_force(ENDING[number], f"{number.name} for the third time: leaving at once")

    def _alarm_rings(self) -> None:
        """`max_duration` has passed; or after that, or a signal, the grace; or what was to stop at once has not."""
        if self._finishing:
            self._look_at_finish()
        elif self.stopped_by is None:
            self._admit_no_more("duration")
            self._say("max_duration reached: nothing more starts; the same command continues.")
        elif not self._stopping:
            self._stop_at_once()
            self._say("the grace is over: stopping what is still in flight.")
        else:
            why = "something in this process does not end: leaving without it"  # as a step that hangs
            self._leave_by_force(self.exit_code or ExitCode.INTERNAL, why)

    def _set_alarm_of_finish(self) -> None:
        self._seen = signals.current()
        self._alarm = time.monotonic() + (LAST_SECONDS if self._signals else FINISHING_SECONDS)

    def _look_at_finish(self) -> None:
        """What is being done says how far it is: when it says the same again, it hangs, most likely on the disk."""
        if signals.current() == self._seen:
            self._leave_by_force(self.exit_code or ExitCode.DISK, f"{self._seen}: this does not move any more: leaving")
        self._set_alarm_of_finish()

    def _admit_no_more(self, reason: str) -> None:
        with self._lock:
            self.stopped_by = self.stopped_by or reason
            if self._handlers is not None and not self._finishing:
                self._handlers.admit_no_more()
                self._alarm = time.monotonic() + self._grace_seconds

    def _stop_at_once(self) -> None:
        with self._lock:
            self._stopping = True
            self._alarm = None
            if self._handlers is not None and not self._finishing:
                self._alarm = time.monotonic() + LAST_SECONDS
                self._handlers.stop_at_once()

    def _leave_by_force(self, exit_code: ExitCode, why: str) -> None:
        """The run lock must not stay held. Says why whatever the display shows: nobody else can say it any more."""
        handlers = self._handlers or StopHandlers(admit_no_more=_do_nothing, stop_at_once=_do_nothing)
        exit_by_force(exit_code, why, lambda: handlers.save(exit_code))

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # stderr may be gone, with the terminal or with `| tee`
            self._notify(text)


def _do_nothing() -> None:
    """There is no line."""


AFTER_STALL_SECONDS = 60.0  # for the run to end by itself, once it was stopped
STACKS_SECONDS = 5.0  # at most, for a disk that hangs


class Watchdog:
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
        last_seconds: float = AFTER_STALL_SECONDS,
    ) -> None:
        self._progress = progress
        self._stop = stop
        self._stacks_path = stacks_path
        self._limit_seconds = limit_seconds
        self._last_seconds = last_seconds
        self._leave = leave
        self._tick_seconds = min(5.0, limit_seconds / 4)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
