"""Deleting the files of sources that left the list, in an order that a kill at any instant cannot turn into a lie.

First the row forgets that it was done, then the file goes, then the row forgets its file. A source that is listed
again in between is fetched again, and its new file replaces what is left of the old one.
"""

import contextlib
import json
import sqlite3

from batchproc.failpoints import failpoint
from batchproc.ledger.images import Images
from batchproc.ledger.schema import transaction

WINDOW = 2_000
FILED = "state = 'absent' AND suffix IS NOT NULL"  # absent, and may have a file


def prune_absent(connection: sqlite3.Connection, images: Images) -> int:
    """Deletes the files of all absent items; returns how many rows lost theirs. Needs the run lock. Raises OSError."""
    pruned = 0
    while rows := connection.execute(f"SELECT id, key, suffix FROM item WHERE {FILED} LIMIT {WINDOW}").fetchall():
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
