"""The files of images: what the ledger asks of them, whether they are there and as their rows say, and reserved room.

Files that are missing or differ are due again on demand. An image that is in a shard has no file of its own.
"""

import errno
import hashlib
import json
import os
import sqlite3
import stat
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from batchproc.failpoints import failpoint
from batchproc.ledger.schema import MADE, WINDOW, touch, transaction


class Images(Protocol):
    """Where output images are: their temporary and their final names. By the writer thread, or before it starts."""

    def temporary_name(self, path: str) -> str:
        """The name of a temporary file among the temporary files: what the ledger remembers of its path."""
        ...

    def temporary_path(self, name: str) -> Path: ...

    def temporary_names(self) -> Iterable[str]:
        """The names of the temporary files that exist."""
        ...

    def file_name(self, key_hex: str, suffix: str) -> str:
        """The path of an image as the manifests name it."""
        ...

    def final_path(self, key_hex: str, suffix: str) -> Path: ...

    def final_names(self) -> Iterable[tuple[str, str]]:
        """Key and suffix of every image's file that exists."""
        ...

    def names_in(self, prefix: str) -> list[str]:
        """The names of all files in the folder of the keys that begin with these two digits."""
        ...

    def shard_path(self, name: str) -> Path | None:
        """Where a shard is; None where it is not on a disk, and was seen there when it was written."""
        ...

    def original_files(self) -> Iterable[tuple[str, str]]:
        """The hash and the path of every original that was kept."""
        ...

    def snapshot(self) -> str:
        """What changes whenever a file is added or removed; empty while the last such change is too recent to know."""
        ...

    def place(self, name: str, key_hex: str, suffix: str) -> None:
        """Gives a temporary file its final name, replacing what is there. Raises OSError."""
        ...

    def remove(self, key_hex: str, suffix: str) -> None:
        """Deletes the file of an older image; one that is already gone is fine, and a folder stays."""
        ...

    def sync(self) -> None:
        """Makes the names given since the last call survive a power cut."""
        ...


CHECKED = "files_checked"  # in `meta`: a snapshot of the folders, the revision of the items, and how many were missing
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

    Not a probe of each file: for 1,000,000 of them that takes as many reads of a disk.
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


class Repaired(Struct, frozen=True, kw_only=True):
    """What was found of the files, all of which were read."""

    whole: int
    missing: int
    changed: int
    unreadable: int

    @property
    def lost(self) -> int:
        return self.missing + self.changed + self.unreadable


HasShard: TypeAlias = Callable[[str, int, bytes], bool]  # whether a shard of this name has this size and hash


def repair(connection: sqlite3.Connection, images: Images, has_shard: HasShard | None = None) -> Repaired:
    """Makes items due again whose file is missing or differs in size or hash. Reads every file. Needs the run lock.

    `has_shard` looks at shards that are not on a disk; without it they are believed.
    An image of an earlier URL that is lost is forgotten: its item is what its own URL came to.
    """
    counts: Counter[FileState] = Counter()
    packed = packed_items(connection, images, is_thorough=True, has_shard=has_shard)
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


RESERVE_BYTES = 1024 * 1024


class ReserveFile:
    """One reserved file at `path`. `release` may be called from any thread, more than once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def reserve(self) -> None:
        """Takes the room. Raises OSError (ENOSPC) when there is none, or when something else has the file's name."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileExistsError(errno.EEXIST, "there is something else than a file", str(self._path))
            missing_bytes = RESERVE_BYTES - os.fstat(descriptor).st_size
            if missing_bytes > 0:
                # Real zeros: a sparse file takes no room, and not every file system can reserve any other way.
                os.lseek(descriptor, 0, os.SEEK_END)
                _write_all(descriptor, bytes(missing_bytes))
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Gives the room back."""
        self._path.unlink(missing_ok=True)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


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


def packed_items(
    connection: sqlite3.Connection, images: Images, *, is_thorough: bool = False, has_shard: HasShard | None = None
) -> PackedItems:
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
            if (
                is_as_recorded(path, size_bytes, sha256 if is_thorough else None)
                if (path := images.shard_path(name)) is not None
                else has_shard is None or has_shard(name, size_bytes, sha256)
            )
        ]
    )


def knows_shards(connection: sqlite3.Connection) -> bool:
    """Whether the job has ever packed its images."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'shard'"
    return connection.execute(query).fetchone() is not None


def is_as_recorded(path: Path, size_bytes: int | None, sha256: bytes | None) -> bool:
    """Whether the file is there with this size and, where one is given, this hash. What the disk withholds is not."""
    if sha256 is not None:
        return examine(path, size_bytes, sha256) is FileState.WHOLE
    try:
        return not path.is_symlink() and path.stat().st_size == size_bytes
    except OSError:
        return False
