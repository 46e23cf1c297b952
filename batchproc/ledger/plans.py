"""Which plan made which rendition: results of two plans never mix unnoticed."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from batchproc.ledger.schema import touch, transaction

# What another plan would decide differently: images made or rejected, and images that could not be transformed.
STALE = (
    "plan != ? AND (state IN ('done', 'rejected') OR (state = 'failed' AND stage = 'transform') "
    "OR (made_url IS NOT NULL AND state != 'absent'))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """The plan is not the one that the ledger's results were made with."""

    before: str  # fingerprints
    after: str
    stale: int  # items whose result another plan decided
    differences: tuple[str, ...]  # as "output.format: 'jpeg' -> 'webp'"


def compare_plan(
    connection: sqlite3.Connection, fingerprint: str, settings: Mapping[str, object]
) -> PlanChange | None:
    """What changed since the adopted plan, or None where nothing has to be made again."""
    adopted = connection.execute(
        "SELECT plan.id, fingerprint, settings_json FROM meta JOIN plan ON plan.id = meta.value WHERE name = 'plan'"
    ).fetchone()
    if adopted is None or adopted[1] == fingerprint:
        return None
    # Items of the plan that is asked for now may be there too, from before the last change: they are not stale.
    wanted = connection.execute("SELECT id FROM plan WHERE fingerprint = ?", (fingerprint,)).fetchone()
    stale = connection.execute(f"SELECT count(*) FROM item WHERE {STALE}", wanted or (-1,)).fetchone()[0]
    if not stale:
        return None
    differences = tuple(_describe_differences(json.loads(adopted[2]), _normalise(settings)))
    return PlanChange(before=adopted[1], after=fingerprint, stale=stale, differences=differences)


def adopt_plan(
    connection: sqlite3.Connection, fingerprint: str, settings: Mapping[str, object], *, remake_stale: bool
) -> int:
    """Makes this the plan of what is recorded from now on; returns how many stale items became pending again."""
    with transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO plan (fingerprint, settings_json) VALUES (?, ?)",
            (fingerprint, json.dumps(_normalise(settings))),
        )
        plan = connection.execute("SELECT id FROM plan WHERE fingerprint = ?", (fingerprint,)).fetchone()[0]
        connection.execute(
            "INSERT INTO meta VALUES ('plan', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (plan,)
        )
        if not remake_stale:
            return 0
        touch(connection)
        again = connection.execute(
            f"UPDATE item SET state = 'pending', due = 1, runs = 0, attempts = 0 WHERE {STALE} AND stage != 'input'",
            (plan,),
        ).rowcount
        connection.execute(
            "UPDATE item SET made_url = NULL, made_extra_json = NULL WHERE made_url IS NOT NULL AND plan != ?", (plan,)
        )
        connection.execute(
            "UPDATE item SET before_absent = 'pending', due = 1, runs = 0 "
            "WHERE state = 'absent' AND before_absent IN ('done', 'rejected') AND plan != ?",
            (plan,),
        )
        return again


def adopted_plan(connection: sqlite3.Connection) -> int:
    """The row of the adopted plan. Raises LookupError before the first `adopt_plan`."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'plan'").fetchone()
    if row is None:
        raise LookupError("no plan was adopted: nothing can be recorded")
    return int(row[0])


def _normalise(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings as they come back from JSON: a tuple is a list."""
    normal: dict[str, object] = json.loads(json.dumps(dict(settings), default=str))
    return normal


def _describe_differences(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [
        f"{name}: {before.get(name, 'not set')!r} -> {after.get(name, 'not set')!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
