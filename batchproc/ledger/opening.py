"""How the ledger's file is opened and checked."""

import os
import sqlite3
from pathlib import Path

from batchproc.errors import DiskError, UsageError
from batchproc.ledger import blame
from batchproc.ledger.blame import blame_disk, damage_or_disk, damaged
from batchproc.ledger.schema import APPLICATION_ID, INITIAL_META, SCHEMA_VERSION, create_tables, read_version

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
    with blame_disk(path):
        _create_private(path)
        connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
        try:
            _check_identity(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
            connection.execute("PRAGMA cache_size = -32000")  # KiB: the index of 1,000,000 keys stays in memory
            create_tables(connection)
            _check_meta(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(path: Path, *, at_rest: bool = False, is_replaced: bool = False) -> sqlite3.Connection:
    """Opens an existing ledger, of this version or an older one, without the right to change it.

    Raises as `open_for_writing` does.

    `at_rest`: nobody writes to it, and SQLite needs no files beside it to see that (https://sqlite.org/uri.html,
    "immutable"). `is_replaced`: by the caller, who alone may look at it meanwhile.
    """
    _check_library()
    if not is_replaced:
        _check_replacement(path)
    if not path.exists():
        raise UsageError(f"{path}: there is no ledger yet: the job has not run.")
    _check_kind(path)
    with blame_disk(path):
        connection = _connect(f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}")
        try:
            _check_identity(connection, path)
            if read_version(connection):
                _check_meta(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def check_pages(connection: sqlite3.Connection, path: Path, *, thoroughly: bool = False) -> None:
    """Reads every page (about 1 s per 300 MB), and `thoroughly` compares every index with its table.

    Raises `DamagedLedgerError` for a damaged file, `DiskError` where the disk does not give it out.
    """
    with blame_disk(path):
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


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=blame.BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA mmap_size = 0")
    return connection


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
