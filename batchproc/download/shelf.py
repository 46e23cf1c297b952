"""What the worker processes of a run have read of robots.txt, for each other: a file per origin, under its `flock`.

Whoever reads an origin's robots.txt holds the lock of its file meanwhile; the others wait, and take what came of it.
The kernel frees the lock of a process that is killed, and what that left half-written is no JSON: the next one reads.
A shelf that cannot be used (a full disk) is done without: each process then reads for itself.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import replace

from batchproc.download.rules import Reading
from batchproc.errors import Retry

_POLL_SECONDS = 0.01


class Shelf:
    """The readings in a folder that all worker processes of a run share. `clock` is one for all processes."""

    def __init__(self, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = Path(folder)
        self._clock = clock

    def find(
        self, key: tuple[str, ...], read: Callable[[], Reading], check: Callable[[], None], *, patience_seconds: float
    ) -> Reading:
        """What another process has read, or reads while this one waits; else what `read` returns, for all.

        `check` is called now and then while waiting and may raise. A reader that does not end in `patience_seconds`
        is not waited for any longer. Raises what `read` raises: the next process then reads.
        """
        asked = self._clock()
        name = blake2b("\0".join(key).encode(), digest_size=16).hexdigest()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._folder / name, flags, 0o600)
        except OSError:
            return read()
        try:
            if not self._acquire(descriptor, asked + patience_seconds, check):
                return read()
            reading = self._load(descriptor, asked)
            if reading is None:
                reading = read()
                self._store(descriptor, reading)
            return reading
        finally:
            os.close(descriptor)  # and with it the lock

    def _acquire(self, descriptor: int, end: float, check: Callable[[], None]) -> bool:
        """Tries again and again: a blocking `flock` could only be ended by a signal."""
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                check()
            except OSError:  # no locks here, or none left
                return False
            else:
                return True
            if self._clock() >= end:
                return False
            time.sleep(_POLL_SECONDS)

    def _load(self, descriptor: int, asked: float) -> Reading | None:
        """What is on the shelf, when it still holds, or was read after this process had `asked` for it."""
        try:
            found = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            read_at = float(found.pop("read_at"))
            reading = Reading(**{**found, "retry": Retry(found["retry"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        age = max(0.0, self._clock() - read_at)
        return replace(reading, age_seconds=age) if read_at >= asked or age < reading.keep_seconds else None

    def _store(self, descriptor: int, reading: Reading) -> None:
        content = json.dumps({**to_builtins(reading), "read_at": self._clock()}).encode()
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)
