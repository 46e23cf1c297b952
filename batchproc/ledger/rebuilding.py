"""A lost ledger made again, as far as the manifests and the files prove what it knew, and put in the old one's place.

An image is `done` again when its file has the size and the SHA-256 that its row names; nothing else is believed. Who
left early for good is restored where the code alone says that no run would try again, and no file contradicts it. Each
row is restored with the URL that it names, and then brought up to the list, as in any run. How often an item was tried
is not in the manifests: `runs` begins at 1.

A job's items stand in the order in which its lists brought them, and the list may have been reordered since, or have
got new lines in its middle. Both manifests are in the old order: where one of them contradicts the list, it wins.

The new one is made under a name of its own, `batchproc.db.rebuilding`. While that file is there nobody opens the
ledger: a run would take a ledger that is half moved for an empty one, and fetch everything again. Then the damaged
files are moved aside, `batchproc.db` first, and the rename that gives the new one its name also ends the waiting. A
kill at any instant cannot turn that into a loss.

The manifests may have been edited, cut short or damaged like the ledger that they stand in for: a row that is not
exactly as we write it is None, and never half believed.
"""

import contextlib
import heapq
import json
import os
import re
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import asdict

from batchproc.errors import DiskError
from batchproc.failpoints import failpoint
from batchproc.kinds import kind_of
from batchproc.ledger.database import (
    SIDES,
    DamagedLedgerError,
    check_pages,
    disk_errors,
    open_for_reading,
    replacement_path,
)
from batchproc.ledger.deciding import with_recipe
from batchproc.ledger.files import FileState, examine
from batchproc.ledger.importing import ListedState, change_url, read_columns
from batchproc.ledger.reader import FACT_TYPES, ORIGINAL, LedgerView, name_columns
from batchproc.ledger.schema import (
    INPUT_STAGE,
    PARTS,
    SCHEMA_VERSION,
    SameUrl,
    State,
    read_version,
    storable,
    touch,
    transaction,
    upgrade,
)
from batchproc.model import original_name
from batchproc.sink.layout import ImageFolder

ROWS_PER_TRANSACTION = 5_000
LEFT_EARLY = frozenset({State.FAILED, State.REJECTED, State.QUARANTINED, State.DEFERRED})
Row = Mapping[str, Any]

DONE = """
UPDATE item SET state = CASE state WHEN 'absent' THEN 'absent' ELSE 'done' END,
  before_absent = CASE state WHEN 'absent' THEN 'done' END, url = :url, extra_json = :extra_json,
  stage = '', code = '', message = '', due = 0, runs = 1, attempts = 1, plan = :plan, suffix = :suffix,
  status_code = :status_code, final_url = :final_url, etag = :etag, last_modified = :last_modified,
  size_bytes = :size_bytes, width_px = :width, height_px = :height, original_width_px = :original_width,
  original_height_px = :original_height, original_format = :original_format, sha256 = :sha256,
  source_sha256 = :source_sha256, image_notes = :image_notes
WHERE id = :item
"""
EARLY = """
UPDATE item SET url = :url, state = :outcome, due = :due, runs = :runs, plan = :plan, stage = :stage, code = :code,
  message = :message, hint = :hint, attempts = :attempts WHERE id = :item
"""


Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Key: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Digest: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
NO_NAMES: Mapping[str, str] = MappingProxyType({})


class Made(Struct, kw_only=True):
    """A row of `metadata.jsonl`: an image that was done."""

    file_name: str
    url: str
    key: Key
    width: Count
    height: Count
    original_width: Count
    original_height: Count
    original_format: str
    size_bytes: Count
    sha256: Digest
    source_sha256: Digest
    final_url: str | None  # None where it is the URL
    status_code: Count | None
    etag: str | None
    last_modified: str | None
    image_notes: str = ""
    image_recipe: str = ""  # empty: not known
    suffix: str = ""
    extra_json: str = ""


class Left(Struct, kw_only=True):
    """A row of `failures.jsonl`: an item that left early."""

    key: Key
    url: str
    stage: str
    outcome: State
    code: str
    message: str
    hint: str
    attempts: Count


class Restored(Struct, frozen=True, kw_only=True):
    """What came back, and what did not."""

    done: int  # images of the list
    absent: int  # images whose source left the list
    early: int  # items that left early, as they stood
    missing: int  # rows of metadata.jsonl whose file is not there
    changed: int  # whose file has another size or hash
    unreadable_files: int  # whose file the system does not give out
    unreadable_rows: int  # of both manifests: not as we write them, or there twice
    undecided: Mapping[str, int]  # items that failed, by code: pending, since a run may try them again
    contradicted: int  # items that failed for good and have a file all the same: pending
    unvouched: int  # files that no row vouches for: made again, or, of unknown items, absent
    reordered: bool  # the manifests are in another order than the list


