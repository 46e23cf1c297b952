"""The files of images: whether they are there and as their rows say, which are finished after a crash, and which go.

Files that are missing or differ are due again on demand. An image that is in a shard has no file of its own. At a start
nothing on disk is believed without its row, and after a change of boot no row of the last run without its file.

Orphaned files are what an earlier run or another plan made, and no row vouches for now: of items that ended without an
image, or of sources that left the list (`prune_absent`). The image of an item's earlier URL stays while the new URL
fails, and goes when a check rejects what is there now. The order is that of every change, ledger first: the row says
that the item was rejected or failed, or forgets that it was done; then its file goes, then the row forgets the file's
name. What a kill leaves in between is found by the name that the row still has. A source that is listed again in
between is fetched again, and its new file replaces what is left of the old one.
"""

import hashlib
import json
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from batchproc.failpoints import failpoint
from batchproc.kinds import Code
from batchproc.ledger.schema import AMONG, MADE, NO_EARLIER, WINDOW, touch, transaction, update_items
from batchproc.sink.layout import ImageFolder

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

    def __init__(self, images: ImageFolder) -> None:
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


READ = f"SELECT id, key, suffix, size_bytes, sha256 FROM item NOT INDEXED WHERE {MADE} AND id > ? ORDER BY id LIMIT ?"
LOST = (
    "state = iif(state = 'done', 'pending', state), due = iif(state = 'done', 1, due), "
    f"runs = iif(state = 'done', 0, runs), {NO_EARLIER}"
)


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


def repair(connection: sqlite3.Connection, images: ImageFolder, has_shard: HasShard | None = None) -> Repaired:
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
                update_items(connection, lost, LOST)
                touch(connection)
            failpoint("ledger.repair")
        last = rows[-1][0]
    return Repaired(**{state.value: counts[state] for state in FileState})


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
    connection: sqlite3.Connection, images: ImageFolder, *, is_thorough: bool = False, has_shard: HasShard | None = None
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


class Recovered(Struct, frozen=True, kw_only=True):
    """What was found at the start. All zero after a clean end."""

    finished: int = 0  # staged items that have their final name now
    lost: int = 0  # staged or done items whose file is not what the row says: pending again
    swept: int = 0  # temporary files without a row
    emptied: int = 0  # items that ended without an image, whose older file is gone now


class _Output(Struct, frozen=True, kw_only=True):
    item: int
    key_hex: str
    temporary: str
    suffix: str
    stale_suffix: str
    size_bytes: int
    sha256: bytes | None


def recover(
    connection: sqlite3.Connection, images: ImageFolder, *, doubtful: int = 0, is_killed: bool = False
) -> Recovered:
    """Makes ledger and files agree again. Needs the run lock, and comes before the first row of this run.

    `doubtful`: the last run, where the machine was started again since; `is_killed`: and it had no end.
    """
    finished, lost = _finish_staged(connection, images)
    if doubtful:
        lost += _check_run(connection, images, doubtful, is_hashed=is_killed)
    emptied = sweep_orphaned(connection, images)
    return Recovered(finished=finished, lost=lost, swept=_sweep(images), emptied=emptied)


def _finish_staged(connection: sqlite3.Connection, images: ImageFolder) -> tuple[int, int]:
    finished: list[int] = []
    lost: list[int] = []
    for output in list(_read_outputs(connection, "state = 'staged'", ())):
        good = _finish(output, images)
        (finished if good else lost).append(output.item)
    if finished or lost:
        images.sync()
        with transaction(connection):
            mark_done(connection, finished)
            update_items(connection, lost, f"state = 'pending', due = 1, temporary = NULL, {NO_EARLIER}")
            touch(connection)
    return len(finished), len(lost)


def _finish(output: _Output, images: ImageFolder) -> bool:
    """Renames what is still temporary, or finds it already named; hashes decide, since names may be older."""
    if is_as_recorded(images.temporary_path(output.temporary), output.size_bytes, output.sha256 or b""):
        try:
            images.place(output.temporary, output.key_hex, output.suffix)
        except IsADirectoryError:
            return False
    elif not is_as_recorded(images.final_path(output.key_hex, output.suffix), output.size_bytes, output.sha256 or b""):
        return False
    if output.stale_suffix:
        images.remove(output.key_hex, output.stale_suffix)
    return True


def _check_run(connection: sqlite3.Connection, images: ImageFolder, run: int, *, is_hashed: bool) -> int:
    """After another boot, a committed row may be younger than its file's bytes: sizes are checked, and hashes too
    when the run had no end (the machine went down under it)."""
    packed = packed_items(connection, images, is_thorough=is_hashed)
    lost: list[int] = []
    for output in _read_outputs(connection, "state = 'done' AND last_run = ?", (run,)):
        path, sha256 = images.final_path(output.key_hex, output.suffix), (output.sha256 or b"") if is_hashed else None
        if not is_as_recorded(path, output.size_bytes, sha256) and not packed.holds(output.item):
            lost.append(output.item)
    if lost:
        with transaction(connection):
            update_items(connection, lost, f"state = 'pending', due = 1, temporary = NULL, {NO_EARLIER}")
            touch(connection)
    return len(lost)


def _sweep(images: ImageFolder) -> int:
    swept = 0
    for name in list(images.temporary_names()):
        images.temporary_path(name).unlink(missing_ok=True)
        swept += 1
    return swept


