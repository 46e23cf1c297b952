"""The ledger as a run uses it: open, recover, import, then record what becomes of every item."""

import json
import operator
import os
import platform
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from batchproc.columns import Columns
from batchproc.errors import ExitCode
from batchproc.ledger import writer
from batchproc.ledger.data_set_counts import keep_data_set
from batchproc.ledger.database import (
    ReserveFile,
    check_pages,
    disk_errors,
    ledger_errors,
    open_for_reading,
    open_for_writing,
    stored_errors,
    value_errors,
)
from batchproc.ledger.deciding import (
    Decided,
    LedgerRun,
    adopt_plan,
    adopted_plan,
    boot_id,
    compare_plan,
    count_outdated,
    last_runs,
    make_due_again,
    reject_duplicates,
    take_over_plans,
)
from batchproc.ledger.files import (
    CHECKED,
    HasShard,
    Recovered,
    Repaired,
    prune_absent,
    prune_originals,
    recover,
    repair,
)
from batchproc.ledger.importing import Imported, ListRules, import_rows, read_checkpoints
from batchproc.ledger.reader import LedgerView, note_manifests
from batchproc.ledger.rebuilding import Restored, RestoreRules, Row, restore
from batchproc.ledger.schema import SameUrl, migrate, remove_copies, touch, transaction, write_meta
from batchproc.ledger.writer import Committed, Writer
from batchproc.model import ListedItem, Outcome
from batchproc.remembered import Checkpoint, Known
from batchproc.sink.layout import ImageFolder

ENDED_WELL = frozenset({ExitCode.DONE, ExitCode.TOO_MANY_FAILED, ExitCode.LIMIT})
P = ParamSpec("P")
R = TypeVar("R")


def done_by(
    function: Callable[Concatenate[sqlite3.Connection, P], R],
    errors: Callable[[Path], AbstractContextManager[None]] = disk_errors,
) -> Callable[Concatenate["Ledger", P], R]:
    """The method that does this by the write connection, while the caller may, with errors that say what to do."""

    @wraps(function)
    def do(ledger: "Ledger", /, *args: P.args, **kwargs: P.kwargs) -> R:
        connection = ledger._own()
        with errors(ledger._path):
            return function(connection, *args, **kwargs)

    return do