class RestoreRules(Struct, frozen=True, kw_only=True):
    """How a restored row is brought up to the list."""

    keyed_by_id: bool
    same_url: SameUrl
    has_urls: bool = True  # False: the list's URLs are not known yet; the next import brings the rows up to them
    caption: str = ""  # the list's column with the captions
    originals: bool = False  # whether the job keeps them


class _Found(Struct, frozen=True, kw_only=True):
    """An item of the new ledger, as the import or a file brought it in."""

    item: int
    state: str
    suffix: str | None
    stage: str
    made_url: str | None
    listing: ListedState


def restore(
    connection: sqlite3.Connection,
    images: ImageFolder,
    made: Iterable[Row | None],
    left: Iterable[Row | None],
    *,
    plan: int,
    rule: RestoreRules,
) -> Restored:
    """Restores into a ledger that knows the list and nothing else; reads every file that `made` names.

    `made` and `left` are the rows of the manifests in their order, None for a line that is none. `plan` made
    them, by the recipe that each row names.
    """
    run = _Restoring(connection, images, plan, rule)
    for batch, take in ((_batches(images.final_names()), run.note_file), (_batches(made), run.take_made),
                        (_batches(left), run.take_left)):  # fmt: skip
        for rows in batch:
            with transaction(connection):
                for row in rows:
                    take(row)
                touch(connection)
            failpoint("ledger.restore")
    reordered = renumber(connection, run.made, run.left)
    return run.result(reordered=reordered)


class _Restoring:
    """One restoring under way. `made` and `left` are the ids in the order of the manifests, absent ones not."""

    def __init__(self, connection: sqlite3.Connection, images: ImageFolder, plan: int, rule: RestoreRules) -> None:
        self._connection = connection
        self._images = images
        self._plan = plan
        self._plans: Callable[[str], int] = lru_cache(partial(with_recipe, connection, plan))
        self._rule = rule
        self._names = name_columns(read_columns(connection).types, rule.caption, originals=rule.originals)
        self._seen: set[int] = set()
        self.made = array("q")
        self.left = array("q")
        self._counts: Counter[str] = Counter()
        self._undecided: Counter[str] = Counter()

    def note_file(self, name: tuple[str, str]) -> None:
        """Notes that an item has a file, which must not outlive the item's end; unknown items come in as absent."""
        key_hex, suffix = name
        self._connection.execute(
            "INSERT INTO item (key, line, url, state, before_absent, due, suffix) "
            "VALUES (?, 0, '', 'absent', 'pending', 1, ?) ON CONFLICT (key) DO UPDATE SET suffix = excluded.suffix",
            (bytes.fromhex(key_hex), suffix),
        )

    def take_made(self, row: Row | None) -> None:
        """One row of `metadata.jsonl`."""
        made = read_made(row, self._images.file_name, self._names)
        known = self._find(made.key) if made is not None else None
        if made is None or (known is not None and known.item in self._seen):
            if known is None or not self._is_listed_again(known.item):
                self._counts["unreadable_rows"] += 1
            return
        path = self._images.final_path(made.key, made.suffix)
        state = examine(path, made.size_bytes, bytes.fromhex(made.sha256))
        self._counts[state] += 1
        if known is None:
            return  # neither in the list nor on the disk
        self._seen.add(known.item)
        if known.state != State.ABSENT:
            self.made.append(known.item)
        if state is FileState.WHOLE:
            self._put_image(known, made)
            self._counts["absent" if known.state == State.ABSENT else "done"] += 1

    def _is_listed_again(self, item: int) -> bool:
        """Whether the list has further rows for an item, so that the manifest has, too."""
        query = "SELECT 1 FROM listed_row WHERE item = ? LIMIT 1"
        return self._connection.execute(query, (item,)).fetchone() is not None

    def _put_image(self, known: _Found, made: Made) -> None:
        facts = asdict(made)
        listing = known.listing
        is_listed = known.state != State.ABSENT
        is_same = is_listed and not listing.code and made.url == listing.url
        if is_same or (is_listed and not self._rule.has_urls):
            facts["extra_json"] = listing.extra_json
        digests = {"sha256": bytes.fromhex(made.sha256), "source_sha256": bytes.fromhex(made.source_sha256)}
        plan = self._plans(made.image_recipe)
        self._connection.execute(DONE, {**facts, **digests, "item": known.item, "plan": plan})
        if is_listed and not is_same and self._rule.has_urls:
            change_url(
                self._connection, known.item, listing, same_url=self._rule.same_url, keyed_by_id=self._rule.keyed_by_id
            )

    def take_left(self, row: Row | None) -> None:
        """One row of `failures.jsonl`."""
        left = read_left(row)
        if left is None:
            self._counts["unreadable_rows"] += 1
            return
        known = self._find(left.key)
        if known is None or (known.item in self._seen and known.made_url is None):
            return  # not in the list any more; or made since, when a run was killed between the two manifests
        self._seen.add(known.item)
        if known.state != State.ABSENT:
            self.left.append(known.item)
        if known.state == State.PENDING and left.stage != INPUT_STAGE and self._is_of_list(known, left):
            self._end_early(known, left)

    def _is_of_list(self, known: _Found, left: Left) -> bool:
        """Whether the item left early with the URL that the list has for it."""
        url = known.listing.url
        return not self._rule.has_urls or left.url == url or self._rule.same_url(left.url, url)

    def _end_early(self, known: _Found, left: Left) -> None:
        deferred = left.outcome is State.DEFERRED
        if not deferred and not is_final(left):
            self._undecided[left.code] += 1
        elif known.suffix is not None and known.made_url is None and not deferred:
            self._counts["contradicted"] += 1
        else:
            facts = asdict(left)
            counted = {"item": known.item, "plan": self._plan, "due": int(deferred), "runs": int(not deferred)}
            if self._rule.has_urls:
                facts["url"] = known.listing.url
            self._connection.execute(EARLY, facts | counted)
            self._counts["early"] += 1

    def _find(self, key_hex: str) -> _Found | None:
        found = self._connection.execute(
            "SELECT id, state, suffix, stage, made_url, url, extra_json, code, message FROM item WHERE key = ?",
            (bytes.fromhex(key_hex),),
        ).fetchone()
        if found is None:
            return None
        item, state, suffix, stage, made_url, url, extra_json, code, message = found
        return _Found(
            item=item, state=state, suffix=suffix, stage=stage, made_url=made_url,
            listing=ListedState(url=url, extra_json=extra_json, code=code, message=message),
        )  # fmt: skip

    def result(self, *, reordered: bool) -> Restored:
        unvouched = self._connection.execute(
            "SELECT count(*) FROM item WHERE suffix IS NOT NULL AND coalesce(before_absent, state) = 'pending'"
        ).fetchone()[0]
        numbers = ("done", "absent", "early", "missing", "changed", "unreadable_rows", "contradicted")
        return Restored(
            **{name: self._counts[name] for name in numbers},
            unreadable_files=self._counts[FileState.UNREADABLE],
            undecided=dict(self._undecided.most_common()),
            unvouched=unvouched,
            reordered=reordered,
        )


