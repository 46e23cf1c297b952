"""Files and links that are replaced whole: a reader sees the old one or the new one, never a half."""

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from batchproc.failpoints import failpoint

BLOCK_BYTES = 256 * 1024


def write_atomically(path: Path, chunks: Iterable[bytes], *, mode: int | None = None) -> None:
    """Writes a file under a temporary name in the same folder, then gives it its name. Raises as `replacing` does."""
    with replacing(path, mode=mode) as file:
        file.writelines(chunks)


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A new file that takes the name `path` at the end of the block. `mode` None: by umask.

    Raises OSError naming `path`, and whatever the block raises; then the old file stays and the new one goes.
    """
    temporary = _temporary_path(path)
    try:
        with _create(temporary, mode) as file:
            yield file
        failpoint("sink.before_replace")
        temporary.replace(path)
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


def _create(path: Path, mode: int | None) -> BinaryIO:
    """A new file. O_EXCL: a planted link is not followed."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, 0o666), "wb", BLOCK_BYTES)
    if mode is not None:
        os.fchmod(file.fileno(), mode)
    return file


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the number in a name need not be a pid at all
        return False
    except PermissionError:
        return True
    return True
