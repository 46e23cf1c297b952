"""stdin, stdout and stderr in whatever state the program was given them: closed, full, or of an old encoding.

Used by the command line in its main process, before anything else is opened: a ledger that got descriptor 1 because
nobody else had it would be printed into. What cannot be written is dropped, and `finish` says so: a job's exit code
must not depend on who reads its words.
"""

import io
import os
import sys
from typing import TextIO


class _Patient(io.FileIO):
    """A descriptor whose writes never fail; `error` is the first one that would have."""

    error: OSError | None = None

    def write(self, content: object, /) -> int:
        """Writes, or pretends to."""
        try:
            return super().write(content) or 0  # type: ignore[arg-type]
        except OSError as error:
            self.error = self.error or error
            return len(memoryview(content))  # type: ignore[arg-type]


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
        _stdout = _Patient(1, "w", closefd=False)
        sys.stdout = _as_text(_stdout, sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _as_text(_Patient(2, "w", closefd=False), sys.__stderr__, by_line=True)


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
