"""Failures whose cause was in the config are due again once that part of the config has changed.

Every run notes the fingerprints of the keys that decide failures; an item's failure is of its last run.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batchproc.kinds import kind_of
from batchproc.ledger.schema import touch, transaction
from batchproc.record.counts import DueAgain

DECIDED = "state IN ('failed', 'rejected', 'quarantined') AND stage != 'input' AND last_run IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Items of one code and run whose cause has changed."""

    code: str
    run: int
    resting: int  # of them, those that are not due anyway
    keys: tuple[str, ...]


def find_due_again(connection: sqlite3.Connection, now: Mapping[str, str], *, max_runs: int) -> DueAgain:
    """What `make_due_again` would do. `now`: the fingerprints of the config as it is, by key."""
    return _sum(list(_groups(connection, now, max_runs)))


def make_due_again(connection: sqlite3.Connection, now: Mapping[str, str], *, max_runs: int) -> DueAgain:
    """Makes pending what the config decided otherwise than it would now."""
    groups = list(_groups(connection, now, max_runs))
    if groups:
        with transaction(connection):
            connection.executemany(
                f"UPDATE item SET state = 'pending', due = 1, runs = 0 WHERE {DECIDED} AND code = ? AND last_run = ?",
                [(group.code, group.run) for group in groups],
            )
            touch(connection)
    return _sum(groups)


def _sum(groups: list[_Group]) -> DueAgain:
    return DueAgain(
        items=sum(group.resting for group in groups),
        because=tuple(sorted({key for group in groups if group.resting for key in group.keys})),
    )


def _groups(connection: sqlite3.Connection, now: Mapping[str, str], max_runs: int) -> Iterator[_Group]:
    if not connection.execute("SELECT 1 FROM pragma_table_info('run') WHERE name = 'deciding_json'").fetchone():
        return  # a ledger of an earlier version, that is only read
    before: dict[int, dict[str, str]] = {
        run: json.loads(text) for run, text in connection.execute("SELECT id, deciding_json FROM run")
    }
    groups = connection.execute(
        f"SELECT code, last_run, sum(due = 0 OR runs >= ?) FROM item WHERE {DECIDED} GROUP BY code, last_run",
        (max_runs,),
    )
    for code, run, resting in groups.fetchall():
        known = before.get(run, {})
        changed = [key for key in kind_of(code).decided_by if key in known and known[key] != now.get(key, known[key])]
        if changed:
            yield _Group(code=code, run=run, resting=resting, keys=tuple(changed))
