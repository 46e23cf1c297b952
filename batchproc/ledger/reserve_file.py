"""A file that only takes up room, so that a full disk still has some for the last commit and the report."""

import errno
import os
import stat
from pathlib import Path

RESERVE_BYTES = 1024 * 1024


class ReserveFile:
    """One reserved file at `path`. `release` may be called from any thread, more than once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def reserve(self) -> None:
        """Takes the room. Raises OSError (ENOSPC) when there is none, or when something else has the file's name."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileExistsError(errno.EEXIST, "there is something else than a file", str(self._path))
            missing_bytes = RESERVE_BYTES - os.fstat(descriptor).st_size
            if missing_bytes > 0:
                # Real zeros: a sparse file takes no room, and not every file system can reserve any other way.
                os.lseek(descriptor, 0, os.SEEK_END)
                _write_all(descriptor, bytes(missing_bytes))
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Gives the room back."""
        self._path.unlink(missing_ok=True)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
