"""How the program leaves: within a bound, with its exit code, whatever hangs."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from batchproc.redact import printable, redact_text
from batchproc.signals import ignore_all

SAVE_SECONDS, TELL_SECONDS = 5.0, 1.0  # at most, before leaving by force: a disk and a terminal may hang
LEAVE_SECONDS = 10.0  # for the interpreter's own end: it waits for threads and processes that others have started


def leave_by_force(exit_code: int, why: str, save: Callable[[], None] = lambda: None) -> None:
    """Saves what can be saved soon, says why, and ends the process. From any thread.

    Nobody else can say it any more, so it is said whatever the display shows.
    """
    try:
        spend_at_most(SAVE_SECONDS, save)
        spend_at_most(TELL_SECONDS, lambda: _write_to_stderr(f"{why}; the same command continues.\n"))
    finally:
        os._exit(exit_code)


def report_bug(error: BaseException) -> None:
    """Tells stderr of a fault of the program itself: the traceback without its secrets, and what it means."""
    import traceback

    told = redact_text("".join(traceback.format_exception(error))).splitlines()
    told.append("error: this is a fault of batchproc itself; what is done is kept; exit 1")
    spend_at_most(TELL_SECONDS, lambda: _write_to_stderr("".join(f"{printable(line)}\n" for line in told)))


def spend_at_most(seconds: float, act: Callable[[], None]) -> None:
    """Does something that may hang, and leaves it alone when it does."""
    thread = threading.Thread(target=act, name="last-act", daemon=True)
    thread.start()
    thread.join(seconds)


def prepare() -> None:
    """Makes `leave` end the process behind all exit handlers; call it before any other module may register one.

    What the interpreter does after them cannot be bounded: from 3.12 on multiprocessing waits there for its resource
    tracker, and that for every process which has its pipe. Who was there first, as a coverage tool, comes last.
    """
    if not atexit._ncallbacks():
        atexit.register(_end)


def leave(exit_code: int) -> NoReturn:
    """Ends the program, whose work is done: no signal disturbs it, and nothing keeps it. Main thread."""
    global _exit_code
    ignore_all()
    _exit_code = exit_code
    guard = threading.Timer(LEAVE_SECONDS, os._exit, (exit_code,))
    guard.daemon = True
    with suppress(RuntimeError):  # there may be no room for a thread more
        guard.start()
    sys.exit(exit_code)


_exit_code: int | None = None  # set once by `leave`, in the main thread


def _end() -> None:
    if _exit_code is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or not there at all
                stream.flush()
        os._exit(_exit_code)


def _write_to_stderr(text: str) -> None:
    """Past `sys.stderr`, whose lock another thread may hold. Below a bar, if there is one."""
    with suppress(OSError):
        os.write(2, (f"\n{text}" if os.isatty(2) else text).encode())
