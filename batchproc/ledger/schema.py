"""The ledger's tables, the words for its rows, and how an older ledger is brought up to them when a run opens it.

Nothing is fetched again for that. The old ledger is kept beside it, as `batchproc.db.v1`, until a run has ended well.
All steps are one transaction: killed at any instant, the ledger is of the old version or of the new one, and the same
start again completes it.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from batchproc.failpoints import failpoint
from batchproc.remembered import BLOCK_ITEMS

APPLICATION_ID = 0x62617463  # "batc", in bytes 68 to 71 of the file
SCHEMA_VERSION = 5  # raised with every change of TABLES that a released version has; STEPS has one for each


class State(StrEnum):
    """What the ledger knows of an item."""

    PENDING = "pending"
    STAGED = "staged"  # the image is written under its temporary name; not yet believed
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    DEFERRED = "deferred"
    ABSENT = "absent"  # no longer in the list; `before_absent` is what it was


INPUT_STAGE = "input"  # of lines that are no URL
SameUrl: TypeAlias = Callable[[str, str], bool]  # whether two spellings name the same resource
EARLY = "('failed', 'rejected', 'quarantined', 'deferred')"  # the states of who is in failures.jsonl

# `due` is 1 where a coming run has work to do: pending, deferred, and failed for a transient reason. It is a column of
# its own so that the partial index stays valid whatever `max_runs_per_item` says. `id` is the order of the input. The
# first import drops the indexes and makes them anew, so none of them is a constraint.
# `stale_suffix` is the file of an older image that has to go when the new one has its name.
# `made_url` and `made_extra_json` are the URL and the columns that the item's image was made with, where the list has
# another URL for it by now: the facts from `suffix` on are true of that one.
# `listed_row` has the further rows of a listed item, where each of them is to have a row in metadata.jsonl.
# `list_checkpoint` has places in the list as it was imported last, each with what was counted up to there.
# `manifest_block` knows what the manifests on disk hold of which items. Triggers forget a block with the commit that
# changes one of its rows, whoever changes it; of the last items, to which others may come, there is none.
ITEM_COLUMNS = """
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, line INTEGER NOT NULL, url TEXT NOT NULL,
  extra_json TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, due INTEGER NOT NULL, runs INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, last_run INTEGER, plan INTEGER, stage TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  before_absent TEXT, temporary TEXT, suffix TEXT, stale_suffix TEXT, status_code INTEGER, final_url TEXT, etag TEXT,
  last_modified TEXT, size_bytes INTEGER, width_px INTEGER, height_px INTEGER, original_width_px INTEGER,
  original_height_px INTEGER, original_format TEXT, sha256 BLOB, source_sha256 BLOB,
  made_url TEXT, made_extra_json TEXT, image_notes TEXT, image_hash TEXT"""
ITEM_INDEXES = {
    "item_key": "CREATE UNIQUE INDEX item_key ON item (key)",
    "item_due": "CREATE INDEX item_due ON item (id) WHERE due = 1",
    "item_state": "CREATE INDEX item_state ON item (state, code)",
}
TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE plan (
  id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, settings_json TEXT NOT NULL, recipe TEXT NOT NULL);
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, host TEXT NOT NULL,
  pid INTEGER NOT NULL, boot_id TEXT NOT NULL, exit_code INTEGER, counters_json TEXT NOT NULL DEFAULT '{{}}',
  deciding_json TEXT NOT NULL DEFAULT '{{}}');
CREATE TABLE host (name TEXT PRIMARY KEY, not_before REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE item ({ITEM_COLUMNS});
CREATE TABLE listed_row (
  item INTEGER NOT NULL, line INTEGER NOT NULL, extra_json TEXT NOT NULL, PRIMARY KEY (item, line)) WITHOUT ROWID;
{";".join(ITEM_INDEXES.values())};
"""
ITEM_TRIGGERS = f"""
CREATE TRIGGER image_changed AFTER UPDATE OF
  key, url, extra_json, state, plan, suffix, width_px, height_px, original_width_px, original_height_px,
  original_format, size_bytes, sha256, source_sha256, final_url, status_code, etag, last_modified, image_notes,
  made_url, made_extra_json
ON item WHEN old.state = 'done' OR new.state = 'done' OR old.made_url IS NOT NULL OR new.made_url IS NOT NULL BEGIN
  DELETE FROM manifest_block WHERE manifest = 'metadata' AND number = (old.id - 1) / {BLOCK_ITEMS};
END;
CREATE TRIGGER early_end_changed AFTER UPDATE OF url, line, key, stage, state, code, message, hint, attempts
ON item WHEN old.state IN {EARLY} OR new.state IN {EARLY} BEGIN
  DELETE FROM manifest_block WHERE manifest = 'failures' AND number = (old.id - 1) / {BLOCK_ITEMS};
END;
"""
MANIFEST_BLOCKS = f"""
CREATE TABLE manifest_block (
  manifest TEXT NOT NULL, number INTEGER NOT NULL, start_bytes INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  digest BLOB NOT NULL, PRIMARY KEY (manifest, number)) WITHOUT ROWID;
CREATE TRIGGER listed_row_came AFTER INSERT ON listed_row BEGIN
  DELETE FROM manifest_block WHERE manifest = 'metadata' AND number = (new.item - 1) / {BLOCK_ITEMS};
END;
CREATE TRIGGER listed_row_went AFTER DELETE ON listed_row BEGIN
  DELETE FROM manifest_block WHERE manifest = 'metadata' AND number = (old.item - 1) / {BLOCK_ITEMS};
END;
"""
CHECKPOINTS = """
CREATE TABLE list_checkpoint (
  size_bytes INTEGER PRIMARY KEY, digest BLOB NOT NULL, line INTEGER NOT NULL, header_json TEXT NOT NULL,
  columns_json TEXT NOT NULL, duplicates INTEGER NOT NULL, bad_rows INTEGER NOT NULL);
"""
TABLES += MANIFEST_BLOCKS + ITEM_TRIGGERS + CHECKPOINTS
PARTS = {  # tables, indexes and triggers, by version
    1: frozenset({"meta", "plan", "run", "host", "item", "item_due", "item_state"}),
    2: frozenset({"meta", "plan", "run", "host", "item", "listed_row", "item_due", "item_state"}),
    3: frozenset(
        {"meta", "plan", "run", "host", "item", "listed_row", "list_checkpoint", "manifest_block", "image_changed",
         "early_end_changed", "listed_row_came", "listed_row_went", "item_due", "item_state"}
    ),
}  # fmt: skip
PARTS[4] = PARTS[3]  # an item has a column more
PARTS[5] = PARTS[4] | {"item_key"}
# Items that have an image: of their own URL, or of an earlier one whose successor has none yet.
MADE = "(state = 'done' OR (made_url IS NOT NULL AND state NOT IN ('absent', 'rejected')))"
AMONG = "id IN (SELECT value FROM json_each(?))"
NO_EARLIER = "made_url = NULL, made_extra_json = NULL"  # the item has no image of an earlier URL
WINDOW = 2_000  # rows per transaction: a long reader would let the WAL grow without bound
INITIAL_META = {"revision": 0, "manifests_revision": -1, "input_fingerprint": "", "duplicates": 0, "bad_rows": 0}


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


