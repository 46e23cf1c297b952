"""The history of a job: a row per run. A row without an end is a run that was killed.

Hosts that asked a run to be left alone for longer than it lasted are remembered too: the next run waits as well. Their
moments are UTC seconds since 1970, the only clock that two runs share.
"""

import json
import os
import platform
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from batchproc.ledger.schema import transaction

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")


class LedgerRun(Struct, frozen=True, kw_only=True):
    """One run as the ledger knows it. Times are UTC, ISO 8601; `ended` is empty for a run that was killed."""

    number: int
    name: str  # of its folder: the run_id
    started: str
    ended: str
    host: str
    pid: int
    boot_id: str
    exit_code: int | None
    counters: Mapping[str, object]

    @property
    def is_clean(self) -> bool:
        """Whether the run said that it ended."""
        return bool(self.ended)


def boot_id() -> str:
    """What changes with every start of the machine; empty where the system does not say."""
    try:
        return BOOT_ID_PATH.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def insert_run(
    connection: sqlite3.Connection, name: str, started: datetime, deciding: Mapping[str, str]
) -> int:
    """Opens the row of a run; returns its number. `deciding`: the fingerprints of what decides its failures."""
    with transaction(connection):
        cursor = connection.execute(
            "INSERT INTO run (name, started, host, pid, boot_id, deciding_json) VALUES (?, ?, ?, ?, ?, ?)",
            (name, _format(started), platform.node(), os.getpid(), boot_id(), json.dumps(dict(deciding))),
        )
        return int(cursor.lastrowid or 0)


def close_run(
    connection: sqlite3.Connection, number: int, ended: datetime, exit_code: int, counters: Mapping[str, object]
) -> None:
    """Writes the end of a run."""
    with transaction(connection):
        connection.execute(
            "UPDATE run SET ended = ?, exit_code = ?, counters_json = ? WHERE id = ?",
            (_format(ended), exit_code, json.dumps(dict(counters)), number),
        )


def restore_run(
    connection: sqlite3.Connection,
    name: str,
    *,
    started: datetime,
    ended: datetime,
    exit_code: int,
    counters: Mapping[str, object],
) -> None:
    """Writes the row of a run that ended long ago. Which machine it was on, and under which pid, is not known."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO run (name, started, ended, host, pid, boot_id, exit_code, counters_json) "
            "VALUES (?, ?, ?, '', 0, '', ?, ?)",
            (name, _format(started), _format(ended), exit_code, json.dumps(dict(counters))),
        )


def last_runs(connection: sqlite3.Connection, limit: int) -> list[LedgerRun]:
    """The last runs, newest first."""
    rows = connection.execute(
        "SELECT id, name, started, ended, host, pid, boot_id, exit_code, counters_json "
        "FROM run ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [
        LedgerRun(
            number=number, name=name, started=started, ended=ended or "", host=host, pid=pid, boot_id=boot,
            exit_code=exit_code, counters=dict(json.loads(counters)),
        )
        for number, name, started, ended, host, pid, boot, exit_code, counters in rows
    ]  # fmt: skip


def _format(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def store_pauses(connection: sqlite3.Connection, pauses: Mapping[str, float]) -> None:
    """Remembers until when to leave each host alone."""
    with transaction(connection):
        connection.executemany(
            "INSERT INTO host (name, not_before) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET not_before = excluded.not_before",
            pauses.items(),
        )


def forget_pauses(connection: sqlite3.Connection, now: float) -> None:
    """Forgets what is over."""
    with transaction(connection):
        connection.execute("DELETE FROM host WHERE not_before <= ?", (now,))


def read_pauses(connection: sqlite3.Connection, now: float, longest_seconds: float) -> dict[str, float]:
    """Until when to leave each host alone. A clock that was wrong cannot pause a host longer than `longest_seconds`."""
    rows = connection.execute("SELECT name, not_before FROM host WHERE not_before > ?", (now,))
    return {name: min(not_before, now + longest_seconds) for name, not_before in rows}
