"""stdin, stdout and stderr in whatever state the program was given them: closed, full, or of an old encoding.

Used by the command line in its main process, before anything else is opened: a ledger that got descriptor 1 because
nobody else had it would be printed into. What cannot be written, or is not read in time, is dropped, and `finish` says
so: neither a job's exit code nor its end may depend on who reads its words.
"""

import errno
import io
import os
import select
import stat
import sys
from typing import TextIO

PATIENCE_SECONDS = {1: 60.0, 2: 5.0}  # with a reader that does not read, from its last byte on: results, messages
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


_stdout: _Patient | None = None  # set once by `prepare`, in the main thread


def prepare() -> None:
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


def finish() -> OSError | None:
    """Hands over what is still to be printed. Returns why not all of stdout was; a reader that left is no reason."""
    sys.stdout.flush()
    error = _stdout.error if _stdout is not None else None
    return None if isinstance(error, BrokenPipeError) else error


def forgive() -> OSError | None:
    """As `finish`, but what was lost so far is no error of the command any more."""
    lost = finish()
    if _stdout is not None:
        _stdout.error = None
    return lost


def speaks_unicode() -> bool:
    """Whether stdout takes every character as it is."""
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig")


def _as_text(raw: _Patient, before: TextIO | None, *, by_line: bool = False) -> io.TextIOWrapper:
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=by_line or raw.isatty()
    )