class Ledger(LedgerView):
    """One run's ledger. Needs the run lock, since it takes over whatever an earlier run left.

    The order of use: `open`, then `recover`, `compare_plan`, `adopt_plan`, `import_sources` and what makes items
    pending again, `begin_run`, any number of `record`, `finish_recording`, `note_manifests`, `end_run`. From
    `begin_run` to `finish_recording` a thread of its own owns the write connection; before and after, the caller's
    does. Reading is possible at any time, from any thread.
    """

    take_over_plans = done_by(take_over_plans, stored_errors)
    compare_plan = done_by(compare_plan, stored_errors)
    adopt_plan = done_by(adopt_plan)
    count_outdated = done_by(count_outdated)
    checkpoints = done_by(read_checkpoints, stored_errors)
    make_due_again = done_by(make_due_again, stored_errors)
    note_manifests = done_by(note_manifests)
    keep_data_set = done_by(keep_data_set)

    def __init__(
        self,
        path: Path,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        images: ImageFolder,
        reserve: ReserveFile,
        *,
        opened_version: int,
        last_run: LedgerRun | None,
    ) -> None:
        super().__init__(path, reading)
        self.opened_version = opened_version  # of its tables, before it was brought up to this version's
        self._connection = writing
        self._images = images
        self._reserve = reserve
        self._last = last_run
        self._run = 0
        self._recovered: Recovered | None = None
        self._writer: Writer | None = None
        self._stuck = False  # the writer does not end: its disk does not answer

    @classmethod
    def open(cls, path: Path, *, images: ImageFolder, reserve_path: Path, power: bool = False) -> "Ledger":
        """Opens the ledger at `path`, made on demand, and brought up to this version's tables; a context manager.

        `power`: what is recorded survives a power cut, not only `kill -9`. After a run that did not end, the whole
        file is checked. Raises `UsageError` for a newer ledger or another program's database, `DiskError` for a
        damaged one or a full disk.
        """
        writing = open_for_writing(path, power=power)
        try:
            with disk_errors(path), value_errors(path):
                opened_version = migrate(writing, path)
                last = next(iter(last_runs(writing, 1)), None)
            if last and not last.is_clean:
                check_pages(writing, path)
            reserve = ReserveFile(reserve_path)
            with disk_errors(path):
                reserve.reserve()
            reading = open_for_reading(path)
            return Ledger(path, writing, reading, images, reserve, opened_version=opened_version, last_run=last)
        except BaseException:
            writing.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Commits what was recorded. The run keeps no end in the ledger unless `end_run` was called."""
        try:
            self._stop_writer()
        finally:
            super().__exit__()
            if self._writer is None:  # closing a connection that is in use would wait for its disk too
                self._connection.close()

    def recover(self) -> Recovered:
        """Finishes what a killed run left staged, sweeps temporary files, checks files after another boot. Once."""
        if self._recovered is None:
            last, own = self._last, self._own()
            doubtful = last.number if last and last.is_of_earlier_boot else 0
            with disk_errors(self._path):
                self._recovered = recover(
                    own, self._images, doubtful=doubtful, is_killed=last is not None and not last.is_clean
                )
        return self._recovered

    def import_sources(
        self,
        rows: Iterable[ListedItem | Known | Checkpoint],
        *,
        fingerprint: str = "",
        keyed_by_id: bool = False,
        same_url: SameUrl = operator.eq,
        columns: Columns | None = None,
        keep_rows: bool = False,
        names: Sequence[str] = (),
    ) -> Imported:
        """Brings the ledger up to the list; `rows` are not touched when `fingerprint` is the one of the last import.

        An empty fingerprint (stdin) never skips. `keyed_by_id`: the same key with another URL is a bad row in one list,
        and due again in a later one. `same_url`: whether two spellings are one URL. `columns`: what the reader of the
        rows has learned of them once they have come; else it is learned from the items when it is needed. `keep_rows`:
        each row of an item gets a row in the manifest, with its own columns. `names`: of several lists.
        """
        with ledger_errors(self._path):  # an OSError here is the list's
            rules = ListRules(keyed_by_id=keyed_by_id, same_url=same_url, keep_rows=keep_rows, names=names)
            return import_rows(self._own(), rows, rules, fingerprint=fingerprint, columns=columns)

    def restore(self, made: Iterable[Row | None], left: Iterable[Row | None], rule: RestoreRules) -> Restored:
        """Takes over what the manifests of a lost ledger prove, as made by the adopted plan; after the import.

        The rows come in the order of their files, None for a line that is none. Reads every file that `made` names.
        """
        with disk_errors(self._path):
            plan = adopted_plan(self._own())
            return restore(self._connection, self._images, made, left, plan=plan, rule=rule)

    def restore_run(
        self, name: str, *, started: datetime, ended: datetime, exit_code: int, counters: Mapping[str, object]
    ) -> None:
        """Takes over an earlier run from its run.json, the oldest first."""
        with disk_errors(self._path), transaction(self._own()):
            self._connection.execute(
                "INSERT INTO run (name, started, ended, host, pid, boot_id, exit_code, counters_json) "
                "VALUES (?, ?, ?, '', 0, '', ?, ?)",  # which machine it was on, and under which pid, is not known
                (name, _format(started), _format(ended), exit_code, json.dumps(dict(counters))),
            )

    def retry_failed(self, codes: Sequence[str] = ()) -> int:
        """Makes failed and quarantined items pending again, of these codes or all; returns how many. Not bad lines."""
        return self._change(
            "UPDATE item SET state = 'pending', due = 1, runs = 0 WHERE state IN ('failed', 'quarantined') "
            "AND stage != 'input' AND (? OR code IN (SELECT value FROM json_each(?)))",
            (not codes, json.dumps(list(codes))),
        )

    def start_afresh(self) -> int:
        """Makes every item of the list pending again, the quarantined too; returns how many. No image is believed."""
        self._change("UPDATE item SET made_url = NULL, made_extra_json = NULL WHERE made_url IS NOT NULL")
        return self._change(
            "UPDATE item SET state = 'pending', due = 1, runs = 0 WHERE state != 'absent' AND stage != 'input'"
        )

    def repair(self, has_shard: HasShard | None = None) -> Repaired:
        """Makes items due again whose file is missing or differs. Reads every file. `has_shard`: see there."""
        with disk_errors(self._path):
            return repair(self._own(), self._images, has_shard)

    def check_files(self) -> int:
        """How many images have no file any more; remembered for as long as no folder of images changes."""
        snapshot = self._files_snapshot(self._images)
        missing = self._count_missing(snapshot, self._images)
        if snapshot:
            with disk_errors(self._path), transaction(self._own()):
                write_meta(self._connection, CHECKED, f"{snapshot} {missing}")
        return missing

    def prune_absent(self) -> int:
        """Deletes the files of items that left the list; returns how many. Listed again, they are fetched again.

        Originals that no image was made from go too, and do not count.
        """
        with disk_errors(self._path):
            pruned = prune_absent(self._own(), self._images)
            prune_originals(self._own(), self._images)
            return pruned

    def reject_duplicates(self, bits: int) -> Decided:
        """Rejects images that look like an earlier one of the list, by hashes that differ in at most so many bits.

        After `finish_recording`. Others are due again that had been rejected so, and are like no image any more.
        """
        with disk_errors(self._path), value_errors(self._path):
            return reject_duplicates(self._own(), self._images, bits=bits)

    def begin_run(
        self,
        name: str,
        started: datetime,
        deciding: Mapping[str, str] | None = None,
        *,
        committed: Committed | None = None,
    ) -> None:
        """Opens the run's row and starts the writer; `deciding` is what decides its failures.

        `committed` is called in the writer's thread with outcomes whose files have their final names.

        Raises LookupError before `adopt_plan`.
        """
        self.recover()
        with disk_errors(self._path):
            plan = adopted_plan(self._own())
            with transaction(self._connection):
                cursor = self._connection.execute(
                    "INSERT INTO run (name, started, host, pid, boot_id, deciding_json) VALUES (?, ?, ?, ?, ?, ?)",
                    (name, _format(started), platform.node(), os.getpid(), boot_id(), json.dumps(dict(deciding or {}))),
                )
            self._run = int(cursor.lastrowid or 0)
        started_writer = Writer(
            self._connection, self._path, self._images, self._reserve, run=self._run, plan=plan, committed=committed
        )
        started_writer.start()
        self._writer = started_writer  # behind: a thread that could not be started is not to be joined

    def record(self, outcome: Outcome) -> None:
        """Takes over what became of an item: `Item[OutputImage]`, `Rejection`, `Failure`. Returns before it is written.

        Blocks while 2,000 outcomes wait. Raises `DiskError` once the writer could not write: the run has to end.
        """
        if self._writer is None:
            raise LookupError("no run was begun: nothing can be recorded")
        self._writer.inbox.put(outcome)

    def flush(self) -> None:
        """Returns when everything recorded is committed and has its final name. Raises as `record` does."""
        if self._writer is not None:
            self._writer.inbox.flush()

    def finish_recording(self) -> None:
        """Writes what is left and gives the ledger back to the caller's thread. Raises as `record` does."""
        ended = self._writer
        self._stop_writer()
        if ended is not None:
            ended.inbox.raise_error()

    def end_run(self, *, ended: datetime, exit_code: int, counters: Mapping[str, object] | None = None) -> None:
        """Writes the run's end, after `finish_recording`. One that ended well removes what a migration kept."""
        with disk_errors(self._path):
            self._close_run(self._own(), ended, exit_code, counters or {})
            if exit_code in ENDED_WELL:
                remove_copies(self._path)

    def break_off_run(self, *, ended: datetime, exit_code: int, counters: Mapping[str, object]) -> None:
        """Commits what was recorded and writes the end of a run that goes on, since the process is about to leave.

        From any thread, over a connection of its own: the writer keeps the other one. Raises as `record` does.
        """
        self.flush()
        with disk_errors(self._path), closing(open_for_writing(self._path, power=False)) as connection:
            self._close_run(connection, ended, exit_code, counters)

    def _close_run(
        self, connection: sqlite3.Connection, ended: datetime, exit_code: int, counters: Mapping[str, object]
    ) -> None:
        with transaction(connection):
            connection.execute(
                "UPDATE run SET ended = ?, exit_code = ?, counters_json = ? WHERE id = ?",
                (_format(ended), exit_code, json.dumps(dict(counters)), self._run),
            )

    def pauses(self, now: float, *, longest_seconds: float) -> dict[str, float]:
        """Hosts to leave alone, with the moment they end (UTC seconds since 1970, the only clock that runs share).

        At most `longest_seconds` away, whatever a clock that was wrong has left.
        """
        with disk_errors(self._path), transaction(self._own()):
            self._connection.execute("DELETE FROM host WHERE not_before <= ?", (now,))
        rows = self._fetch("SELECT name, not_before FROM host")
        return {name: min(not_before, now + longest_seconds) for name, not_before in rows}

    def remember_pauses(self, pauses: Mapping[str, float]) -> None:
        """Leaves hosts alone in the next runs too, until the given moments. Not while recording."""
        with disk_errors(self._path), transaction(self._own()):
            self._connection.executemany(
                "INSERT INTO host VALUES (?, ?) ON CONFLICT DO UPDATE SET not_before = excluded.not_before",
                pauses.items(),
            )

    def release_reserve(self) -> None:
        """Makes 1 MiB of room on a full disk, for the report. The writer does it by itself when it meets one."""
        self._reserve.release()

    def _own(self) -> sqlite3.Connection:
        """The write connection, while this thread may use it."""
        if self._stuck:
            raise writer.stuck()
        if self._writer is not None:
            raise LookupError("the run has begun: the writer owns the ledger until finish_recording")
        return self._connection

    def _change(self, statement: str, values: Sequence[object] = ()) -> int:
        with disk_errors(self._path), transaction(self._own()):
            touch(self._connection)
            return self._connection.execute(statement, values).rowcount

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.inbox.close()
            self._writer.join(0 if self._stuck else writer.PATIENCE_SECONDS)
            self._stuck = self._writer.is_alive()
            if self._stuck:
                raise writer.stuck()
            self._writer = None


def _format(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
