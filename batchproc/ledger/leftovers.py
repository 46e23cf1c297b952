"""Files of items that ended without an image: what an earlier run or another plan made, and no row vouches for now.

The image of an item's earlier URL stays while the new URL fails, and goes when a check rejects what is there now.

The order is that of every change, ledger first: the row says that the item was rejected or failed, then its file goes,
then the row forgets the file's name. What a kill leaves in between is found by the name that the row still has.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchproc.failpoints import failpoint
from batchproc.ledger.images import Images
from batchproc.ledger.schema import transaction

WINDOW = 2_000
ENDED = "(state = 'rejected' OR (state IN ('failed', 'quarantined') AND made_url IS NULL))"
FILED = f"{ENDED} AND (suffix IS NOT NULL OR stale_suffix IS NOT NULL)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """The files that an item may have left."""

    item: int
    key_hex: str
    suffixes: tuple[str, ...]


def find_leftovers(connection: sqlite3.Connection, items: Sequence[int]) -> list[Leftover]:
    """What these items left, those that ended without an image."""
    if not items:
        return []
    return _read(connection, "id IN (SELECT value FROM json_each(?))", (json.dumps(items),))


def remove_leftover(images: Images, leftover: Leftover) -> None:
    """Deletes the files of one item, after the commit that says how it ended. Raises OSError."""
    for suffix in leftover.suffixes:
        images.remove(leftover.key_hex, suffix)
    failpoint("ledger.between_removals")


def forget_files(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    """Notes, inside a transaction, that these items have no file any more."""
    connection.execute(
        "UPDATE item SET suffix = NULL, stale_suffix = NULL, made_url = NULL, made_extra_json = NULL "
        f"WHERE {ENDED} AND id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(items)),),
    )


def sweep_leftovers(connection: sqlite3.Connection, images: Images) -> int:
    """Deletes what a killed run did not come to; returns of how many items. Needs the run lock. Raises OSError."""
    swept = 0
    while leftovers := _read(connection, f"true LIMIT {WINDOW}", ()):
        for leftover in leftovers:
            remove_leftover(images, leftover)
        images.sync()
        with transaction(connection):
            forget_files(connection, [leftover.item for leftover in leftovers])
        swept += len(leftovers)
    return swept


def _read(connection: sqlite3.Connection, condition: str, parameters: tuple[str, ...]) -> list[Leftover]:
    rows = connection.execute(
        f"SELECT id, key, suffix, stale_suffix FROM item WHERE {FILED} AND {condition}", parameters
    )
    return [
        Leftover(item=item, key_hex=key.hex(), suffixes=tuple(filter(None, suffixes))) for item, key, *suffixes in rows
    ]
