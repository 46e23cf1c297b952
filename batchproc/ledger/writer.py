"""The one thread that writes: it takes outcomes in batches, commits, names the files, commits again.

The order is "ledger first, name after": `staged` is committed before a file gets its final name, `done` with the next
commit. Whatever instant the program is killed at, the next start knows what to do from the rows alone.

A batch becomes one statement per sort, whatever its size, and not one per row, because `sqlite3` lets go of the GIL
around every step: between busy threads each of 500 steps would wait for its turn again.
"""

import contextlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from batchproc.errors import BatchprocError, DiskError
from batchproc.failpoints import failpoint
from batchproc.kinds import kind_of
from batchproc.ledger.database import ReserveFile, disk_errors
from batchproc.ledger.files import (
    OrphanedFiles,
    find_orphaned,
    forget_files,
    mark_blocked,
    mark_done,
    remove_orphaned,
)
from batchproc.ledger.schema import AMONG, State, touch, transaction, update_items
from batchproc.model import Disposition, Failure, Item, Outcome, OutputImage, Rejection, Unchanged
from batchproc.sink.layout import ImageFolder

Committed: TypeAlias = Callable[[Sequence[Outcome]], None]

BATCH = 500  # outcomes per commit
DELAY_SECONDS = 0.5  # the longest an outcome waits for its commit
ROOM = 2_000  # outcomes waiting before `record` blocks
PATIENCE_SECONDS = 120.0  # with a writer that does nothing: more than SQLite's own patience with a locked file


class Taken(Struct, frozen=True, kw_only=True):
    """What the writer has to do next."""

    outcomes: list[Outcome]
    settle: bool  # mark as done what is named, without waiting for the next batch
    ticket: int  # the last flush that is complete after that


class Inbox:
    """What waits for the writer. Any thread puts, one thread takes.

    All state is guarded by `_lock`; nothing slow happens under it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._moved = threading.Condition(self._lock)  # room was made, a flush was answered, or the writer failed
        self._waiting: list[Outcome] = []
        self._hurry = False  # a flush or the end: take what is there
        self._closed = False
        self._flush_wanted = 0
        self._flush_answered = 0
        self._error: BatchprocError | None = None

    def put(self, outcome: Outcome) -> None:
        """Hands over an outcome; blocks while the inbox is full. Raises the writer's error."""
        with self._lock:
            while len(self._waiting) >= ROOM and self._error is None:
                self._await_move()
            self._raise_error()
            self._waiting.append(outcome)
            if len(self._waiting) in (1, BATCH):
                self._arrived.notify()

    def flush(self) -> None:
        """Returns when everything put before is done, or raises the writer's error."""
        with self._lock:
            self._flush_wanted += 1
            ticket = self._flush_wanted
            self._hurry = True
            self._arrived.notify()
            while self._flush_answered < ticket and self._error is None:
                self._await_move()
            self._raise_error()

    def close(self) -> None:
        """Lets the writer end when it has taken everything."""
        with self._lock:
            self._closed = self._hurry = True
            self._arrived.notify()

    def take(self, *, idle_seconds: float | None) -> Taken:
        """The next batch.

        Waits up to `idle_seconds` for the first outcome (None: until one comes), then until the batch is full or
        `DELAY_SECONDS` have passed; not at all when somebody flushes or closes.
        """
        with self._lock:
            self._arrived.wait_for(lambda: self._waiting or self._hurry, idle_seconds)
            deadline = time.monotonic() + DELAY_SECONDS
            while 0 < len(self._waiting) < BATCH and not self._hurry:
                if not self._arrived.wait(deadline - time.monotonic()):
                    break
            outcomes, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            settle = not outcomes or (self._hurry and not self._waiting)
            self._hurry = self._closed or (self._hurry and not settle)
            self._moved.notify_all()
            return Taken(outcomes=outcomes, settle=settle, ticket=self._flush_wanted if settle else 0)

    def take_rest(self) -> list[Outcome]:
        """Everything that waits, at once: for the last commit after an error."""
        with self._lock:
            rest, self._waiting = self._waiting, []
            return rest

    def answer(self, ticket: int) -> None:
        """Wakes the flushes up to `ticket`: what they waited for is done."""
        with self._lock:
            self._flush_answered = max(self._flush_answered, ticket)
            self._moved.notify_all()

    def fail(self, error: BatchprocError) -> None:
        """From now on every `put` and `flush` raises this error."""
        with self._lock:
            self._error = error
            self._moved.notify_all()

    @property
    def is_drained(self) -> bool:
        """Whether it is closed and empty."""
        with self._lock:
            return self._closed and not self._waiting

    def raise_error(self) -> None:
        """Raises what the writer ended with, if it did."""
        with self._lock:
            self._raise_error()

    def _await_move(self) -> None:
        """Waits until the writer has done something. Raises `DiskError` when it does nothing for too long."""
        if not self._moved.wait(PATIENCE_SECONDS):
            raise stuck()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def __repr__(self) -> str:
        return f"<Inbox {len(self._waiting)} waiting{' closed' if self._closed else ''}>"


