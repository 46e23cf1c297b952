"""Who may end a run early: the user's signals in three steps, and the clock of `max_duration`.

A Python signal handler cannot wake a main thread that waits for a lock. So the handlers do nothing; the interpreter
writes each signal's number to a socket (`signal.set_wakeup_fd`), and one thread reads it and acts.
"""

import contextlib
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

from batchproc.errors import ExitCode

ENDING = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.TERMINATED}
WAKE = 0  # no signal has this number: `__exit__` writes it
SAVE_SECONDS, TELL_SECONDS = 5.0, 1.0  # at most, before leaving by force: a disk and a terminal may hang
LAST_SECONDS = 10.0  # from "stop at once" to leaving by force, for what nothing can stop: a step in this very process


@dataclass(frozen=True, slots=True, kw_only=True)
class Brakes:
    """What the control can pull while the line runs. Each is callable from any thread."""

    admit_no_more: Callable[[], None]
    stop_at_once: Callable[[], None]
    save: Callable[[ExitCode], None] = lambda _: None  # the last thing before leaving by force with this code
    show_progress: Callable[[], None] = lambda: None


class Control:
    """Listens from the first moment of a run to its last. Enter it in the main thread; elsewhere it has only its clock.

    First signal: nothing more starts, what is in flight may finish within `grace_seconds`. Second: workers are killed.
    Third: the process leaves at once, also when the ledger cannot be committed within `SAVE_SECONDS`. A message that
    cannot be shown never keeps it from acting: it acts first.
    """

    def __init__(
        self, tell: Callable[[str], None], *, grace_seconds: float, max_duration_seconds: float = 0.0
    ) -> None:
        self.stopped_by: str | None = None  # "signal" or "duration"; written by the control's thread alone
        self.exit_code: ExitCode | None = None
        self._tell = tell
        self._brakes: Brakes | None = None
        self._grace_seconds = grace_seconds
        self._alarm = time.monotonic() + max_duration_seconds if max_duration_seconds else None
        self._signals = 0
        self._stopping = False
        self._before: dict[int, Any] = {}
        self._ended = False
        self._lock = threading.Lock()  # guards `_brakes` and the steps taken with them
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            self._before[-1] = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            for number in (*ENDING, signal.SIGUSR1):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP: so do we then
                    self._before[number] = signal.signal(number, _do_nothing)
            if sys.__stderr__ is not None:
                faulthandler.register(signal.SIGUSR2, file=sys.__stderr__, all_threads=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        with contextlib.suppress(BlockingIOError):  # a full buffer wakes the thread as well
            self._writer.send(bytes([WAKE]))
        self._thread.join(self._grace_seconds + LAST_SECONDS)
        if self._before:
            signal.set_wakeup_fd(self._before.pop(-1))
            faulthandler.unregister(signal.SIGUSR2)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def take(self, brakes: Brakes) -> None:
        """Gets hold of the brakes of the line that starts now; pulls at once what was asked for meanwhile."""
        with self._lock:
            self._brakes = brakes
            if self.stopped_by is not None:
                brakes.admit_no_more()
            if self._stopping:
                brakes.stop_at_once()

    def let_go(self) -> None:
        """The line has ended: a signal that comes now decides the exit code, and nothing else."""
        with self._lock:
            self._brakes, self._alarm = None, None

    def _listen(self) -> None:
        while not self._ended:
            alarm = self._alarm
            timeout = None if alarm is None else max(0.0, alarm - time.monotonic())
            if select.select([self._reader], [], [], timeout)[0]:
                for number in self._reader.recv(64):
                    self._hear(number)
            elif self._alarm == alarm:
                self._alarm_rings()

    def _hear(self, number: int) -> None:
        brakes = self._brakes
        if number == signal.SIGUSR1 and brakes is not None:
            brakes.show_progress()
        elif number in ENDING:
            self._signals += 1
            self._brake(signal.Signals(number))

    def _brake(self, number: signal.Signals) -> None:
        if self._signals == 1:
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
        if self.stopped_by is None:
            self._admit_no_more("duration")
            self._say("max_duration reached: nothing more starts; the same command continues.")
        elif not self._stopping:
            self._stop_at_once()
            self._say("the grace is over: stopping what is still in flight.")
        else:
            why = "something in this process does not end: leaving without it"  # as a step that hangs
            self._leave_by_force(self.exit_code or ExitCode.INTERNAL, why)

    def _admit_no_more(self, reason: str) -> None:
        with self._lock:
            self.stopped_by = self.stopped_by or reason
            if self._brakes is not None:
                self._brakes.admit_no_more()
                self._alarm = time.monotonic() + self._grace_seconds

    def _stop_at_once(self) -> None:
        with self._lock:
            self._stopping = True
            self._alarm = None
            if self._brakes is not None:
                self._alarm = time.monotonic() + LAST_SECONDS
                self._brakes.stop_at_once()

    def _leave_by_force(self, exit_code: ExitCode, why: str) -> None:
        """The run lock must not stay held. Says why whatever the display shows: nobody else can say it any more."""
        brakes = self._brakes
        try:
            if brakes is not None:
                _spend_at_most(SAVE_SECONDS, lambda: brakes.save(exit_code))
            _spend_at_most(TELL_SECONDS, lambda: _write_to_stderr(f"{why}; the same command continues.\n"))
        finally:
            os._exit(exit_code)

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # stderr may be gone, with the terminal or with `| tee`
            self._tell(text)


def _spend_at_most(seconds: float, act: Callable[[], None]) -> None:
    """Does something that may hang, and leaves it alone when it does."""
    thread = threading.Thread(target=act, name="last-act", daemon=True)
    thread.start()
    thread.join(seconds)


def _write_to_stderr(text: str) -> None:
    """Past `sys.stderr`, whose lock another thread may hold. Below a bar, if there is one."""
    with contextlib.suppress(OSError):
        os.write(2, (f"\n{text}" if os.isatty(2) else text).encode())


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Only a Python-level handler makes the interpreter write to the wakeup descriptor."""