def _read_outputs(connection: sqlite3.Connection, condition: str, parameters: tuple[int, ...]) -> Iterator[_Output]:
    last = 0
    while True:
        rows = connection.execute(
            "SELECT id, key, temporary, suffix, stale_suffix, size_bytes, sha256 FROM item "
            f"WHERE {condition} AND id > ? ORDER BY id LIMIT {WINDOW}",
            (*parameters, last),
        ).fetchall()
        for item, key, temporary, suffix, stale_suffix, size_bytes, sha256 in rows:
            yield _Output(
                item=item, key_hex=key.hex(), temporary=temporary or "", suffix=suffix, sha256=sha256,
                stale_suffix=stale_suffix or "", size_bytes=size_bytes,
            )  # fmt: skip
        if len(rows) < WINDOW:
            return
        last = rows[-1][0]


def mark_done(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    """The second half of the order "ledger first, name after": these items have their final name."""
    update_items(connection, items, "state = 'done', temporary = NULL, stale_suffix = NULL")


def mark_blocked(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    """These items failed: a folder stands under the name of their file, and folders are never deleted."""
    update_items(connection, items, BLOCKED)


BLOCKED = (
    f"state = 'failed', due = 0, temporary = NULL, stage = 'output', code = '{Code.IO_OTHER}', "
    "message = 'a folder stands where the image''s file belongs', hint = 'remove it and run again with --retry-failed'"
)
ENDED = "(state = 'rejected' OR (state IN ('failed', 'quarantined') AND made_url IS NULL))"
FILED = f"{ENDED} AND (suffix IS NOT NULL OR stale_suffix IS NOT NULL)"
ABSENT_FILED = "state = 'absent' AND suffix IS NOT NULL"  # absent, and may have a file


class OrphanedFiles(Struct, frozen=True, kw_only=True):
    """The files that an item may have left."""

    item: int
    key_hex: str
    suffixes: tuple[str, ...]


def find_orphaned(connection: sqlite3.Connection, items: Sequence[int]) -> list[OrphanedFiles]:
    """What these items left, those that ended without an image."""
    return _read_orphaned(connection, AMONG, (json.dumps(items),)) if items else []


def remove_orphaned(images: ImageFolder, files: OrphanedFiles) -> None:
    """Deletes the files of one item, after the commit that says how it ended. Raises OSError."""
    for suffix in files.suffixes:
        images.remove(files.key_hex, suffix)
    failpoint("ledger.between_removals")


def forget_files(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    """Notes, inside a transaction, that these items have no file any more."""
    update_items(connection, items, f"suffix = NULL, stale_suffix = NULL, {NO_EARLIER}", ENDED)


def sweep_orphaned(connection: sqlite3.Connection, images: ImageFolder) -> int:
    """Deletes what a killed run did not come to; returns of how many items. Needs the run lock. Raises OSError."""
    swept = 0
    while orphaned := _read_orphaned(connection, f"true LIMIT {WINDOW}", ()):
        for files in orphaned:
            remove_orphaned(images, files)
        images.sync()
        with transaction(connection):
            forget_files(connection, [files.item for files in orphaned])
        swept += len(orphaned)
    return swept


def _read_orphaned(connection: sqlite3.Connection, condition: str, parameters: tuple[str, ...]) -> list[OrphanedFiles]:
    rows = connection.execute(
        f"SELECT id, key, suffix, stale_suffix FROM item WHERE {FILED} AND {condition}", parameters
    )
    return [
        OrphanedFiles(item=item, key_hex=key.hex(), suffixes=tuple(filter(None, suffixes)))
        for item, key, *suffixes in rows
    ]


def prune_originals(connection: sqlite3.Connection, images: ImageFolder) -> int:
    """Deletes the kept originals that no image was made from; returns how many. Needs the run lock. Raises OSError.

    They are of pruned items, of sources that have other bytes by now, or a kill came before their row.
    """
    files = sorted(images.original_files())
    if not files:
        return 0
    named = array("q")  # 8 bytes of the hash: that two begin alike only keeps a file
    for (digest,) in connection.execute("SELECT source_sha256 FROM item WHERE suffix IS NOT NULL"):
        named.append(_beginning(digest or b""))
    named = array("q", sorted(named))
    pruned = 0
    for sha256, path in files:
        wanted = _beginning(bytes.fromhex(sha256))
        place = bisect_left(named, wanted)
        if place == len(named) or named[place] != wanted:
            Path(path).unlink(missing_ok=True)
            pruned += 1
            failpoint("ledger.original_pruned")
    return pruned


def _beginning(digest: bytes) -> int:
    return int.from_bytes(digest[:8], signed=True)


def prune_absent(connection: sqlite3.Connection, images: ImageFolder) -> int:
    """Deletes the files of all absent items; returns how many rows lost theirs. Needs the run lock. Raises OSError."""
    pruned = 0
    query = f"SELECT id, key, suffix FROM item WHERE {ABSENT_FILED} LIMIT {WINDOW}"
    while rows := connection.execute(query).fetchall():
        items = [item for item, _, _ in rows]
        with transaction(connection):
            update_items(connection, items, f"before_absent = 'pending', due = 1, runs = 0, {NO_EARLIER}")
        failpoint("ledger.prune_marked")
        for _, key, suffix in rows:
            images.remove(key.hex(), suffix)
            failpoint("ledger.prune_removed")
        with transaction(connection):
            update_items(connection, items, "suffix = NULL")
        pruned += len(rows)
    return pruned
