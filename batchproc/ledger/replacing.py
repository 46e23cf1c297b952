"""A new ledger in the place of a damaged one, in an order that a kill at any instant cannot turn into a loss.

The new one is made under a name of its own, `batchproc.db.rebuilding`. While that file is there nobody opens the
ledger: a run would take a ledger that is half moved for an empty one, and fetch everything again. Then the damaged
files are moved aside, `batchproc.db` first, and the rename that gives the new one its name also ends the waiting.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from batchproc.errors import DiskError
from batchproc.failpoints import failpoint
from batchproc.ledger.database import (
    SIDES,
    DamagedLedgerError,
    check_pages,
    disk_errors,
    open_for_reading,
    replacement_path,
)
from batchproc.ledger.reader import LedgerView
from batchproc.ledger.schema import PARTS, SCHEMA_VERSION, read_version, upgrade


def is_whole(path: Path) -> bool:
    """Whether there is a ledger at `path` that holds items and shows no damage; reads all of it, changes nothing.

    Raises `UsageError` for a newer one or another program's, `DiskError` for one that is locked.
    """
    if not path.exists():
        return False
    at_rest = not path.with_name(f"{path.name}-wal").exists()
    try:
        with closing(open_for_reading(path, at_rest=at_rest, is_replaced=True)) as connection, disk_errors(path):
            check_pages(connection, path, thoroughly=True)
            return _knows_items(connection) and _has_values(path, connection)
    except DamagedLedgerError:
        return False


def holds_items(path: Path) -> bool:
    """Whether there is a ledger at `path` that knows of any item; does not look for damage. Raises as `is_whole` does,
    and `DamagedLedgerError`."""
    if not path.exists():
        return False
    at_rest = not path.with_name(f"{path.name}-wal").exists()
    with closing(open_for_reading(path, at_rest=at_rest)) as connection, disk_errors(path):
        return _knows_items(connection)


def _has_values(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether a run can read what is in it, and can take it over; tried with a copy that SQLite keeps for itself."""
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as copy:
        if read_version(connection) != SCHEMA_VERSION:
            connection.backup(copy)
            upgrade(copy)
            connection = copy
        LedgerView(path, connection).read_values()
    return True


def _knows_items(connection: sqlite3.Connection) -> bool:
    """Whether all is there that a run relies on, and an item."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not names or not names >= PARTS[read_version(connection)]:
        return False
    return connection.execute("SELECT 1 FROM item LIMIT 1").fetchone() is not None


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Where to make the new ledger. Needs the run lock. Its end leaves a file that is closed and complete.

    Left by an error, it is as if nothing had been begun; after a kill, the next one begins again.
    """
    new = replacement_path(path)
    is_continued = new.exists()
    with disk_errors(path):
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        _remove_sides(new)
    try:
        yield new
    except BaseException:
        if not is_continued:  # else the ledger may be moved aside already: it must not look as if there were none
            _remove_sides(new)
            new.unlink(missing_ok=True)
        raise


def put_in_place(path: Path) -> Path | None:
    """Moves what is at `path` aside and gives the new ledger its name; returns where the old one is, if there was one.

    Raises `DiskError`; the same again goes on where it stopped.
    """
    new = replacement_path(path)
    with disk_errors(path):
        if any(new.with_name(f"{new.name}{side}").exists() for side in SIDES):
            raise DiskError(f"{new}: the new ledger was not closed. Start the same command again.")
        _sync(new, os.O_RDWR)
        aside = _move_aside(path)
        failpoint("ledger.rebuild_moved")
        new.replace(path)
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return aside


def _move_aside(path: Path) -> Path | None:
    """Renames the damaged files, the database first: without it, the next start knows that this was begun."""
    sides = [side for side in SIDES if path.with_name(f"{path.name}{side}").exists()]
    aside = _free_name(path)
    if path.exists():
        path.rename(aside)
        failpoint("ledger.rebuild_moving")
    elif not sides:
        return None
    else:
        aside = max(_moved(path), default=aside)
    for side in sides:
        path.with_name(f"{path.name}{side}").rename(aside.with_name(f"{aside.name}{side}"))
    return aside


def _moved(path: Path) -> list[Path]:
    """The ledgers that were moved aside before."""
    return [one for one in path.parent.glob(f"{path.name}.damaged-*") if not one.name.endswith(SIDES)]


def _free_name(path: Path) -> Path:
    stem = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    name, number = path.with_name(stem), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{stem}-{number}")
    return name


def _remove_sides(path: Path) -> None:
    for side in SIDES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{side}").unlink()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
