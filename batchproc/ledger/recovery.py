"""After a crash: staged items are finished, unknown temporary files swept, and doubtful files checked.

Nothing on disk is believed without its row, and after a change of boot no row of the last run without its file.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchproc.kinds import Code
from batchproc.ledger.files import FileState, examine
from batchproc.ledger.images import Images
from batchproc.ledger.orphans import sweep_orphaned
from batchproc.ledger.packed import packed_items
from batchproc.ledger.runs import LedgerRun, boot_id, last_runs
from batchproc.ledger.schema import WINDOW, touch, transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What was found at the start. All zero after a clean end."""

    finished: int = 0  # staged items that have their final name now
    lost: int = 0  # staged or done items whose file is not what the row says: pending again
    swept: int = 0  # temporary files without a row
    emptied: int = 0  # items that ended without an image, whose older file is gone now


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendition:
    item: int
    key_hex: str
    temporary: str
    suffix: str
    stale_suffix: str
    size_bytes: int
    sha256: bytes


def recover(connection: sqlite3.Connection, images: Images) -> Recovered:
    """Makes ledger and files agree again. Needs the run lock, and comes before the first row of this run."""
    finished, lost = _finish_staged(connection, images)
    lost += _check_last_run(connection, images)
    emptied = sweep_orphaned(connection, images)
    return Recovered(finished=finished, lost=lost, swept=_sweep(images), emptied=emptied)


def _finish_staged(connection: sqlite3.Connection, images: Images) -> tuple[int, int]:
    finished: list[int] = []
    lost: list[int] = []
    for rendition in list(_read(connection, "state = 'staged'", ())):
        good = _finish(rendition, images)
        (finished if good else lost).append(rendition.item)
    if finished or lost:
        images.sync()
        with transaction(connection):
            mark_done(connection, finished)
            _mark_lost(connection, lost)
            touch(connection)
    return len(finished), len(lost)


def _finish(rendition: _Rendition, images: Images) -> bool:
    """Renames what is still temporary, or finds it already named; hashes decide, since names may be older."""
    if _is_whole(images.temporary_path(rendition.temporary), rendition, hashed=True):
        try:
            images.place(rendition.temporary, rendition.key_hex, rendition.suffix)
        except IsADirectoryError:
            return False
    elif not _is_whole(images.final_path(rendition.key_hex, rendition.suffix), rendition, hashed=True):
        return False
    if rendition.stale_suffix:
        images.remove(rendition.key_hex, rendition.stale_suffix)
    return True


def _check_last_run(connection: sqlite3.Connection, images: Images) -> int:
    """After another boot, a committed row may be younger than its file's bytes: sizes are checked, and hashes too
    when the run had no end (the machine went down under it)."""
    runs = last_runs(connection, 1)
    if not runs or not _booted_since(runs[0]):
        return 0
    hashed = not runs[0].is_clean
    packed = packed_items(connection, images, is_thorough=hashed)
    lost = [
        rendition.item
        for rendition in _read(connection, "state = 'done' AND last_run = ?", (runs[0].number,))
        if not _is_whole(images.final_path(rendition.key_hex, rendition.suffix), rendition, hashed=hashed)
        and not packed.holds(rendition.item)
    ]
    if lost:
        with transaction(connection):
            _mark_lost(connection, lost)
            touch(connection)
    return len(lost)


def _booted_since(run: LedgerRun) -> bool:
    """Whether the machine was started again since; where it does not tell, an unclean end counts as one."""
    return run.boot_id != boot_id() or (not run.boot_id and not run.is_clean)


def _sweep(images: Images) -> int:
    swept = 0
    for name in list(images.temporary_names()):
        images.temporary_path(name).unlink(missing_ok=True)
        swept += 1
    return swept


def _is_whole(path: Path, rendition: _Rendition, *, hashed: bool) -> bool:
    """Whether this is the rendition's file. One that the disk does not give out is not: it is made again."""
    if hashed:
        return examine(path, rendition.size_bytes, rendition.sha256) is FileState.WHOLE
    try:
        return not path.is_symlink() and path.stat().st_size == rendition.size_bytes
    except OSError:
        return False


def _read(connection: sqlite3.Connection, condition: str, parameters: tuple[int, ...]) -> Iterator[_Rendition]:
    last = 0
    while True:
        rows = connection.execute(
            "SELECT id, key, temporary, suffix, stale_suffix, size_bytes, sha256 FROM item "
            f"WHERE {condition} AND id > ? ORDER BY id LIMIT {WINDOW}",
            (*parameters, last),
        ).fetchall()
        for item, key, temporary, suffix, stale_suffix, size_bytes, sha256 in rows:
            yield _Rendition(
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
