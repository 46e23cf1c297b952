"""An older ledger brought up to this version's tables when a run opens it, without anything being fetched again.

The old ledger is kept beside it, as `batchproc.db.v1`, until a run has ended well. All steps are one transaction:
killed at any instant, the ledger is of the old version or of the new one, and the same start again completes it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from batchproc.failpoints import failpoint
from batchproc.ledger.schema import CHECKPOINTS, MANIFEST_BLOCKS, SCHEMA_VERSION, execute_all, read_version, transaction

# What leads from a version to the next one. A fresh ledger has the tables of `schema` at once: a test compares them.
STEPS = {
    1: """
ALTER TABLE item ADD COLUMN made_url TEXT;
ALTER TABLE item ADD COLUMN made_extra_json TEXT;
ALTER TABLE item ADD COLUMN image_notes TEXT;
CREATE TABLE plan_2 (
  id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, settings_json TEXT NOT NULL, recipe INTEGER NOT NULL);
INSERT INTO plan_2 SELECT id, fingerprint, settings_json, 1 FROM plan;
DROP TABLE plan;
ALTER TABLE plan_2 RENAME TO plan;
ALTER TABLE run ADD COLUMN deciding_json TEXT NOT NULL DEFAULT '{}';
CREATE TABLE listed_row (
  item INTEGER NOT NULL, line INTEGER NOT NULL, extra_json TEXT NOT NULL, PRIMARY KEY (item, line)) WITHOUT ROWID;
""",
    2: """
CREATE TABLE plan_3 (
  id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, settings_json TEXT NOT NULL, recipe TEXT NOT NULL);
INSERT INTO plan_3 SELECT id, fingerprint, settings_json, recipe FROM plan;
DROP TABLE plan;
ALTER TABLE plan_3 RENAME TO plan;
""" + MANIFEST_BLOCKS + CHECKPOINTS,
}


def migrate(connection: sqlite3.Connection, path: Path) -> int:
    """Brings the ledger at `path` up to this version; returns the version it had. Needs the run lock.

    Raises `sqlite3.Error` and OSError, with the ledger as it was.
    """
    version = read_version(connection)
    if version == SCHEMA_VERSION:
        return version
    _keep_copy(connection, _copy_path(path, version))
    failpoint("ledger.migration_copied")
    upgrade(connection)
    failpoint("ledger.after_migration")
    return version


def upgrade(connection: sqlite3.Connection) -> None:
    """Gives a ledger of this version or an older one the tables of this version. Raises `sqlite3.Error`."""
    with transaction(connection):
        for number in range(read_version(connection), SCHEMA_VERSION):
            execute_all(connection, STEPS[number])
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        failpoint("ledger.in_migration")


def remove_copies(path: Path) -> None:
    """Deletes what `migrate` kept: the ledger of this version has proven itself. Raises OSError."""
    for version in range(1, SCHEMA_VERSION):
        copy_path = _copy_path(path, version)
        if copy_path.is_file():
            copy_path.unlink()


def _copy_path(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.v{version}")


def _keep_copy(connection: sqlite3.Connection, copy_path: Path) -> None:
    """Copies the whole ledger, what is only in its WAL included, to a file that is complete once it has its name."""
    with _draft(copy_path) as draft:
        with closing(sqlite3.connect(draft)) as target:
            target.execute("PRAGMA journal_mode = OFF")  # no second file beside a draft that a kill throws away
            connection.backup(target)
        descriptor = os.open(draft, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(copy_path)


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """An empty file for nobody else's eyes, under a name that the next start sweeps."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
