"""Whether the image of an item is in a shard that is there, since it has no file of its own then."""

import hashlib
import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from batchproc.ledger.images import Images


class PackedItems:
    """Items whose images are in shards: ranges in their order, which do not overlap."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def __len__(self) -> int:
        return len(self._firsts)

    def holds(self, item: int) -> bool:
        """Whether a shard is there that was made with the image of this item."""
        place = bisect_right(self._firsts, item) - 1
        return place >= 0 and item <= self._lasts[place]


def packed_items(connection: sqlite3.Connection, images: Images, *, is_thorough: bool = False) -> PackedItems:
    """The items of all shards that are as the ledger knows them: by size, and `is_thorough`, by hash."""
    if not knows_shards(connection):
        return PackedItems(())
    rows = connection.execute(
        "SELECT first, last, name, size_bytes, sha256 FROM shard WHERE state = 'made' ORDER BY first"
    ).fetchall()
    return PackedItems(
        [
            (first, last)
            for first, last, name, size_bytes, sha256 in rows
            if _is_whole(images.shard_path(name), size_bytes, sha256 if is_thorough else None)
        ]
    )


def knows_shards(connection: sqlite3.Connection) -> bool:
    """Whether the job has ever packed its images."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'shard'"
    return connection.execute(query).fetchone() is not None


def _is_whole(path: Path, size_bytes: int, sha256: bytes | None) -> bool:
    try:
        if path.is_symlink() or path.stat().st_size != size_bytes:
            return False
        if sha256 is None:
            return True
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == sha256
    except OSError:
        return False