class Writer(threading.Thread):
    """Owns the write connection from `start` to its end. Everything but `inbox` is used in its own thread only."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        images: ImageFolder,
        reserve: ReserveFile,
        *,
        run: int,
        plan: int,
        committed: Committed | None = None,
    ) -> None:
        super().__init__(name="ledger-writer", daemon=True)
        self._committed = committed
        self.inbox = Inbox()
        self._connection = connection
        self._path = path
        self._images = images
        self._reserve = reserve
        self._run = run
        self._plan = plan
        self._uncommitted: list[Outcome] = []
        self._unnamed: list[Naming] = []  # staged
        self._stale: dict[int, str] = {}  # by item, of an older image's file, which the new name does not replace
        self._named: list[int] = []  # have their final name, are not `done` yet
        self._blocked: list[int] = []  # a folder stands in the place of their file
        self._orphaned: list[OrphanedFiles] = []  # files of items that ended without an image
        self._emptied: list[int] = []  # have lost their files, are still said to have them

    def run(self) -> None:
        """Writes until the inbox is closed and empty, or until the disk says no."""
        try:
            while not self.inbox.is_drained:
                taken = self.inbox.take(idle_seconds=DELAY_SECONDS if self._is_unsettled else None)
                self._write(taken.outcomes)
                if taken.settle:
                    self._settle()
                self.inbox.answer(taken.ticket)
            self._settle()
        except Exception as error:  # noqa: BLE001  # a thread has nobody above it: its error must reach `record`
            self._give_up(error)

    def _write(self, outcomes: list[Outcome]) -> None:
        self._uncommitted = outcomes
        if outcomes:
            self._commit()
        self._name_files()
        if self._committed is not None:
            self._committed(outcomes)

    def _commit(self) -> None:
        """One commit: the end of the last batch and the beginning of this one."""
        batch = make_batch(self._uncommitted, self._plan, self._images.temporary_name)
        failpoint("ledger.before_staged")
        with transaction(self._connection):
            self._mark()
            stale = write_batch(self._connection, batch, run=self._run, plan=self._plan)
            orphaned = find_orphaned(self._connection, [int(str(row[0])) for row in batch.left])
            failpoint("ledger.in_staged")
        failpoint("ledger.after_staged")
        self._uncommitted, self._named, self._blocked, self._emptied = [], [], [], []
        self._orphaned = orphaned
        self._unnamed, self._stale = batch.namings, stale

    def _name_files(self) -> None:
        while self._unnamed:
            naming = self._unnamed[-1]
            try:
                self._images.place(naming.temporary, naming.key_hex, naming.suffix)
                self._named.append(naming.item)
            except IsADirectoryError:
                self._blocked.append(naming.item)
            if stale_suffix := self._stale.get(naming.item):
                self._images.remove(naming.key_hex, stale_suffix)
            self._unnamed.pop()
            failpoint("ledger.between_renames")
        while self._orphaned:
            remove_orphaned(self._images, self._orphaned[-1])
            self._emptied.append(self._orphaned.pop().item)
        self._images.sync()

    @property
    def _is_unsettled(self) -> bool:
        """Whether something has happened to files that the ledger does not know yet."""
        return bool(self._named or self._blocked or self._emptied)

    def _mark(self) -> None:
        """Notes, inside a transaction, what has happened to files since the last commit."""
        mark_done(self._connection, self._named)
        mark_blocked(self._connection, self._blocked)
        if self._emptied:
            forget_files(self._connection, self._emptied)

    def _settle(self) -> None:
        if not self._is_unsettled:
            return
        failpoint("ledger.before_done")
        with transaction(self._connection):
            self._mark()
            touch(self._connection)
        failpoint("ledger.after_done")
        self._named, self._blocked, self._emptied = [], [], []

    def _give_up(self, error: Exception) -> None:
        """Tells everybody; then, with the room of the reserve file, commits what is known already."""
        self.inbox.fail(_as_run_error(error, self._path))
        if not isinstance(error, sqlite3.Error | OSError):
            return
        self._reserve.release()
        with contextlib.suppress(sqlite3.Error, OSError):  # the disk said no once: what cannot be kept stays pending
            self._name_files()
            self._write(self._uncommitted + self.inbox.take_rest())
            self._settle()


def stuck() -> DiskError:
    """The writer does nothing any more: a disk that does not answer cannot be waited for."""
    return DiskError(
        f"the ledger's writer did nothing for {PATIENCE_SECONDS:g} s: its disk does not answer. "
        "What is unfinished stays pending."
    )


def _as_run_error(error: Exception, path: Path) -> BatchprocError:
    try:
        with disk_errors(path):
            raise error
    except DiskError as found:
        return found
    except Exception as bug:  # noqa: BLE001  # the same exception again, wrapped for the thread that will raise it
        wrapped = BatchprocError(f"{path}: the ledger's writer failed: {type(bug).__name__}: {bug}")
        wrapped.__cause__ = bug
        return wrapped


DIGEST_BYTES = 32  # SHA-256
SURROGATE = re.compile("[\ud800-\udfff]")

STAGED_COLUMNS = (
    "temporary", "suffix", "attempts", "status_code", "final_url", "etag", "last_modified", "size_bytes", "width_px",
    "height_px", "original_width_px", "original_height_px", "original_format", "image_notes", "image_hash",
)  # fmt: skip
LEFT_COLUMNS = ("state", "due", "charged", "plan", "stage", "code", "message", "hint", "attempts")


class Naming(Struct, frozen=True, kw_only=True):
    """A file that gets its final name after the commit."""

    item: int
    temporary: str
    key_hex: str
    suffix: str


class Batch(Struct, kw_only=True):
    """The rows of some outcomes, ready for the ledger."""

    staged: list[tuple[object, ...]]
    digests: list[str]  # SHA-256 of every staged file; apart, because JSON holds no bytes
    source_digests: list[str]
    left: list[tuple[object, ...]]
    namings: list[Naming]
    unchanged: list[int]  # items that are still what they were
    revalidated: list[tuple[object, ...]]  # of these, what their servers say of them now


def make_batch(outcomes: Sequence[Outcome], plan: int, temporary_name: Callable[[str], str]) -> Batch:
    """Sorts outcomes into images to stage and items that left early."""
    batch = Batch(staged=[], digests=[], source_digests=[], left=[], namings=[], unchanged=[], revalidated=[])
    for outcome in outcomes:
        item = outcome.source.index + 1
        if isinstance(outcome, Item):
            image: OutputImage = outcome.value
            name = temporary_name(image.temporary_path)
            batch.staged.append(_make_staged_row(item, outcome.source.url, image, name))
            batch.digests.append(image.sha256)
            batch.source_digests.append(image.source_sha256)
            batch.namings.append(Naming(item=item, temporary=name, key_hex=outcome.source.key_hex, suffix=image.suffix))
        elif isinstance(outcome, Unchanged):
            batch.unchanged.append(item)
            if (reply := outcome.reply) is not None:
                batch.revalidated.append((reply.etag or None, reply.last_modified or None, item))
        elif kind_of(outcome.code).is_charged and not _is_failed_refresh(outcome):
            batch.left.append(_make_left_row(item, outcome, plan))
    return batch


def write_batch(connection: sqlite3.Connection, batch: Batch, *, run: int, plan: int) -> dict[int, str]:
    """Writes a batch inside a transaction; returns, by item, the suffix of a file that becomes stale by it."""
    _apply(connection, LEFT, batch.left, {"run": run})
    if batch.unchanged:
        update_items(connection, batch.unchanged, f"last_run = {run}")
        connection.executemany(REVALIDATED, batch.revalidated)
    if batch.left or batch.staged or batch.revalidated:
        touch(connection)
    if not batch.staged:
        return {}
    digests, source_digests = (bytes.fromhex("".join(each)) for each in (batch.digests, batch.source_digests))
    _apply(
        connection, STAGED, batch.staged,
        {"run": run, "plan": plan, "digests": digests, "source_digests": source_digests},
    )  # fmt: skip
    stale = connection.execute(STALE, (json.dumps([naming.item for naming in batch.namings]),))
    return dict(stale.fetchall())


def _make_staged_row(item: int, url: str, image: OutputImage, name: str) -> tuple[object, ...]:
    reply = image.reply
    return (
        item, name, image.suffix, reply.attempts, reply.status_code,
        None if reply.final_url == url else reply.final_url, reply.etag, reply.last_modified, image.size_bytes,
        image.width_px, image.height_px, image.original_width_px, image.original_height_px,
        image.original_format, "; ".join(image.notes), image.image_hash or None,
    )  # fmt: skip


def _is_failed_refresh(outcome: Rejection | Failure) -> bool:
    """Whether a server could not say that an image has changed: then what we have stays as it is."""
    return isinstance(outcome, Failure) and outcome.source.refresh is not None


def _make_left_row(item: int, outcome: Rejection | Failure, plan: int) -> tuple[object, ...]:
    if isinstance(outcome, Rejection):
        return (item, State.REJECTED, 0, 1, plan, outcome.stage, outcome.code, outcome.message, "", outcome.attempts)
    deferred = outcome.disposition is Disposition.DEFERRED
    due = deferred or (outcome.disposition is Disposition.FAILED and outcome.retry.is_transient)
    return (
        item, outcome.disposition, int(due), int(not deferred), plan, outcome.stage, outcome.code, outcome.message,
        outcome.hint, outcome.attempts,
    )  # fmt: skip


def _read_columns(names: Sequence[str]) -> str:
    fields = ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(names, start=1))
    return f"(SELECT json_extract(value, '$[0]') AS item, key AS place, {fields} FROM json_each(:rows)) AS new"


def _assign(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = new.{name}" for name in names)


STAGED = f"""
UPDATE item SET state = 'staged', due = 0, runs = runs + 1, last_run = :run, plan = :plan,
  stage = '', code = '', message = '', hint = '', made_url = NULL, made_extra_json = NULL,
  stale_suffix = CASE WHEN item.suffix != new.suffix THEN item.suffix ELSE item.stale_suffix END,
  sha256 = substr(:digests, 1 + {DIGEST_BYTES} * new.place, {DIGEST_BYTES}),
  source_sha256 = substr(:source_digests, 1 + {DIGEST_BYTES} * new.place, {DIGEST_BYTES}),
  {_assign(STAGED_COLUMNS)}
