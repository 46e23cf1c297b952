"""The run lock: one run per job at a time, on this machine, whatever happens to the holder.

`flock` belongs to the open file: the kernel gives it back when the holder ends, even by `kill -9`. The text in the
file is only for the message of the second run; it is never believed. A network file system may not honour the lock
between machines; the preflight refuses those for the ledger.
"""

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from batchproc.errors import LockHeldError, UsageError


class RunLock:
    """Holds the lock for the length of a `with` block. Not reentrant; use it from one thread.

    Raises `LockHeldError`, naming the holder, when another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        descriptor = _open(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _describe_holder(descriptor)
            os.close(descriptor)
            raise LockHeldError(
                f"{self._path}: another run of this job holds the lock{holder}. Wait for its end, or stop it."
            ) from None
        self._descriptor = descriptor
        _write_holder(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)  # the file stays: removing it would let two runs lock two files of one name
        self._descriptor = -1

    def __repr__(self) -> str:
        return f"<RunLock {self._path} {'held' if self._descriptor >= 0 else 'free'}>"


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
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f" (pid {int(holder['pid'])}, started {holder['started']})"
    except (ValueError, KeyError, TypeError):
        return ""
