"""Which blocks of the manifests are known, so that the files need not be made again from the ledger as a whole."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from batchproc.ledger.schema import transaction
from batchproc.manifest import BLOCK_ITEMS, Block

CURRENT = "manifests"  # in `meta`: what the files looked like when they were last written
METADATA, FAILURES = "metadata", "failures"


def known_blocks(connection: sqlite3.Connection, manifest: str) -> dict[int, Block]:
    """The blocks of a manifest of which no row has changed since it was written, by their numbers."""
    rows = connection.execute(
        "SELECT number, start_bytes, size_bytes, digest FROM manifest_block WHERE manifest = ?", (manifest,)
    )
    return {
        number: Block(start_bytes=start_bytes, size_bytes=size_bytes, digest=digest)
        for number, start_bytes, size_bytes, digest in rows
    }


def spans(last_item: int) -> Iterator[tuple[int, int, int]]:
    """The blocks that hold the items 1 to `last_item`: number, first item, last item."""
    for number, first in enumerate(range(1, last_item + 1, BLOCK_ITEMS)):
        yield number, first, first + BLOCK_ITEMS - 1


def note_manifests(connection: sqlite3.Connection, written: Mapping[str, Sequence[Block]], looks: str) -> None:
    """Notes that the manifests tell what the ledger tells now, where their blocks stand, and how the files look."""
    full = connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()[0] // BLOCK_ITEMS
    with transaction(connection):
        for manifest, blocks in written.items():
            connection.execute("DELETE FROM manifest_block WHERE manifest = ?", (manifest,))
            connection.executemany(
                "INSERT INTO manifest_block VALUES (?, ?, ?, ?, ?)",
                [
                    (manifest, number, block.start_bytes, block.size_bytes, block.digest)
                    for number, block in enumerate(blocks[:full])
                ],
            )
        connection.execute(
            "UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'revision') WHERE name = 'manifests_revision'"
        )
        connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (CURRENT, looks)
        )
