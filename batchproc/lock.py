"""The run lock: one run per job at a time, on this machine, whatever happens to the holder.

`flock` belongs to the open file: the kernel gives it back when the holder ends, even by `kill -9`. The text in the
file is only for the message of the second run; it is never believed. A network file system may not honour the lock
between machines; the preflight refuses those for the ledger.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from batchproc.errors import LockHeldError, UsageError

POLL_SECONDS = 0.5
LOCKS_PATH = Path("/proc/locks")


class RunLock:
    """Holds the lock for the length of a `with` block. Not reentrant; use it from one thread.

    Raises `LockHeldError`, naming the holder, when another process has it and keeps it for `wait_seconds`; `tell`
    hears that there is something to wait for.
    """

    def __init__(
        self,
        path: Path,
        *,
        wait_seconds: float = 0.0,
        tell: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._wait_seconds = wait_seconds
        self._tell = tell
        self._sleep = sleep
        self._descriptor = -1

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)  # the file stays: removing it would let two runs lock two files of one name
        self._descriptor = -1

    def _acquire(self, descriptor: int) -> None:
        """Tries again and again: a blocking `flock` could only be ended by a signal."""
        waited = 0.0
        while not _try(descriptor):
            holder = _describe_holder(descriptor)
            if waited >= self._wait_seconds:
                limit = f" after {waited:g} s" if waited else ""
                raise LockHeldError(
                    f"{self._path}: another run of this job holds the lock{limit}{holder}. "
                    "Wait for its end, or stop it."
                )
            if not waited:
                self._tell(f"waiting up to {self._wait_seconds:g} s for another run of this job{holder}")
            pause = min(POLL_SECONDS, self._wait_seconds - waited)
            self._sleep(pause)
            waited += pause

    def __repr__(self) -> str:
        return f"<RunLock {self._path} {'held' if self._descriptor >= 0 else 'free'}>"


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The run that holds a lock."""

    pid: int
    started: str  # UTC, ISO 8601


def find_holder(path: Path, locks_path: Path = LOCKS_PATH) -> Holder | None:
    """Who holds the lock at `path`, without touching it: a test lock could turn away a run that starts just then.

    The file's text is checked against proc_locks(5); where that is not there, against the living processes.
    """
    try:
        holder, inode = _read_holder(path.read_bytes()[:1000]), path.stat().st_ino
    except OSError:
        return None
    if holder is None:
        return None
    try:
        locks = locks_path.read_text(encoding="ascii").splitlines()
    except OSError:
        return holder if _is_alive(holder.pid) else None
    return holder if any(_names(line.split(), holder.pid, inode) for line in locks) else None


def _names(fields: list[str], pid: int, inode: int) -> bool:
    """Whether a line as `1: FLOCK  ADVISORY  WRITE 4711 fe:00:262146 0 EOF` is this lock."""
    return len(fields) > 5 and fields[1] == "FLOCK" and fields[4] == str(pid) and fields[5].endswith(f":{inode}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # somebody else's
        return True
    except OSError:
        return False
    return True


def _read_holder(content: bytes) -> Holder | None:
    """The holder as the lock file names it; None while it has not written its name yet."""
    try:
        holder = json.loads(content)
        return Holder(pid=int(holder["pid"]), started=str(holder["started"]))
    except (ValueError, KeyError, TypeError):
        return None


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise UsageError(f"{path}: the lock file cannot be opened: {error.strerror}.") from error


def _write_holder(descriptor: int) -> None:
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "started": started}).encode(), 0)


def _describe_holder(descriptor: int) -> str:
    """` (pid 4711, started …)`, or nothing while the holder has not written it yet."""
    holder = _read_holder(os.pread(descriptor, 1000, 0))
    return f" (pid {holder.pid}, started {holder.started})" if holder else ""