FROM {_read_columns(STAGED_COLUMNS)} WHERE item.id = new.item
"""
STALE = f"SELECT id, stale_suffix FROM item WHERE stale_suffix IS NOT NULL AND {AMONG}"
REVALIDATED = "UPDATE item SET etag = ?, last_modified = ? WHERE id = ? AND made_url IS NULL"
LEFT = f"""
UPDATE item SET runs = runs + new.charged, last_run = :run, plan = iif(item.made_url IS NULL, new.plan, item.plan),
  {_assign([name for name in LEFT_COLUMNS if name not in ("charged", "plan")])}
FROM {_read_columns(LEFT_COLUMNS)} WHERE item.id = new.item
"""


def _apply(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]], parameters: dict[str, object]
) -> None:
    if not rows:
        return
    changed = connection.execute(statement, {"rows": _encode(rows), **parameters}).rowcount
    if changed != len(rows):
        raise LookupError(f"{len(rows)} outcomes for {changed} items of the ledger: an item is unknown or came twice")


def _encode(rows: Sequence[tuple[object, ...]]) -> str:
    """The rows as JSON. Half a surrogate pair, which SQLite cannot hold, is written out as `\\udc80`."""
    text = json.dumps(rows, ensure_ascii=False)
    return text if text.isascii() else SURROGATE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text)
