"""Hosts that asked to be left alone for longer than a run: the next run waits too.

Moments are UTC seconds since 1970, the only clock that two runs share.
"""

import sqlite3
from collections.abc import Mapping

from batchproc.ledger.schema import transaction


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
