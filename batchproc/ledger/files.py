"""Whether the files of images are there, and are what their rows say; if not, items are due again on demand."""

import hashlib
import json
import sqlite3
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from batchproc.failpoints import failpoint
from batchproc.ledger.images import Images
from batchproc.ledger.packed import packed_items
from batchproc.ledger.schema import MADE, WINDOW, touch, transaction

CHECKED = "files_checked"  # in `meta`: the look of the folders, the revision of the items, and how many were missing
FOLDERS = 256


class FileState(StrEnum):
    """What a file is, compared with the row that names it."""

    WHOLE = "whole"
    MISSING = "missing"
    CHANGED = "changed"  # another size or hash, a link, or no file at all
    UNREADABLE = "unreadable"  # the system does not give it out


def examine(path: Path, size_bytes: int | None, sha256: bytes | None) -> FileState:
    """Looks at a file, reading it whole. A row without size or hash vouches for nothing."""
    try:
        if path.is_symlink() or not path.is_file():
            return FileState.CHANGED if path.is_symlink() or path.exists() else FileState.MISSING
        if path.stat().st_size != size_bytes:
            return FileState.CHANGED
        with path.open("rb") as file:
            is_whole = hashlib.file_digest(file, "sha256").digest() == sha256
        return FileState.WHOLE if is_whole else FileState.CHANGED
    except OSError:
        return FileState.UNREADABLE


class FileNames:
    """The names of all images that are there: one listing per folder, 8 bytes for each name.

    Not a look at each file: for 1,000,000 of them that takes as many reads of a disk.
    """

    def __init__(self, images: Images) -> None:
        self._hashes = [array("q", sorted(map(hash, images.names_in(f"{number:02x}")))) for number in range(FOLDERS)]

    def __len__(self) -> int:
        return sum(map(len, self._hashes))

    def count_missing(self, rows: Iterable[tuple[int, bytes, str | None]]) -> int:
        """How many of these images (id, key, suffix) are not there."""
        missing = 0
        for _, key, suffix in rows:
            hashes, wanted = self._hashes[key[0]], hash(f"{key.hex()}{suffix}")
            place = bisect_left(hashes, wanted)
            missing += place == len(hashes) or hashes[place] != wanted
        return missing


READ = (
    f"SELECT id, key, suffix, size_bytes, sha256 FROM item NOT INDEXED WHERE {MADE} AND id > ? "
    "ORDER BY id LIMIT ?"
)
LOST = """
UPDATE item SET state = iif(state = 'done', 'pending', state), due = iif(state = 'done', 1, due),
  runs = iif(state = 'done', 0, runs), made_url = NULL, made_extra_json = NULL
WHERE id IN (SELECT value FROM json_each(?))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was found of the files, all of which were read."""

    whole: int
    missing: int
    changed: int
    unreadable: int

    @property
    def lost(self) -> int:
        return self.missing + self.changed + self.unreadable


def repair(connection: sqlite3.Connection, images: Images) -> Repaired:
    """Makes items due again whose file is missing or differs in size or hash. Reads every file. Needs the run lock.

    An image of an earlier URL that is lost is forgotten: its item is what its own URL came to.
    """
    counts: Counter[FileState] = Counter()
    packed = packed_items(connection, images, is_thorough=True)
    last = 0
    while rows := connection.execute(READ, (last, WINDOW)).fetchall():
        lost = []
        for item, key, suffix, size_bytes, sha256 in rows:
            state = examine(images.final_path(key.hex(), suffix or ""), size_bytes, sha256)
            if state is FileState.MISSING and packed.holds(item):
                state = FileState.WHOLE
            counts[state] += 1
            if state is not FileState.WHOLE:
                lost.append(item)
        if lost:
            with transaction(connection):
                connection.execute(LOST, (json.dumps(lost),))
                touch(connection)
            failpoint("ledger.repair")
        last = rows[-1][0]
    return Repaired(**{state.value: counts[state] for state in FileState})
