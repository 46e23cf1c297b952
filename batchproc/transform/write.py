"""Writes an image, and its original to keep, so that an OSError from here is about the disk and about nothing else."""

import errno
import itertools
import os
import stat
from pathlib import Path

from batchproc.errors import Code, StageError
from batchproc.failpoints import failpoint

SLICE_BYTES = 65_536  # per call: most renditions take one, and a large one can be interrupted halfway

_counter = itertools.count()  # next() is atomic: threads of one process never share a name
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CODES = {
    errno.ENOSPC: Code.IO_NOSPACE,
    errno.EDQUOT: Code.IO_NOSPACE,
    errno.EACCES: Code.IO_PERM,
    errno.EPERM: Code.IO_PERM,
}


def write_temporary(data: bytes, *, folder: str, key_hex: str, durable: bool) -> str:
    """Writes `data` to a new file `<folder>/<key>.<pid>.<n>.part` and returns its path; `durable`: with fsync.

    The mode is left to the umask. The file is there whole or not at all. Raises `StageError`: io.nospace, io.perm,
    io.other.
    """
    path = f"{folder}/{key_hex}.{os.getpid()}.{next(_counter)}.part"
    try:
        descriptor = os.open(path, _FLAGS, 0o666)
    except OSError as error:
        raise _failure(error) from error
    failpoint("transform.temporary_open")
    try:
        _fill(descriptor, data, durable=durable)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise _failure(error) from error
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    failpoint("transform.written")
    return path


def keep_original(content: bytes, *, root: str, name: str, folder: str, key_hex: str, durable: bool) -> int:
    """Writes the bytes as downloaded to `<root>/<name>`, unless they are there; returns how many were written.

    `folder` is that of the temporary files, on the same device. Whole or not at all, and before the item's row names
    it: a kill leaves no row without its original. Raises `StageError`, as `write_temporary` does.
    """
    path = f"{root}/{name}"
    if _is_there(path, len(content)):
        return 0
    temporary = write_temporary(content, folder=folder, key_hex=key_hex, durable=durable)
    failpoint("transform.original_written")
    try:
        _make_folder(Path(path).parent)
        Path(temporary).replace(path)
        if durable:
            _sync(Path(path).parent)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _failure(error) from error
    failpoint("transform.original_kept")
    return len(content)


def _is_there(path: str, size_bytes: int) -> bool:
    """Whether a file of this size has the name, which is the hash of what belongs into it."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116  # per image
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failure(error) from error
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _make_folder(path: Path) -> None:
    """Makes the folder, and `originals` above it, but no more: an output that vanished must not rise from the dead."""
    path.parent.mkdir(exist_ok=True)
    path.mkdir(exist_ok=True)


def _sync(path: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, data: bytes, *, durable: bool) -> None:
    """Writes every byte, syncs when asked, and closes: an error of the close counts, a failed sync is not repeated."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest[:SLICE_BYTES]) :]
            if rest:
                failpoint("transform.mid_write")
        if durable:
            os.fsync(descriptor)
    except BaseException:
        _close_quietly(descriptor)
        raise
    os.close(descriptor)


def _close_quietly(descriptor: int) -> None:
    """Closes after an error: the first error is the one to report."""
    try:
        os.close(descriptor)
    except OSError:
        return


def _failure(error: OSError) -> StageError:
    code = _CODES.get(error.errno or 0, Code.IO_OTHER)
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return StageError(code, f"the image cannot be written: {os.strerror(error.errno or 0)} ({name})")
