"""The program's standard streams, in whatever state it got them, and its end: within a bound, with its exit code.

Used by the command line in its main process, before anything else is opened: a ledger that got descriptor 1 because
nobody else had it would be printed into. What cannot be written, or is not read in time, is dropped, and `flush_output`
reports it: neither a job's exit code nor its end may depend on who reads its output.
"""

import atexit
import codecs
import errno
import io
import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TextIO, TypeVar

from batchproc.redact import printable, redact_text
from batchproc.signals import ignore_all

T = TypeVar("T")

PATIENCE_SECONDS = {1: 60.0, 2: 5.0}  # with a reader that does not read, from its last byte on: results, messages
SAVE_SECONDS, SAY_SECONDS = 5.0, 1.0  # at most, before leaving by force: a disk and a terminal may hang
EXIT_SECONDS = 10.0  # for the interpreter's own end: it waits for threads and processes that others have started
PLAIN_LETTERS = "batchproc.plain_letters"
INSTEAD = {"µ": "u", "×": "x", "–": "-", "−": "-", "’": "'", "→": "->"}
PIECE_BYTES = select.PIPE_BUF  # a pipe that has room at all has room for so much


class _Patient(io.FileIO):
    """A descriptor whose writes neither fail nor wait without a bound; `error` is the first one that would have.

    A full pipe or a terminal on hold is waited for until `patience_seconds` are used up, and from then on not at all,
    until somebody reads again. Callers hold the lock of the buffer above.
    """

    error: OSError | None = None

    def __init__(self, descriptor: int, patience_seconds: float) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._patience_seconds = patience_seconds
        self._left_seconds = patience_seconds
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._may_wait = _may_wait(descriptor)

    def write(self, content: object, /) -> int:
        """Writes, or pretends to."""
        octets = memoryview(content).cast("B")  # type: ignore[arg-type]
        written = 0
        try:
            while written < len(octets):
                piece = octets[written : written + PIECE_BYTES] if self._may_wait else octets[written:]
                self._await_room()
                written += super().write(piece) or 0  # None: non-blocking, and no room after all
        except OSError as error:
            self.error = self.error or error
        return len(octets)

    def _await_room(self) -> None:
        """Raises TimeoutError when nobody has read for too long."""
        if not self._may_wait:
            return
        if not self._room.poll(1000 * self._left_seconds):
            self._left_seconds = 0.0
            raise TimeoutError(errno.ETIMEDOUT, f"nobody read it within {self._patience_seconds:g} s")
        self._left_seconds = self._patience_seconds


def _may_wait(descriptor: int) -> bool:
    """Whether a write may wait for a reader: a pipe, a socket, a terminal."""
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode))


_stdout: _Patient | None = None  # set once by `prepare_streams`, in the main thread


def prepare_streams() -> None:
    """Opens what is closed, and makes every text printable. Streams that somebody has replaced stay replaced.

    A closed stdin gets a descriptor, but `sys.stdin` stays None: a list that nobody gives is not an empty list.
    """
    global _stdout
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one
    if sys.stdout is sys.__stdout__:
        _stdout = _Patient(1, PATIENCE_SECONDS[1])
        sys.stdout = _as_text(_stdout, sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _as_text(_Patient(2, PATIENCE_SECONDS[2]), sys.__stderr__, by_line=True)


def flush_output() -> OSError | None:
    """Hands over what is still to be printed. Returns why not all of stdout was; a reader that left is no reason."""
    sys.stdout.flush()
    error = _stdout.error if _stdout is not None else None
    return None if isinstance(error, BrokenPipeError) else error


def end_output() -> None:
    """As `flush_output`; a command whose results are lost says so, and ends with exit code 1."""
    lost = flush_output()
    if lost is not None:
        sys.stderr.write(f"error: stdout cannot be written: {lost.strerror}\n")
        sys.exit(1)


def ignore_lost_output() -> OSError | None:
    """As `flush_output`, but what was lost so far is no error of the command any more."""
    lost = flush_output()
    if _stdout is not None:
        _stdout.error = None
    return lost


def speaks_unicode() -> bool:
    """Whether stdout takes every character as it is."""
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig")


def _spell(error: UnicodeError) -> tuple[str, int]:
    """What a stream that does not take a character gets instead: a letter that means the same, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    plain = (INSTEAD.get(one) or one.encode("ascii", "backslashreplace").decode() for one in letters)
    return "".join(plain), error.end


codecs.register_error(PLAIN_LETTERS, _spell)


def _as_text(raw: _Patient, before: TextIO | None, *, by_line: bool = False) -> io.TextIOWrapper:
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=PLAIN_LETTERS, line_buffering=by_line or raw.isatty()
    )


def exit_by_force(exit_code: int, why: str, save: Callable[[], None] = lambda: None) -> None:
    """Saves what can be saved soon, says why, and ends the process. From any thread.

    Nobody else can say it any more, so it is said whatever the display shows.
    """
    try:
        call_within(SAVE_SECONDS, save)
        call_within(SAY_SECONDS, lambda: _write_to_stderr(f"{why}; the same command continues.\n"))
    finally:
        os._exit(exit_code)


def report_bug(error: BaseException) -> None:
    """Reports a fault of the program itself on stderr: the traceback without its secrets, and what it means."""
    import traceback

    lines = redact_text("".join(traceback.format_exception(error))).splitlines()
    lines.append("error: this is a fault of batchproc itself; what is done is kept; exit 1")
    call_within(SAY_SECONDS, lambda: _write_to_stderr("".join(f"{printable(line)}\n" for line in lines)))


def call_within(seconds: float, act: Callable[[], None]) -> None:
    """Does something that may hang, and leaves it alone when it does."""
    thread = threading.Thread(target=act, name="bounded-call", daemon=True)
    thread.start()
    thread.join(seconds)


def result_within(seconds: float, act: Callable[[], T]) -> T:
    """What something comes to, or raises, that may hang. Raises TimeoutError when it does, and leaves it alone."""
    found: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            found.append(act())
        except Exception as error:  # noqa: BLE001  # the seam between threads: the caller's thread raises it again
            raised.append(error)

    call_within(seconds, run)
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer within {seconds:g} s")
    return found[0]


def prepare_exit() -> None:
    """Makes `exit_program` end the process behind all exit handlers; call it before any other module may register one.

    What the interpreter does after them cannot be bounded: from 3.12 on multiprocessing waits there for its resource
    tracker, and that for every process which has its pipe. Who was there first, as a coverage tool, comes last.
    """
    if not atexit._ncallbacks():
        atexit.register(_exit_at_end)


def exit_program(exit_code: int) -> NoReturn:
    """Ends the program, whose work is done: no signal disturbs it, and nothing keeps it. Main thread."""
    global _exit_code
    ignore_all()
    _exit_code = exit_code
    guard = threading.Timer(EXIT_SECONDS, os._exit, (exit_code,))
    guard.daemon = True
    with suppress(RuntimeError):  # there may be no room for a thread more
        guard.start()
    sys.exit(exit_code)


_exit_code: int | None = None  # set once by `exit_program`, in the main thread


def _exit_at_end() -> None:
    if _exit_code is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or not there at all
                stream.flush()
        os._exit(_exit_code)


def _write_to_stderr(text: str) -> None:
    """Past `sys.stderr`, whose lock another thread may hold. Below a bar, if there is one."""
    with suppress(OSError):
        os.write(2, (f"\n{text}" if os.isatty(2) else text).encode())