def read_meta(connection: sqlite3.Connection, name: str) -> Any:
    """A fact of the whole ledger; None where it is not there."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return row and row[0]


def write_meta(connection: sqlite3.Connection, name: str, value: object) -> None:
    """Notes a fact of the whole ledger, inside a transaction."""
    connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value))


def update_items(connection: sqlite3.Connection, items: Iterable[int], values: str, condition: str = "true") -> int:
    """Sets `values` of these items where they meet a condition, inside a transaction; of how many."""
    statement = f"UPDATE item SET {values} WHERE {condition} AND {AMONG}"
    return connection.execute(statement, (json.dumps(list(items)),)).rowcount


def storable(text: str) -> str:
    """The text with what UTF-8 cannot hold (half of a surrogate pair, from a bad byte) written out as `\\udc80`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables of this version in a ledger that has none yet."""
    with transaction(connection):
        if read_version(connection):
            return
        execute_all(connection, TABLES)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", INITIAL_META.items())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def execute_all(connection: sqlite3.Connection, statements: str) -> None:
    """Executes statements one after the other; `executescript` would commit before them."""
    statement = ""
    for piece in statements.split(";")[:-1]:
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):  # not inside a trigger
            connection.execute(statement)
            statement = ""


def read_version(connection: sqlite3.Connection) -> int:
    """The version of the ledger's tables; 0 where there are none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


# What leads from a version to the next one. A fresh ledger has all tables at once: a test compares them.
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
"""
    + MANIFEST_BLOCKS
    + ITEM_TRIGGERS
    + CHECKPOINTS,
    3: "ALTER TABLE item ADD COLUMN image_hash TEXT;",
    4: f"""
CREATE TABLE item_5 ({ITEM_COLUMNS});
INSERT INTO item_5 SELECT * FROM item;
DROP TABLE item;
ALTER TABLE item_5 RENAME TO item;
{";".join(ITEM_INDEXES.values())};
"""
    + ITEM_TRIGGERS,
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
