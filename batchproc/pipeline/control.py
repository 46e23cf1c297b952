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
WAKE = 0  # no signal has this number: `__exit__` and `watch` write it themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Brakes:
    """What the control can pull. Each is callable from any thread."""

    admit_no_more: Callable[[], None]
    stop_at_once: Callable[[], None]
    tell: Callable[[str], None]  # a sentence for the user
    show_progress: Callable[[], None] = lambda: None


class Control:
    """Listens while a run is under way. Enter it in the main thread; elsewhere it hears no signals, only its clock.

    First signal: nothing more starts, what is in flight may finish within `grace_seconds`. Second: workers are killed.
    Third: the process leaves at once; the ledger is committed up to the last half second.
    """

    def __init__(self, brakes: Brakes, *, grace_seconds: float, max_duration_seconds: float = 0.0) -> None:
        self.stopped_by: str | None = None  # "signal" or "duration"; written by the control's thread alone
        self.exit_code: ExitCode | None = None
        self._brakes = brakes
        self._grace_seconds = grace_seconds
        self._alarm = time.monotonic() + max_duration_seconds if max_duration_seconds else None
        self._signals = 0
        self._before: dict[int, Any] = {}
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._ended = False
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)

    def __enter__(self) -> Self:
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
        self._thread.join(self._grace_seconds + 10)
        if self._before:
            signal.set_wakeup_fd(self._before.pop(-1))
            faulthandler.unregister(signal.SIGUSR2)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _listen(self) -> None:
        while not self._ended:
            timeout = None if self._alarm is None else max(0.0, self._alarm - time.monotonic())
            if not select.select([self._reader], [], [], timeout)[0]:
                self._alarm_rings()
                continue
            for number in self._reader.recv(64):
                self._hear(number)

    def _hear(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._brakes.show_progress()
        elif number in ENDING:
            self._signals += 1
            self._brake(signal.Signals(number))

    def _brake(self, number: signal.Signals) -> None:
        if self._signals == 1:
            self.stopped_by, self.exit_code = "signal", ENDING[number]
            self._brakes.admit_no_more()
            self._alarm = time.monotonic() + self._grace_seconds
            self._brakes.tell(
                f"{number.name}: nothing more starts; what is in flight may finish within {self._grace_seconds:g} s. "
                "Once more stops it at once."
            )
        elif self._signals == 2:
            self._brakes.tell(f"{number.name} again: stopping at once.")
            self._stop_now()
        else:
            os._exit(ENDING[number])

    def _alarm_rings(self) -> None:
        """`max_duration` has passed, or after that (or a signal) the grace has."""
        if self.stopped_by is None:
            self.stopped_by = "duration"
            self._brakes.admit_no_more()
            self._alarm = time.monotonic() + self._grace_seconds
            self._brakes.tell("max_duration reached: nothing more starts; the same command continues.")
        else:
            self._brakes.tell("the grace is over: stopping what is still in flight.")
            self._stop_now()

    def _stop_now(self) -> None:
        self._alarm = None
        self._brakes.stop_at_once()


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Only a Python-level handler makes the interpreter write to the wakeup descriptor."""
