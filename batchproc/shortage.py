"""What this machine, or a limit set for this process, has not enough of: in words and not as a traceback;
and how many files this process may have open."""

import contextlib
import errno
import os
import resource
from pathlib import Path

from batchproc.errors import BatchprocError, DiskError

DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENXIO, errno.EACCES, errno.EPERM}
)
NO_MAPPING = ("failed to map segment", "cannot allocate memory", "cannot open shared object file: Error 24")


class ShortageError(BatchprocError):
    """This process gets no more memory, files, threads or processes."""


def find_shortage(error: BaseException, output: Path | None = None) -> BatchprocError | None:
    """What an exception says of the machine, its limits and its disks, or of files below `output`; else None."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _says(error, *NO_MAPPING):
        return ShortageError(f"not enough memory{_limit(resource.RLIMIT_AS, 'ulimit -v', 1024)}; or use fewer workers")
    if number == errno.EMFILE:
        limit = _limit(resource.RLIMIT_NOFILE, "ulimit -n", 1)
        return ShortageError(f"too many open files for one process{limit}; or use fewer workers")
    if number == errno.ENFILE:
        return ShortageError("too many open files on this machine")
    if number == errno.EAGAIN or _says(error, "can't start new thread"):
        memory = _limit(resource.RLIMIT_AS, "ulimit -v", 1024)  # a thread takes address space first of all
        limit = memory or _limit(resource.RLIMIT_NPROC, "ulimit -u", 1)
        return ShortageError(f"no further thread or process can be started{limit}; or use fewer workers")
    if isinstance(error, OSError):
        is_ours = output is not None and str(error.filename or "").startswith(str(output))
        if is_ours or number in DISK:
            where = f"{error.filename}: " if error.filename else ""
            return DiskError(f"{where}{error.strerror}; what is unfinished stays pending")
    return None


def no_more_files() -> ShortageError | None:
    """The shortage where no further file can be opened: SQLite, and others, do not say why they cannot."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        shortage = find_shortage(error)
        return shortage if isinstance(shortage, ShortageError) else None
    return None


def _says(error: BaseException, *words: str) -> bool:
    is_told_by_words = isinstance(error, RuntimeError | ImportError)
    return is_told_by_words and any(word.lower() in str(error).lower() for word in words)


def _limit(what: int, command: str, unit: int) -> str:
    """As `: the limit is 1,024 (ulimit -n), raise it`; what there is no limit of, the machine itself is short of."""
    soft, _ = resource.getrlimit(what)
    return "" if soft == resource.RLIM_INFINITY else f": the limit is {soft // unit:,} ({command}), raise it"


MOST_WANTED = 65_536


def raise_file_limit() -> int:
    """Raises the soft limit of open files as far as it may be; workers inherit it. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_WANTED if hard == resource.RLIM_INFINITY else min(hard, MOST_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems promise more than they give
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return file_limit()


def file_limit() -> int:
    """The soft limit in force, `MOST_WANTED` where there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WANTED if soft == resource.RLIM_INFINITY else soft
