"""After a crash: staged items are finished, unknown temporary and orphaned files removed, and doubtful files checked.

Nothing on disk is believed without its row, and after a change of boot no row of the last run without its file.

Orphaned files are what an earlier run or another plan made, and no row vouches for now: of items that ended without an
image, or of sources that left the list (`prune_absent`). The image of an item's earlier URL stays while the new URL
fails, and goes when a check rejects what is there now. The order is that of every change, ledger first: the row says
that the item was rejected or failed, or forgets that it was done; then its file goes, then the row forgets the file's
name. What a kill leaves in between is found by the name that the row still has. A source that is listed again in
between is fetched again, and its new file replaces what is left of the old one.
"""

import contextlib
import json
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from batchproc.failpoints import failpoint
from batchproc.kinds import Code
from batchproc.ledger.files import Images, is_as_recorded, packed_items
from batchproc.ledger.runs import LedgerRun, boot_id, last_runs
from batchproc.ledger.schema import WINDOW, touch, transaction


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


def recover(connection: sqlite3.Connection, images: Images) -> Recovered:
    """Makes ledger and files agree again. Needs the run lock, and comes before the first row of this run."""
    finished, lost = _finish_staged(connection, images)
    lost += _check_last_run(connection, images)
    emptied = sweep_orphaned(connection, images)
    return Recovered(finished=finished, lost=lost, swept=_sweep(images), emptied=emptied)


def _finish_staged(connection: sqlite3.Connection, images: Images) -> tuple[int, int]:
    finished: list[int] = []
    lost: list[int] = []
    for output in list(_read_outputs(connection, "state = 'staged'", ())):
        good = _finish(output, images)
        (finished if good else lost).append(output.item)
    if finished or lost:
        images.sync()
        with transaction(connection):
            mark_done(connection, finished)
            _mark_lost(connection, lost)
            touch(connection)
    return len(finished), len(lost)


def _finish(output: _Output, images: Images) -> bool:
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


def _check_last_run(connection: sqlite3.Connection, images: Images) -> int:
    """After another boot, a committed row may be younger than its file's bytes: sizes are checked, and hashes too
    when the run had no end (the machine went down under it)."""
    runs = last_runs(connection, 1)
    if not runs or not _booted_since(runs[0]):
        return 0
    hashed = not runs[0].is_clean
    packed = packed_items(connection, images, is_thorough=hashed)
    lost: list[int] = []
    for output in _read_outputs(connection, "state = 'done' AND last_run = ?", (runs[0].number,)):
        path, sha256 = images.final_path(output.key_hex, output.suffix), (output.sha256 or b"") if hashed else None
        if not is_as_recorded(path, output.size_bytes, sha256) and not packed.holds(output.item):
            lost.append(output.item)
    if lost:
        with transaction(connection):
            _mark_lost(connection, lost)
            touch(connection)
    return len(lost)


def _booted_since(run: LedgerRun) -> bool:
    """Whether the machine was started again since; where it does not say, an unclean end counts as one."""
    return run.boot_id != boot_id() or (not run.boot_id and not run.is_clean)


def _sweep(images: Images) -> int:
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


def mark_done(connection: sqlite3.Connection, items: list[int]) -> None:
    """The second half of the order "ledger first, name after": these items have their final name."""
    if not items:
        return
    connection.execute(
        "UPDATE item SET state = 'done', temporary = NULL, stale_suffix = NULL "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(items),),
    )


def mark_blocked(connection: sqlite3.Connection, items: list[int]) -> None:
    """These items failed: a folder stands under the name of their file, and folders are never deleted."""
    if not items:
        return
    connection.execute(
        "UPDATE item SET state = 'failed', due = 0, temporary = NULL, stage = 'output', code = ?, message = ?, "
        "hint = ? WHERE id IN (SELECT value FROM json_each(?))",
        (
            Code.IO_OTHER,
            "a folder stands where the image's file belongs",
            "remove it and run again with --retry-failed",
            json.dumps(items),
        ),
    )


def _mark_lost(connection: sqlite3.Connection, items: list[int]) -> None:
    connection.execute(
        "UPDATE item SET state = 'pending', due = 1, temporary = NULL, made_url = NULL, made_extra_json = NULL "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(items),),
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
    if not items:
        return []
    return _read_orphaned(connection, "id IN (SELECT value FROM json_each(?))", (json.dumps(items),))


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


def prune_originals(connection: sqlite3.Connection, images: Images) -> int:
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
