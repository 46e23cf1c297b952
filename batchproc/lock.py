"""The run lock: one run per job at a time, on this machine, whatever happens to the holder.

`flock` belongs to the open file: the kernel gives it back when the holder ends, even by `kill -9`. The text in the
file is only for the message of the second run; it is never believed. A network file system may not honour the lock
between machines; the preflight refuses those for the ledger.
"""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from msgspec import Struct

from batchproc.errors import LockHeldError, UsageError

POLL_SECONDS = 0.5
PEEK_SECONDS = 0.01


class RunLock:
    """Holds the lock for the length of a `with` block. Not reentrant; use it from one thread.

    Raises `LockHeldError`, naming the holder, when another process has it and keeps it for `wait_seconds`; `notify`
    is called when there is something to wait for.
    """

    def __init__(
        self,
        path: Path,
        *,
        wait_seconds: float = 0.0,
        notify: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._wait_seconds = wait_seconds
        self._notify = notify
        self._sleep = sleep
        self._descriptor = -1
        self._waited_seconds = 0.0
        self._holder = ""

    def __enter__(self) -> Self:
        descriptor = _open(self._path)
        try:
            self._acquire(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _write_holder(descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)  # the file stays: removing it would let two runs lock two files of one name
        self._descriptor = -1

    @contextlib.contextmanager
    def forgetting(self) -> Iterator[None]:
        """Takes the holder's name out again at the end of the block: what held the lock was no run of the job."""
        try:
            yield
        finally:
            os.ftruncate(self._descriptor, 0)

    def _acquire(self, descriptor: int) -> None:
        """Tries again and again: a blocking `flock` could only be ended by a signal."""
        while not _try_twice(descriptor):
            self._holder, waited = _describe_holder(descriptor), self._waited_seconds
            if waited >= self._wait_seconds:
                limit = f" after {waited:g} s" if waited else ""
                raise LockHeldError(
                    f"{self._path}: another run of this job holds the lock{limit}{self._holder}. "
                    "Wait for its end, or stop it."
                )
            if not waited:
                self._notify(f"waiting up to {self._wait_seconds:g} s for another run of this job{self._holder}")
            pause = min(POLL_SECONDS, self._wait_seconds - waited)
            self._sleep(pause)
            self._waited_seconds += pause

    def describe(self) -> str:
        """What it is waiting for, for whoever asks. From any thread."""
        waited = f", {self._waited_seconds:.0f} s so far, {self._wait_seconds:g} s at most" if self._holder else ""
        return f"waiting for another run of this job{self._holder}{waited}" if waited else "taking the run lock"

    def __repr__(self) -> str:
        return f"<RunLock {self._path} {'held' if self._descriptor >= 0 else 'free'}>"


def _try(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_twice(descriptor: int) -> bool:
    """A `find_holder` at work has the lock for some microseconds: it must turn nobody away."""
    if _try(descriptor):
        return True
    time.sleep(PEEK_SECONDS)
    return _try(descriptor)


class Holder(Struct, frozen=True, kw_only=True):
    """The run that holds a lock."""

    pid: int
    started: str  # UTC, ISO 8601


def find_holder(path: Path) -> Holder | None:
    """Who holds the lock at `path`: it is tried for a moment, which works from any container, and given back at once.

    The file's text says who, and is believed only while the lock is held. Changes nothing.
    """
    return _look_up(path, lambda descriptor: not _try(descriptor, fcntl.LOCK_SH))


def read_last_holder(path: Path) -> Holder | None:
    """Who took the lock at `path` last, whether he holds it still or not; None where the file does not say.

    For messages alone: what ended before it could write anything else is known by this. Changes nothing.
    """
    return _look_up(path, lambda _: True)


def _look_up(path: Path, is_believed: Callable[[int], bool]) -> Holder | None:
    descriptor = _open_to_read(path)
    if descriptor is None:
        return None
    try:
        return _read_holder(descriptor) if is_believed(descriptor) else None
    finally:
        os.close(descriptor)  # and with it the lock


def _read_holder(descriptor: int) -> Holder | None:
    """The holder as the lock file names it; None while it has not written its name yet."""
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return Holder(pid=int(holder["pid"]), started=str(holder["started"]))
    except (ValueError, KeyError, TypeError):
        return None


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise UsageError(f"{path}: the lock file cannot be opened: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: this is no file, where the lock belongs. Move it away, or choose another output.")
    return descriptor


def _open_to_read(path: Path) -> int | None:
    """The lock file, if it is there and is one. Opening a named pipe must not wait for its other end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _write_holder(descriptor: int) -> None:
    """Names this process, over the last holder's name; a disk without room for it is no reason not to run."""
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = json.dumps({"pid": os.getpid(), "started": started}).encode()
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))


def _describe_holder(descriptor: int) -> str:
    """` (pid 4711, started …)`, or nothing while the holder has not written it yet."""
    holder = _read_holder(descriptor)
    return f" (pid {holder.pid}, started {holder.started})" if holder else ""