def is_final(left: Left) -> bool:
    """Whether a row of `failures.jsonl` proves by itself that no later run would have tried the item again."""
    if left.outcome in (State.REJECTED, State.QUARANTINED):
        return True
    return kind_of(left.code).is_final_in(left.stage)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    waiting = iter(rows)
    while batch := list(islice(waiting, ROWS_PER_TRANSACTION)):
        yield batch


def renumber(connection: sqlite3.Connection, made: Sequence[int], left: Sequence[int]) -> bool:
    """Gives the items new ids when `made` or `left`, each without repetition, are not in their order; says whether."""
    if _is_ascending(made) and _is_ascending(left):
        return False
    named = {*made, *left}
    first = set(made)
    second = [item for item in left if item not in first]
    with transaction(connection):
        rest = [item for (item,) in connection.execute("SELECT id FROM item ORDER BY id") if item not in named]
        # `merge` takes the smallest head: each sequence keeps its order, and the list decides between them.
        order = heapq.merge(made, second, rest)
        _apply(connection, order)
        touch(connection)
    return True


def _apply(connection: sqlite3.Connection, order: Iterable[int]) -> None:
    connection.execute("CREATE TEMP TABLE place (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
    connection.executemany("INSERT INTO place VALUES (?, ?)", _numbered(order))
    connection.execute("UPDATE item SET id = -(SELECT new FROM place WHERE old = id)")  # no id may come twice meanwhile
    connection.execute("UPDATE item SET id = -id")
    connection.execute("UPDATE listed_row SET item = -(SELECT new FROM place WHERE old = item)")
    connection.execute("UPDATE listed_row SET item = -item")
    connection.execute("DROP TABLE place")
    connection.execute("DELETE FROM manifest_block")


def _numbered(order: Iterable[int]) -> Iterator[tuple[int, int]]:
    return ((old, new) for new, old in enumerate(order, start=1))


def _is_ascending(items: Sequence[int]) -> bool:
    return all(first < second for first, second in pairwise(items))


def is_whole(path: Path) -> bool:
    """Whether there is a ledger at `path` that holds items and shows no damage; reads all of it, changes nothing.

    Raises `UsageError` for a newer one or another program's, `DiskError` for one that is locked.
    """
    if not path.exists():
        return False
    at_rest = not path.with_name(f"{path.name}-wal").exists()
    try:
        with closing(open_for_reading(path, at_rest=at_rest, is_replaced=True)) as connection, disk_errors(path):
            check_pages(connection, path, thoroughly=True)
            return _knows_items(connection) and _has_values(path, connection)
    except DamagedLedgerError:
        return False


def holds_items(path: Path) -> bool:
    """Whether there is a ledger at `path` that knows of any item; does not look for damage. Raises as `is_whole` does,
    and `DamagedLedgerError`."""
    if not path.exists():
        return False
    at_rest = not path.with_name(f"{path.name}-wal").exists()
    with closing(open_for_reading(path, at_rest=at_rest)) as connection, disk_errors(path):
        return _knows_items(connection)


def _has_values(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether a run can read what is in it, and can take it over; tried with a copy that SQLite keeps for itself."""
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as copy:
        if read_version(connection) != SCHEMA_VERSION:
            connection.backup(copy)
            upgrade(copy)
            connection = copy
        LedgerView(path, connection).read_values()
    return True


def _knows_items(connection: sqlite3.Connection) -> bool:
    """Whether all is there that a run relies on, and an item."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not names or not names >= PARTS[read_version(connection)]:
        return False
    return connection.execute("SELECT 1 FROM item LIMIT 1").fetchone() is not None


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Where to make the new ledger. Needs the run lock. Its end leaves a file that is closed and complete.

    Left by an error, it is as if nothing had been begun; after a kill, the next one begins again.
    """
    new = replacement_path(path)
    is_continued = new.exists()
    with disk_errors(path):
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        _remove_sides(new)
    try:
        yield new
    except BaseException:
        if not is_continued:  # else the ledger may be moved aside already: it must not look as if there were none
            _remove_sides(new)
            new.unlink(missing_ok=True)
        raise


def put_in_place(path: Path) -> Path | None:
    """Moves what is at `path` aside and gives the new ledger its name; returns where the old one is, if there was one.

    Raises `DiskError`; the same again goes on where it stopped.
    """
    new = replacement_path(path)
    with disk_errors(path):
        if any(new.with_name(f"{new.name}{side}").exists() for side in SIDES):
            raise DiskError(f"{new}: the new ledger was not closed. Start the same command again.")
        _sync(new, os.O_RDWR)
        aside = _move_aside(path)
        failpoint("ledger.rebuild_moved")
        new.replace(path)
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return aside


def _move_aside(path: Path) -> Path | None:
    """Renames the damaged files, the database first: without it, the next start knows that this was begun."""
    sides = [side for side in SIDES if path.with_name(f"{path.name}{side}").exists()]
    aside = _free_name(path)
    if path.exists():
        path.rename(aside)
        failpoint("ledger.rebuild_moving")
    elif not sides:
        return None
    else:
        aside = max(_moved(path), default=aside)
    for side in sides:
        path.with_name(f"{path.name}{side}").rename(aside.with_name(f"{aside.name}{side}"))
    return aside


def _moved(path: Path) -> list[Path]:
    """The ledgers that were moved aside before."""
    return [one for one in path.parent.glob(f"{path.name}.damaged-*") if not one.name.endswith(SIDES)]


def _free_name(path: Path) -> Path:
    stem = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    name, number = path.with_name(stem), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{stem}-{number}")
    return name


def _remove_sides(path: Path) -> None:
    for side in SIDES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{side}").unlink()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_made(
    row: Row | None, file_name: Callable[[str, str], str], names: Mapping[str, str] = NO_NAMES
) -> Made | None:
    """The image of a row. `file_name` makes the only path that a key and a suffix may have; `names` are those of the
    list's columns here."""
    own = {name: column for column, name in names.items()}
    facts = {*FACT_TYPES}
    try:
        made = convert(_storable_facts(row, facts), Made)
    except ValidationError:
        return None
    made.suffix = f".{made.file_name.rpartition('.')[2]}"
    known = (file_name(made.key, made.suffix), f"{made.key}{made.suffix}")  # the second in a shard
    if row is None or made.final_url is None or not SUFFIX.fullmatch(made.suffix) or made.file_name not in known:
        return None
    if ORIGINAL not in own and row.get(ORIGINAL) in ("", original_name(made.source_sha256, made.original_format)):
        facts.add(ORIGINAL)
    extra = {own.get(name, name): value for name, value in row.items() if name not in facts}
    made.extra_json = json.dumps(extra) if extra else ""
    made.final_url = None if made.final_url == made.url else made.final_url
    return made


def read_left(row: Row | None) -> Left | None:
    """The item of a row."""
    try:
        left = convert(_storable_facts(row, Left.__struct_fields__), Left)
    except ValidationError:
        return None
    return left if left.outcome in LEFT_EARLY else None


def _storable_facts(row: Row | None, names: Iterable[str]) -> Row:
    facts = {name: row[name] for name in names if name in row} if row else {}
    return {name: storable(value) if isinstance(value, str) else value for name, value in facts.items()}
