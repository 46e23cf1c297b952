"""The ledger's database: how its file is opened and checked, its errors with what to do about them, its reserve."""

import errno
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import MsgspecError

from batchproc.errors import DiskError, UsageError
from batchproc.ledger.schema import APPLICATION_ID, INITIAL_META, SCHEMA_VERSION, create_tables, read_version
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
def ledger_errors(path: Path) -> Iterator[None]:
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
def disk_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's and the system's errors into a `DiskError` that says what to do."""
    try:
        with ledger_errors(path):
            yield
    except OSError as error:
        advice = "Make room and run the same command again: unfinished" if error.errno in FULL else "Unfinished"
        raise DiskError(f"{error.filename or path}: {error.strerror}. {advice} items stay pending.") from error


@contextmanager
def value_errors(path: Path) -> Iterator[None]:
    """Around the reading of stored values: one that is not what we wrote is damage like any other."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError, MsgspecError) as error:
        raise damaged(path) from error


@contextmanager
def stored_errors(path: Path) -> Iterator[None]:
    """Around the reading of values from the disk: both."""
    with disk_errors(path), value_errors(path):
        yield


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


SIDES = ("-wal", "-shm", "-journal")  # SQLite's own files beside a database
OLDEST_SQLITE = (3, 33, 0)  # UPDATE … FROM


def open_for_writing(path: Path, *, power: bool) -> sqlite3.Connection:
    """Opens the ledger at `path`, made on demand with mode 0600, in WAL mode. `power`: every commit reaches the disk.

    One of an older version stays as it is; `migrate` brings it up to this one. Raises `UsageError` for a ledger of a
    newer version or a file of another program, `DiskError` for a damaged or unwritable one. The connection may change
    threads, but only one may use it at a time.
    """
    _check_library()
    _check_replacement(path)
    _check_kind(path)
    with disk_errors(path):
        _create_private(path)
    with _opened(path, "rw") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
        connection.execute("PRAGMA cache_size = -32000")  # KiB: the index of 1,000,000 keys stays in memory
        create_tables(connection)
    return connection


def open_for_reading(path: Path, *, at_rest: bool = False, is_replaced: bool = False) -> sqlite3.Connection:
    """Opens an existing ledger, of this version or an older one, without the right to change it.

    Raises as `open_for_writing` does.

    `at_rest`: nobody writes to it, and SQLite needs no files beside it to see that (https://sqlite.org/uri.html,
    "immutable"). `is_replaced`: by the caller, who alone may read it meanwhile.
    """
    _check_library()
    if not is_replaced:
        _check_replacement(path)
    if not path.exists():
        raise UsageError(f"{path}: there is no ledger yet: the job has not run.")
    _check_kind(path)
    with _opened(path, f"ro{'&immutable=1' if at_rest else ''}") as connection:
        pass
    return connection


def check_pages(connection: sqlite3.Connection, path: Path, *, thoroughly: bool = False) -> None:
    """Reads every page (about 1 s per 300 MB), and `thoroughly` compares every index with its table.

    Raises `DamagedLedgerError` for a damaged file, `DiskError` where the disk does not give it out.
    """
    with disk_errors(path):
        check = "integrity_check" if thoroughly else "quick_check"
        verdict = str(connection.execute(f"PRAGMA {check}(1)").fetchone()[0])
    if verdict != "ok":
        raise damage_or_disk(path)


def replacement_path(path: Path) -> Path:
    """Where the ledger that takes this one's place is made; while it is there, nobody uses the ledger itself."""
    return path.with_name(f"{path.name}.rebuilding")


def _check_replacement(path: Path) -> None:
    replacement = replacement_path(path)
    if replacement.exists():
        raise DiskError(
            f"{path}: the ledger is being rebuilt, or that was interrupted ({replacement.name} is there). Start the "
            "same `batchproc rebuild` again."
        )


def _check_kind(path: Path) -> None:
    """Opening a named pipe would wait for its other end."""
    for file in (path, *(path.with_name(f"{path.name}{side}") for side in SIDES)):
        if file.exists() and not file.is_file():
            kinds = {"a folder": file.is_dir(), "a named pipe": file.is_fifo(), "a socket": file.is_socket()}
            kind = next((kind for kind, is_one in kinds.items() if is_one), "no file")
            raise UsageError(
                f"{file}: this is {kind}, where the ledger belongs. Move it away, or choose another output."
            )


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection to a ledger of ours, to be set up in the block; it stays open, unless an error is raised there."""
    with disk_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False,
        )  # fmt: skip
        try:
            connection.execute("PRAGMA mmap_size = 0")
            _check_identity(connection, path)
            yield connection
            if read_version(connection):
                _check_meta(connection, path)
        except BaseException:
            connection.close()
            raise


def _create_private(path: Path) -> None:
    """The ledger holds whole URLs, tokens included: nobody else may read it. SQLite gives its WAL the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    version = read_version(connection)
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application_id != APPLICATION_ID and not empty:
        raise UsageError(f"{path}: this is the database of another program. Choose another [job] output.")
    if version < 1 and not empty:
        raise damaged(path)
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"{path}: the ledger has version {version}, made by a newer batchproc; this one knows {SCHEMA_VERSION}. "
            "Update batchproc, or choose another [job] output."
        )


def _check_meta(connection: sqlite3.Connection, path: Path) -> None:
    """The few facts of the whole ledger are there, and are what we write."""
    found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if not all(type(found.get(name)) is type(value) for name, value in INITIAL_META.items()):
        raise damaged(path)
    if "plan" in found and not connection.execute("SELECT 1 FROM plan WHERE id = ?", (found["plan"],)).fetchone():
        raise damaged(path)


def _check_library() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise UsageError(f"SQLite {sqlite3.sqlite_version} is too old: Python must be linked with {oldest} or newer.")


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
