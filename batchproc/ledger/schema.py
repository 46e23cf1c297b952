"""The ledger's tables, and how its file is opened, checked and blamed."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from batchproc.errors import DiskError, UsageError

APPLICATION_ID = 0x62617463  # "batc", in bytes 68 to 71 of the file
SCHEMA_VERSION = 1
BUSY_TIMEOUT_SECONDS = 30.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
OLDEST_SQLITE = (3, 33, 0)  # UPDATE … FROM
MISSING = ("no such table", "no such index")  # a part of the ledger is gone
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ")  # and the names that begin like these


class DamagedLedgerError(DiskError):
    """The ledger's content is not what SQLite wrote: it has to be made again."""


class State(StrEnum):
    """What the ledger knows of an item."""

    PENDING = "pending"
    STAGED = "staged"  # the rendition is written under its temporary name; not yet believed
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    DEFERRED = "deferred"
    ABSENT = "absent"  # no longer in the list; `before_absent` is what it was


# `due` is 1 where a coming run has work to do: pending, deferred, and failed for a transient reason. It is a column of
# its own so that the partial index stays valid whatever `max_runs_per_item` says. `id` is the order of the input.
# `stale_suffix` is the file of an older rendition that has to go when the new one has its name.
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE plan (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, settings_json TEXT NOT NULL);
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, host TEXT NOT NULL,
  pid INTEGER NOT NULL, boot_id TEXT NOT NULL, exit_code INTEGER, counters_json TEXT NOT NULL DEFAULT '{}');
CREATE TABLE host (name TEXT PRIMARY KEY, not_before REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, line INTEGER NOT NULL, url TEXT NOT NULL,
  extra_json TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, due INTEGER NOT NULL, runs INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, last_run INTEGER, plan INTEGER, stage TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  before_absent TEXT, temporary TEXT, suffix TEXT, stale_suffix TEXT, status_code INTEGER, final_url TEXT, etag TEXT,
  last_modified TEXT, size_bytes INTEGER, width_px INTEGER, height_px INTEGER, original_width_px INTEGER,
  original_height_px INTEGER, original_format TEXT, sha256 BLOB, source_sha256 BLOB);
CREATE INDEX item_due ON item (id) WHERE due = 1;
CREATE INDEX item_state ON item (state, code);
"""
INITIAL_META = {"revision": 0, "manifests_revision": -1, "input_fingerprint": "", "duplicates": 0, "bad_rows": 0}


def open_for_writing(path: Path, *, power: bool) -> sqlite3.Connection:
    """Opens the ledger at `path`, made on demand with mode 0600, in WAL mode. `power`: every commit reaches the disk.

    Raises `UsageError` for a ledger of a newer version or a file of another program, `DiskError` for a damaged or
    unwritable one. The connection may change threads, but only one may use it at a time.
    """
    _check_library()
    _check_replacement(path)
    with blame_disk(path):
        _create_private(path)
        connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
        try:
            _check_identity(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
            connection.execute("PRAGMA cache_size = -32000")  # KiB: the index of 1,000,000 keys stays in memory
            _create_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(path: Path, *, at_rest: bool = False, is_replaced: bool = False) -> sqlite3.Connection:
    """Opens an existing ledger without the right to change it. Raises as `open_for_writing` does.

    `at_rest`: nobody writes to it, and SQLite needs no files beside it to see that (https://sqlite.org/uri.html,
    "immutable"). `is_replaced`: by the caller, who alone may look at it meanwhile.
    """
    _check_library()
    if not is_replaced:
        _check_replacement(path)
    if not path.exists():
        raise UsageError(f"{path}: there is no ledger yet: the job has not run.")
    with blame_disk(path):
        connection = _connect(f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}")
        try:
            _check_identity(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def blame_ledger(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into a `DiskError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(DAMAGED) or str(error).startswith(MISSING):
            raise damaged(path) from error
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
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: committed at the end, rolled back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def touch(connection: sqlite3.Connection) -> None:
    """Notes, inside a transaction, that items changed: manifests made before are out of date."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'")


def storable(text: str) -> str:
    """The text with what UTF-8 cannot hold (half of a surrogate pair, from a bad byte) written out as `\\udc80`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Reads every page (about 1 s per 300 MB). Raises `DiskError` for a damaged file."""
    with blame_disk(path):
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise damaged(path)


def damaged(path: Path) -> DamagedLedgerError:
    """The error of a ledger that has to be made again, with the way to do it."""
    return DamagedLedgerError(
        f"{path}: the ledger is damaged. `batchproc rebuild CONFIG` makes it again from metadata.jsonl and the files "
        "it names, whose hashes are checked, and keeps the damaged one; nothing is fetched for that."
    )


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


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA mmap_size = 0")
    return connection


def _create_private(path: Path) -> None:
    """The ledger holds whole URLs, tokens included: nobody else may read it. SQLite gives its WAL the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _create_tables(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        if _read_pragma(connection, "user_version"):
            return
        for statement in filter(str.strip, TABLES.split(";")):
            connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", INITIAL_META.items())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    version = _read_pragma(connection, "user_version")
    application_id = _read_pragma(connection, "application_id")
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application_id != APPLICATION_ID and not empty:
        raise UsageError(f"{path}: this is the database of another program. Choose another [job] output.")
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"{path}: the ledger has version {version}, made by a newer batchproc; this one knows {SCHEMA_VERSION}. "
            "Update batchproc, or choose another [job] output."
        )


def _read_pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _check_library() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise UsageError(f"SQLite {sqlite3.sqlite_version} is too old: Python must be linked with {oldest} or newer.")


def _advise(error: sqlite3.Error) -> str:
    """What went wrong and what to do. The name of the error says more than its text does."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "the disk is full. Make room and run the same command again: unfinished items stay pending."
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program kept the ledger locked for {BUSY_TIMEOUT_SECONDS:g} s. Close it and run again."
    if name.startswith("SQLITE_READONLY"):
        return "the ledger is read-only. Make it writable and run again."
    return f"the ledger cannot be used ({name or type(error).__name__}: {error}). Unfinished items stay pending."
