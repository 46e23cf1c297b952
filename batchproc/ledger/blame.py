"""Whose fault it is: SQLite's and the system's errors as messages that say what to do."""

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchproc.errors import DiskError
from batchproc.shortage import find_shortage, no_more_files

BUSY_TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1024 * 1024
DISK_FAILED = "the disk failed while the ledger was in use"
LOOK = (
    "Look at the disk, then run the same command again: unfinished items stay pending. A ledger that the disk does not "
    "give out is to be moved away; then `batchproc rebuild CONFIG` makes it again."
)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ")  # and the names that begin like these
# A part of the ledger is gone, or one is there that its version has not, or a text holds no text: SQLite's own words.
UNFIT = re.compile(
    r"no such (table|index|column)|duplicate column|(table|index) \S+ already exists|could not decode", re.IGNORECASE
)


class DamagedLedgerError(DiskError):
    """The ledger's content is not what SQLite wrote: it has to be made again."""


@contextmanager
def blame_ledger(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into a `DiskError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(DAMAGED) or UNFIT.match(str(error)):
            raise damage_or_disk(path) from error
        if shortage := find_shortage(MemoryError()) if name == "SQLITE_NOMEM" else no_more_files():
            raise shortage from error
        raise DiskError(f"{path}: {_advise(error)}") from error


@contextmanager
def blame_disk(path: Path) -> Iterator[None]:
    """Turns SQLite's and the system's errors into a `DiskError` that says what to do."""
    try:
        with blame_ledger(path):
            yield
    except OSError as error:
        advice = "Make room and run the same command again: unfinished" if error.errno in FULL else "Unfinished"
        raise DiskError(f"{error.filename or path}: {error.strerror}. {advice} items stay pending.") from error


@contextmanager
def blame_values(path: Path) -> Iterator[None]:
    """Around the reading of stored values: one that is not what we wrote is damage like any other."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError) as error:
        raise damaged(path) from error


def damage_or_disk(path: Path) -> DiskError:
    """The error of a file in which SQLite found a fault.

    It says the same of pages that are not what it wrote and, at times, of pages that the disk does not give out: so the
    file is read once more.
    """
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            with file.open("rb", buffering=0) as content:
                while content.read(BLOCK_BYTES):
                    pass
        except FileNotFoundError:
            continue
        except OSError as error:
            return DiskError(f"{file}: {DISK_FAILED} ({error.strerror}). {LOOK}")
    return damaged(path)


def damaged(path: Path) -> DamagedLedgerError:
    """The error of a ledger that has to be made again, with the way to do it."""
    return DamagedLedgerError(
        f"{path}: the ledger is damaged. `batchproc rebuild CONFIG` makes it again from metadata.jsonl and the files "
        "it names, whose hashes are checked, and keeps the damaged one; nothing is fetched for that."
    )


def _advise(error: sqlite3.Error) -> str:
    """What went wrong and what to do. The name of the error says more than its text does."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "the disk is full. Make room and run the same command again: unfinished items stay pending."
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program kept the ledger locked for {BUSY_TIMEOUT_SECONDS:g} s. Close it and run again."
    if name.startswith("SQLITE_IOERR"):
        return f"{DISK_FAILED} ({name}). {LOOK}"
    if name.startswith("SQLITE_READONLY"):
        return "the ledger is read-only. Make it writable and run again."
    return f"the ledger cannot be used ({name or type(error).__name__}: {error}). Unfinished items stay pending."
