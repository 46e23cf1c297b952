"""Files and links that are replaced whole: a reader sees the old one or the new one, never a half.

A file may be made again from what it was: what stands where it stood is not written, the rest is copied or new. At the
first difference a new file is begun, and takes its name when it is whole; the old one is never changed.
"""

import errno
import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
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


COPY_BYTES = 1 << 20
# A file system, or two, that the kernel does not copy between by itself.
NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF})


class Renewal:
    """A file being made again, from its beginning to its end. Made by `renewing`; for one thread."""

    def __init__(self, path: Path, old: BinaryIO | None, stack: ExitStack) -> None:
        self.position = 0  # how much of the file is made
        self._path = path
        self._old = old
        self._old_bytes = os.fstat(old.fileno()).st_size if old else 0
        self._stack = stack  # of what the new file needs at its end
        self._new: BinaryIO | None = None  # None: all that is made is what the old file begins with

    @property
    def is_replaced(self) -> bool:
        """Whether there is anything new, so far."""
        return self._new is not None

    def read_old(self, start: int, size: int) -> Iterator[bytes]:
        """Bytes of the old file in pieces; fewer where it ends before."""
        end = min(start + size, self._old_bytes)
        while self._old and start < end and (piece := _read_at(self._old, min(COPY_BYTES, end - start), start)):
            yield piece
            start += len(piece)

    def keep(self, start: int, size: int) -> None:
        """Goes on with bytes that the old file has. Raises OSError where it has become shorter."""
        if self._new is None and start == self.position:
            self.position += size
            return
        self._copy(self._begin(), start, size)
        self.position += size

    def write(self, content: bytes) -> None:
        """Goes on with these bytes."""
        is_same = self._new is None and content == b"".join(self.read_old(self.position, len(content)))
        if not is_same:
            self._begin().write(content)
        self.position += len(content)

    def finish(self) -> None:
        """The file ends here."""
        if self._old is None or self.position != self._old_bytes:
            self._begin()

    def _begin(self) -> BinaryIO:
        """The new file. Begun with what is made so far, which the old one has."""
        if self._new is None:
            self._new = self._stack.enter_context(replacing(self._path))
            self._copy(self._new, 0, self.position)
            failpoint("sink.beginning_copied")
        return self._new

    def _copy(self, new: BinaryIO, start: int, size: int) -> None:
        """Copies from the old file; inside the kernel, or by sharing its blocks, where that is possible."""
        new.flush()
        end = start + size
        try:
            while start < end and self._old and hasattr(os, "copy_file_range"):
                copied = os.copy_file_range(self._old.fileno(), new.fileno(), end - start, offset_src=start)
                if not copied:
                    break
                start += copied
        except OSError as error:
            if error.errno not in NO_KERNEL_COPY:
                raise
        for piece in self.read_old(start, end - start):
            new.write(piece)
            start += len(piece)
        if start < end:
            raise OSError(errno.EIO, "it was cut short while it was read")


@contextmanager
def renewing(path: Path) -> Iterator[Renewal]:
    """The file at `path`, made again in the block; left alone, times and all, if it comes out as it was.

    Raises OSError naming `path`, and whatever the block raises; then the old file stays.
    """
    with ExitStack() as stack:
        renewal = Renewal(path, _open_old(path, stack), stack)
        yield renewal
        renewal.finish()


def _open_old(path: Path, stack: ExitStack) -> BinaryIO | None:
    """A regular file. What cannot be read cannot be kept either: it is made anew."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return stack.enter_context(path.open("rb", buffering=0))
    except PermissionError:
        return None


def _read_at(file: BinaryIO, size: int, start: int) -> bytes:
    return os.pread(file.fileno(), size, start)
