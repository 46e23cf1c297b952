"""What decided a result: the plan of an image, and the keys of the config behind a failure.

Results of two plans never mix unnoticed. A plan is known by its fingerprint, which is of the user's will alone. Beside
it stands the recipe: how the version of the program that ran made pixels of such a plan, and by which engine. What
another recipe made is as good as it was; it is reported, and made again on demand.

Failures whose cause was in the config are due again once that part of the config has changed: every run notes the
fingerprints of the keys that decide failures, and an item's failure is of its last run.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from batchproc.kinds import kind_of
from batchproc.ledger.schema import touch, transaction
from batchproc.record.run_json import DueAgain

Settings = Mapping[str, Any]
SameSettings = Callable[[Settings, Settings], bool]

OF_PLAN = "plan IN (SELECT id FROM plan WHERE fingerprint = ?)"
ADOPTED = "SELECT plan.id, fingerprint, settings_json FROM meta JOIN plan ON plan.id = meta.value WHERE name = 'plan'"
OF_ADOPTED_PLAN = (
    "plan IN (SELECT id FROM plan WHERE fingerprint = "
    "(SELECT fingerprint FROM meta JOIN plan ON plan.id = meta.value WHERE name = 'plan'))"
)
# What another plan would decide differently: images made or rejected, and images that could not be transformed.
DECIDED = (
    "(state IN ('done', 'rejected') OR (state = 'failed' AND stage = 'transform') "
    "OR (made_url IS NOT NULL AND state != 'absent' AND stage != 'input'))"
)


class PlanChange(Struct, frozen=True, kw_only=True):
    """The plan is not the one that the ledger's results were made with."""

    before: str  # its fingerprint
    settings: Settings  # of that plan
    stale: int  # items whose result another plan decided


def take_over_plans(
    connection: sqlite3.Connection, fingerprint: str, settings: Settings, is_same: SameSettings
) -> None:
    """Gives this fingerprint to every plan that made the same images by its settings, whatever its fingerprint was."""
    others = connection.execute("SELECT id, settings_json FROM plan WHERE fingerprint != ?", (fingerprint,))
    same = [plan for plan, text in others.fetchall() if is_same(json.loads(text), settings)]
    if same:
        with transaction(connection):
            connection.executemany(
                "UPDATE plan SET fingerprint = ?, settings_json = ? WHERE id = ?",
                [(fingerprint, json.dumps(settings), plan) for plan in same],
            )


def compare_plan(connection: sqlite3.Connection, fingerprint: str) -> PlanChange | None:
    """What changed since the adopted plan, or None where no image would have to be made again.

    Without an image of another plan, nothing can mix: what failed by the change is due again by itself.
    """
    adopted = connection.execute(ADOPTED).fetchone()
    if adopted is None or adopted[1] == fingerprint:
        return None
    # Items of the plan that is asked for now may be there too, from before the last change: they are not stale.
    stale, images = connection.execute(
        f"SELECT count(*), sum(state = 'done' OR made_url IS NOT NULL) FROM item WHERE {DECIDED} AND NOT {OF_PLAN}",
        (fingerprint,),
    ).fetchone()
    if not images:
        return None
    return PlanChange(before=adopted[1], settings=json.loads(adopted[2]), stale=stale)


def adopt_plan(
    connection: sqlite3.Connection, fingerprint: str, settings: Settings, *, recipe: str, remake_stale: bool
) -> int:
    """Makes this the plan of what is recorded from now on; returns how many stale items became pending again.

    `remake_stale`: what another plan or another recipe decided.
    """
    with transaction(connection):
        plan = _store(connection, fingerprint, json.dumps(settings), recipe)
        connection.execute(
            "INSERT INTO meta VALUES ('plan', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (plan,)
        )
        if not remake_stale:
            return 0
        touch(connection)
        stale = connection.execute(
            f"UPDATE item SET state = 'pending', due = 1, runs = 0, attempts = 0 WHERE {DECIDED} AND plan != ?", (plan,)
        ).rowcount
        connection.execute(
            "UPDATE item SET made_url = NULL, made_extra_json = NULL WHERE made_url IS NOT NULL AND plan != ?", (plan,)
        )
        connection.execute(
            "UPDATE item SET before_absent = 'pending', due = 1, runs = 0 "
            "WHERE state = 'absent' AND before_absent IN ('done', 'rejected') AND plan != ?",
            (plan,),
        )
        return stale


def with_recipe(connection: sqlite3.Connection, plan: int, recipe: str) -> int:
    """The row of the same plan with another recipe, inside a transaction."""
    fingerprint, settings_json = connection.execute(
        "SELECT fingerprint, settings_json FROM plan WHERE id = ?", (plan,)
    ).fetchone()
    return _store(connection, fingerprint, settings_json, recipe)


def adopted_plan(connection: sqlite3.Connection) -> int:
    """The row of the adopted plan. Raises LookupError before the first `adopt_plan`."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'plan'").fetchone()
    if row is None:
        raise LookupError("no plan was adopted: nothing can be recorded")
    return int(row[0])


def count_outdated(connection: sqlite3.Connection) -> int:
    """How many images are of the adopted plan, and of another recipe: of an earlier version, or by another engine."""
    other = connection.execute(
        "SELECT other.id FROM meta JOIN plan ON plan.id = meta.value "
        "JOIN plan AS other ON other.fingerprint = plan.fingerprint AND other.recipe != plan.recipe "
        "WHERE meta.name = 'plan'"
    ).fetchall()
    if not other:
        return 0
    query = "SELECT count(*) FROM item WHERE state = 'done' AND plan IN (SELECT value FROM json_each(?))"
    return int(connection.execute(query, (json.dumps([plan for (plan,) in other]),)).fetchone()[0])


def _store(connection: sqlite3.Connection, fingerprint: str, settings_json: str, recipe: str) -> int:
    """The row of this plan and recipe, made on demand, with these settings."""
    row = connection.execute(
        "SELECT id FROM plan WHERE fingerprint = ? AND recipe = ?", (fingerprint, recipe)
    ).fetchone()
    if row is None:
        cursor = connection.execute(
            "INSERT INTO plan (fingerprint, settings_json, recipe) VALUES (?, ?, ?)",
            (fingerprint, settings_json, recipe),
        )
        return int(cursor.lastrowid or 0)
    connection.execute("UPDATE plan SET settings_json = ? WHERE id = ?", (settings_json, row[0]))
    return int(row[0])


DECIDED_BY_CONFIG = "state IN ('failed', 'rejected', 'quarantined') AND stage != 'input' AND last_run IS NOT NULL"


class _Group(Struct, frozen=True, kw_only=True):
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
                "UPDATE item SET state = 'pending', due = 1, runs = 0 "
                f"WHERE {DECIDED_BY_CONFIG} AND code = ? AND last_run = ?",
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
        f"SELECT code, last_run, sum(due = 0 OR runs >= ?) FROM item WHERE {DECIDED_BY_CONFIG} GROUP BY code, last_run",
        (max_runs,),
    )
    for code, run, resting in groups.fetchall():
        known = before.get(run, {})
        changed = [key for key in kind_of(code).decided_by if key in known and known[key] != now.get(key, known[key])]
        if changed:
            yield _Group(code=code, run=run, resting=resting, keys=tuple(changed))
