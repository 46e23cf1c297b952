"""Orphaned files: what an earlier run or another plan made, and no row vouches for now.

They are of items that ended without an image, or of sources that left the list (`prune_absent`). The image of
an item's earlier URL stays while the new URL fails, and goes when a check rejects what is there now.

The order is that of every change, ledger first: the row says that the item was rejected or failed, or forgets that it
was done; then its file goes, then the row forgets the file's name. What a kill leaves in between is found by the name
that the row still has. A source that is listed again in between is fetched again, and its new file replaces what is
left of the old one.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchproc.failpoints import failpoint
from batchproc.ledger.images import Images
from batchproc.ledger.schema import WINDOW, transaction

ENDED = "(state = 'rejected' OR (state IN ('failed', 'quarantined') AND made_url IS NULL))"
FILED = f"{ENDED} AND (suffix IS NOT NULL OR stale_suffix IS NOT NULL)"
ABSENT_FILED = "state = 'absent' AND suffix IS NOT NULL"  # absent, and may have a file


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedFiles:
    """The files that an item may have left."""

    item: int
    key_hex: str
    suffixes: tuple[str, ...]


def find_orphaned(connection: sqlite3.Connection, items: Sequence[int]) -> list[OrphanedFiles]:
    """What these items left, those that ended without an image."""
    if not items:
        return []
    return _read(connection, "id IN (SELECT value FROM json_each(?))", (json.dumps(items),))


def remove_orphaned(images: Images, files: OrphanedFiles) -> None:
    """Deletes the files of one item, after the commit that says how it ended. Raises OSError."""
    for suffix in files.suffixes:
        images.remove(files.key_hex, suffix)
    failpoint("ledger.between_removals")


def forget_files(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    """Notes, inside a transaction, that these items have no file any more."""
    connection.execute(
        "UPDATE item SET suffix = NULL, stale_suffix = NULL, made_url = NULL, made_extra_json = NULL "
        f"WHERE {ENDED} AND id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(items)),),
    )


def sweep_orphaned(connection: sqlite3.Connection, images: Images) -> int:
    """Deletes what a killed run did not come to; returns of how many items. Needs the run lock. Raises OSError."""
    swept = 0
    while orphaned := _read(connection, f"true LIMIT {WINDOW}", ()):
        for files in orphaned:
            remove_orphaned(images, files)
        images.sync()
        with transaction(connection):
            forget_files(connection, [files.item for files in orphaned])
        swept += len(orphaned)
    return swept


def _read(connection: sqlite3.Connection, condition: str, parameters: tuple[str, ...]) -> list[OrphanedFiles]:
    rows = connection.execute(
        f"SELECT id, key, suffix, stale_suffix FROM item WHERE {FILED} AND {condition}", parameters
    )
    return [
        OrphanedFiles(item=item, key_hex=key.hex(), suffixes=tuple(filter(None, suffixes)))
        for item, key, *suffixes in rows
    ]


def prune_absent(connection: sqlite3.Connection, images: Images) -> int:
    """Deletes the files of all absent items; returns how many rows lost theirs. Needs the run lock. Raises OSError."""
    pruned = 0
    query = f"SELECT id, key, suffix FROM item WHERE {ABSENT_FILED} LIMIT {WINDOW}"
    while rows := connection.execute(query).fetchall():
        items = json.dumps([item for item, _, _ in rows])
        with transaction(connection):
            connection.execute(
                "UPDATE item SET before_absent = 'pending', due = 1, runs = 0, made_url = NULL, made_extra_json = NULL "
                "WHERE id IN (SELECT value FROM json_each(?))",
                (items,),
            )
        failpoint("ledger.prune_marked")
        for _, key, suffix in rows:
            with contextlib.suppress(IsADirectoryError):  # folders are never deleted, and this one is not ours
                images.remove(key.hex(), suffix)
            failpoint("ledger.prune_removed")
        with transaction(connection):
            connection.execute(
                "UPDATE item SET suffix = NULL WHERE id IN (SELECT value FROM json_each(?))", (items,)
            )
        pruned += len(rows)
    return pruned
