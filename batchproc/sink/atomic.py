"""Files and links that are replaced whole: a reader sees the old one or the new one, never a half."""

import glob
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from batchproc.failpoints import failpoint

BLOCK_BYTES = 256 * 1024


def write_atomically(
    path: Path, chunks: Iterable[bytes], *, keep_equal: bool = False, mode: int | None = None
) -> bool:
    """Writes a file under a temporary name in the same folder, then gives it its name. `mode` None: by umask.

    `keep_equal`: a file that already has this content is left alone, times and all. Returns whether it was replaced.
    Raises OSError naming `path`, and whatever `chunks` raises; then the old file stays and the temporary one goes.
    """
    temporary = _temporary_path(path)
    try:
        digest = _write(temporary, chunks, mode)
        if keep_equal and digest == _hash_file(path):
            return False
        failpoint("sink.before_replace")
        temporary.replace(path)
        return True
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def point_atomically(link: Path, target: Path) -> None:
    """Makes `link` a relative symbolic link to `target`, replacing one that is there. Raises OSError naming `link`."""
    temporary = _temporary_path(link)
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(target, link.parent))
        temporary.replace(link)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(link)) from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep_temporary(folder: Path, name: str = "", *, own: bool = False) -> None:
    """Removes what a killed process of ours left half-written in `folder`, or there beside the file `name` alone.

    The temporary files of living processes stay. `own`: this process has written none yet, so one under its pid goes.
    """
    for path in folder.glob(f".{glob.escape(name) or '*'}.*.tmp"):
        pid = path.name.split(".")[-2]
        if pid.isdecimal() and ((own and int(pid) == os.getpid()) or not _is_alive(int(pid))):
            path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _write(path: Path, chunks: Iterable[bytes], mode: int | None) -> bytes:
    """Writes a new file; returns the hash of what was written. O_EXCL: a planted link is not followed."""
    path.unlink(missing_ok=True)
    digest = hashlib.blake2b()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb", BLOCK_BYTES) as file:
        if mode is not None:
            os.fchmod(descriptor, mode)
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    return digest.digest()


def _hash_file(path: Path) -> bytes:
    """The hash of a regular file, or nothing."""
    if path.is_symlink() or not path.is_file():
        return b""
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the number in a name need not be a pid at all
        return False
    except PermissionError:
        return True
    return True
