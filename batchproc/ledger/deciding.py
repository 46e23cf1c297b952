"""What decided a result: the run and the plan of an image, the keys of the config behind a failure, and its likes.

Results of two plans never mix unnoticed. A plan is known by its fingerprint, which is of the user's will alone. Beside
it stands the recipe: how the version of the program that ran made pixels of such a plan, and by which engine. What
another recipe made is as good as it was; it is reported, and made again on demand.

Failures whose cause was in the config are due again once that part of the config has changed: every run notes the
fingerprints of the keys that decide failures, and an item's failure is of its last run.

Of images that look alike, over the whole job, the one that the list names first stays. Decided anew from all hashes
whenever something has changed: an image that comes late takes the place of one behind it, and where it goes, the next
one is due again. Memory is about 40 bytes per image.
"""

import json
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from batchproc.failpoints import failpoint
from batchproc.kinds import Code, kind_of
from batchproc.ledger.schema import WINDOW, read_meta, touch, transaction, update_items, write_meta
from batchproc.record.run_json import DueAgain
from batchproc.sink.layout import ImageFolder

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
    connection: sqlite3.Connection,
    fingerprint: str,
    settings: Settings | None = None,
    *,
    recipe: str = "",
    remake_stale: bool = False,
) -> int:
    """Makes this the plan of what is recorded from now on; returns how many stale items became pending again.

    `remake_stale`: what another plan or another recipe decided.
    """
    with transaction(connection):
        plan = _store(connection, fingerprint, json.dumps(settings or {}), recipe)
        write_meta(connection, "plan", plan)
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
    plan = read_meta(connection, "plan")
    if plan is None:
        raise LookupError("no plan was adopted: nothing can be recorded")
    return int(plan)


def count_outdated(connection: sqlite3.Connection) -> int:
    """How many images are of the adopted plan, and of another recipe: of an earlier version, or by another engine."""
    other = connection.execute(
        "SELECT other.id FROM meta JOIN plan ON plan.id = meta.value "
        "JOIN plan AS other ON other.fingerprint = plan.fingerprint AND other.recipe != plan.recipe "
        "WHERE meta.name = 'plan'"
    ).fetchall()
    if not other:  # as nearly always: then no item is looked at
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


HASH_BITS = 64
ALIKE = f"(state = 'rejected' AND code = '{Code.CHECK_UNIQUE}')"
HASHED = f"image_hash IS NOT NULL AND (state = 'done' OR {ALIKE})"
UNIQUE_DECIDED = "unique_decided"  # in `meta`: what was decided last, and of which state of the items


class Decided(Struct, frozen=True, kw_only=True):
    """What a decision has changed."""

    rejected: int = 0
    returned: int = 0  # rejected before, and like no image any more: due again


class FirstOfItsKind:
    """The hashes that are kept so far. Two that differ in at most `bits` are equal in one of `bits` + 1 pieces."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._hashes = array("Q")
        self._items = array("Q")
        edges = [HASH_BITS * piece // (bits + 1) for piece in range(bits + 2)]
        self._pieces = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._places: list[dict[int, array[int]]] = [{} for _ in self._pieces]

    def find_or_keep(self, item: int, image_hash: int) -> int | None:
        """The earliest kept item that looks like this one; None where there is none, and this one is kept then."""
        hashes, found = self._hashes, len(self._hashes)
        for places, (shift, mask) in zip(self._places, self._pieces, strict=True):
            for place in places.get(image_hash >> shift & mask, ()):
                if place < found and (hashes[place] ^ image_hash).bit_count() <= self._bits:
                    found = place
        if found < len(hashes):
            return self._items[found]
        for places, (shift, mask) in zip(self._places, self._pieces, strict=True):
            places.setdefault(image_hash >> shift & mask, array("I")).append(len(hashes))
        hashes.append(image_hash)
        self._items.append(item)
        return None


def reject_duplicates(connection: sqlite3.Connection, images: ImageFolder, *, bits: int) -> Decided:
    """Rejects images that look like an earlier one of the list and deletes their files; makes others due again.

    Killed at any instant, the next call completes it. Needs the run lock. Raises OSError.
    """
    if read_meta(connection, UNIQUE_DECIDED) == f"{bits} {read_meta(connection, 'revision')}":
        return Decided()
    kept, rejected, returned = FirstOfItsKind(bits), list[tuple[int, int]](), list[int]()
    rows = connection.execute(f"SELECT id, image_hash, state = 'done' FROM item WHERE {HASHED} ORDER BY id")
    for item, image_hash, is_done in rows:
        like = kept.find_or_keep(item, int(image_hash, 16))
        if like is not None and is_done:
            rejected.append((item, like))
        elif like is None and not is_done:
            returned.append(item)
    for start in range(0, len(rejected), WINDOW):
        with transaction(connection):
            connection.execute(REJECT, {"rows": json.dumps(rejected[start : start + WINDOW])})
            touch(connection)
        failpoint("ledger.unique_rejected")
    with transaction(connection):
        update_items(connection, returned, RETURN)
        touch(connection)
    _remove_files(connection, images)
    with transaction(connection):
        write_meta(connection, UNIQUE_DECIDED, f"{bits} {read_meta(connection, 'revision')}")
    return Decided(rejected=len(rejected), returned=len(returned))


REJECT = f"""
UPDATE item SET state = 'rejected', due = 0, stage = 'transform', code = '{Code.CHECK_UNIQUE}', hint = '',
  message = 'looks like ' || lower(hex(earlier.key)) || earlier.suffix, made_url = NULL, made_extra_json = NULL
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS like_id FROM json_each(:rows)) AS pair
  JOIN item AS earlier ON earlier.id = pair.like_id
WHERE item.id = pair.id
"""
RETURN = "state = 'pending', due = 1, runs = 0, stage = '', code = '', message = '', image_hash = NULL"


def _remove_files(connection: sqlite3.Connection, images: ImageFolder) -> None:
    """Deletes the files of rejected images; also of those that a killed run had rejected."""
    query = f"SELECT id, key, suffix FROM item WHERE {ALIKE} AND suffix IS NOT NULL LIMIT {WINDOW}"
    while rows := connection.execute(query).fetchall():
        for _, key, suffix in rows:
            images.remove(key.hex(), suffix)
            failpoint("ledger.unique_removed")
        with transaction(connection):
            update_items(connection, (item for item, _, _ in rows), "suffix = NULL")


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

    @property
    def is_of_earlier_boot(self) -> bool:
        """Whether the machine was started again since; where it does not say, an unclean end counts as one."""
        return self.boot_id != boot_id() or (not self.boot_id and not self.is_clean)


def boot_id() -> str:
    """What changes with every start of the machine; empty where the system does not say."""
    try:
        return BOOT_ID_PATH.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def last_runs(connection: sqlite3.Connection, limit: int = 10) -> list[LedgerRun]:
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
