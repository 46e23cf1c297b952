"""How far the list is known: checkpoints of the last import, which hold whatever a killed import has done since.

They hold because of one rule: an item that is listed has the line where the list names it first. An import that goes on
behind a checkpoint gives only later lines, so that those up to it are the items of the beginning, at any instant.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from batchproc.remembered import Checkpoint

CLOSE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A checkpoint, and what an import had counted up to there."""

    checkpoint: Checkpoint
    duplicates: int
    bad_rows: int


def read_checkpoints(connection: sqlite3.Connection) -> tuple[Checkpoint, ...]:
    """The checkpoints, in the order of the list."""
    rows = connection.execute(
        "SELECT size_bytes, digest, line, header_json, columns_json FROM list_checkpoint ORDER BY size_bytes"
    )
    return tuple(
        Checkpoint(
            size_bytes=size_bytes, digest=digest, line=line, header=tuple(json.loads(header)), columns=columns_json
        )
        for size_bytes, digest, line, header, columns_json in rows
    )


def read_counts(connection: sqlite3.Connection, known: Checkpoint) -> tuple[int, int]:
    """The duplicates and the bad rows up to a checkpoint."""
    duplicates, bad_rows = connection.execute(
        "SELECT duplicates, bad_rows FROM list_checkpoint WHERE size_bytes = ?", (known.size_bytes,)
    ).fetchone()
    return duplicates, bad_rows


def forget_behind(connection: sqlite3.Connection, known: Checkpoint | None) -> bool:
    """Forgets, inside a transaction, what was known of the list behind a checkpoint, or all of it.

    Returns whether further rows of items were among that.
    """
    size_bytes, line = (known.size_bytes, known.line) if known else (-1, -1)
    connection.execute("DELETE FROM list_checkpoint WHERE size_bytes > ?", (size_bytes,))
    return connection.execute("DELETE FROM listed_row WHERE line > ?", (line,)).rowcount > 0


def store_checkpoints(connection: sqlite3.Connection, passed: Iterable[Passed]) -> None:
    """Notes checkpoints, inside the transaction in which the ledger comes to hold the whole list.

    Lists that grow a little every night bring one each: of those that are close together, the last one stays.
    """
    connection.executemany(
        "INSERT INTO list_checkpoint VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                one.checkpoint.size_bytes, one.checkpoint.digest, one.checkpoint.line,
                json.dumps(one.checkpoint.header), one.checkpoint.columns, one.duplicates, one.bad_rows,
            )
            for one in passed
        ],
    )  # fmt: skip
    connection.execute(
        "DELETE FROM list_checkpoint AS one WHERE EXISTS (SELECT 1 FROM list_checkpoint AS later WHERE "
        f"later.size_bytes > one.size_bytes AND later.size_bytes / {CLOSE_BYTES} = one.size_bytes / {CLOSE_BYTES})"
    )


def mark_known(connection: sqlite3.Connection, seen: bytearray, known: Checkpoint) -> None:
    """Marks the items, by id, that the list names up to a checkpoint."""
    seen[1:] = b"\1" * (len(seen) - 1)
    others = connection.execute("SELECT id FROM item NOT INDEXED WHERE line > ? OR state = 'absent'", (known.line,))
    for (item,) in others:
        seen[item] = 0
