"""What the driver knows of each part: a row in a small database of its own; and what `batchproc status` says of it.

A cache: the committed manifests decide. Lost, it is made again by looking for each part's manifest.
"""

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Self

from msgspec import Struct, field

from batchproc.cluster.shard_plan import CURRENT_NAME, FOLDER, PartManifest, parse_manifest, read_plan
from batchproc.config import Config
from batchproc.errors import DiskError, UsageError
from batchproc.explain.wording import cluster_text
from batchproc.explain.words import count
from batchproc.lock import Holder, find_holder
from batchproc.record.run_json import Counts, RunRecord, read_run
from batchproc.sink import Layout

PARTS_NAME = "parts.db"
TABLES = """
CREATE TABLE IF NOT EXISTS part (
  number INTEGER NOT NULL, generation INTEGER NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', due INTEGER NOT NULL DEFAULT 0, manifest BLOB,
  PRIMARY KEY (number, generation)) WITHOUT ROWID;
"""
WAITING, COMMITTED, QUARANTINED = "waiting", "committed", "quarantined"


class PartRow(Struct, frozen=True, kw_only=True):
    """One part's row. `reason`: of its last failed attempt. `due`: items that it left to be tried again."""

    place: tuple[int, int]
    state: str
    tries: int
    reason: str
    due: int


class PartLedger:
    """The rows of one plan. A context manager; used by one thread. Raises `DiskError`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """The ledger at a path; made on demand."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None)
            connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {TABLES}")
        except (sqlite3.Error, OSError) as error:
            raise DiskError(f"{path}: cannot be opened: {error}") from error
        return cls(path, connection)

    @classmethod
    def open_view(cls, path: Path) -> Self:
        """The same for reading alone; one that is not there yet has no rows."""
        at_rest = not path.with_name(f"{path.name}-wal").exists()  # then no file has to be made for reading it
        try:
            if path.exists():
                uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
                return cls(path, sqlite3.connect(uri, uri=True))
            connection = sqlite3.connect(":memory:")
            connection.executescript(TABLES)
        except sqlite3.Error as error:
            raise DiskError(f"{path}: cannot be opened: {error}") from error
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def commit(self, manifest: PartManifest) -> None:
        """A part is done."""
        content = zlib.compress(manifest.to_json())
        self._write(
            "INSERT INTO part (number, generation, state, worker, due, manifest) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT "
            "DO UPDATE SET state = excluded.state, worker = excluded.worker, due = excluded.due, "
            "manifest = excluded.manifest",
            (manifest.number, manifest.generation, COMMITTED, manifest.worker, manifest.due, content),
        )

    def fail(self, number: int, generation: int, worker: str, reason: str, *, tries: int, state: str) -> None:
        """An attempt failed."""
        self._write(
            "INSERT INTO part (number, generation, state, tries, worker, reason) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT "
            "DO UPDATE SET state = excluded.state, tries = excluded.tries, worker = excluded.worker, "
            "reason = excluded.reason WHERE state != 'committed'",
            (number, generation, state, tries, worker, reason),
        )

    def retry_quarantined(self) -> None:
        """What is in quarantine is tried again."""
        self._write("UPDATE part SET state = 'waiting', tries = 0 WHERE state = 'quarantined'", ())

    def rows(self) -> Iterator[PartRow]:
        """Every part of which something is known, in order."""
        query = "SELECT number, generation, state, tries, reason, due FROM part ORDER BY number, generation"
        for number, generation, state, tries, reason, due in self._connection.execute(query):
            yield PartRow(place=(number, generation), state=state, tries=tries, reason=reason, due=due)

    def quarantined(self) -> tuple[str, ...]:
        """A line for each part that was given up."""
        rows = [row for row in self.rows() if row.state == QUARANTINED]
        return tuple(f"part {row.place[0]}: {row.reason or 'no reason is known'}" for row in rows)

    def last_committed(self) -> dict[int, PartRow]:
        """The last generation of every part that is committed, by the part's number."""
        return {row.place[0]: row for row in self.rows() if row.state == COMMITTED}

    def manifest(self, row: PartRow) -> PartManifest:
        """What was committed of a part."""
        query = "SELECT manifest FROM part WHERE number = ? AND generation = ?"
        (content,) = self._connection.execute(query, row.place).fetchone()
        return parse_manifest(zlib.decompress(content))

    def manifests(self) -> Iterator[PartManifest]:
        """What is committed, in order."""
        query = "SELECT manifest FROM part WHERE state = 'committed' ORDER BY number, generation"
        with closing(self._connection.cursor()) as cursor:
            for (content,) in cursor.execute(query):
                yield parse_manifest(zlib.decompress(content))

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise DiskError(f"{self._path}: cannot be written: {error}") from error


class ClusterStatus(Struct, frozen=True, kw_only=True):
    """The parts by their state, and the last run that ended. `quarantined`: why each of those was given up."""

    job: str
    output: str
    plan: str
    parts: Mapping[str, int]
    quarantined: tuple[str, ...] = ()
    running: Holder | None = None
    counts: Counts | None = None
    last_run: str = ""
    cluster: str = ""
    failures: Mapping[str, int] = field(default_factory=dict)


def read_cluster_status(config: Config) -> ClusterStatus:
    """How far a job on a cluster is; changes nothing. Raises `UsageError` where nothing was planned yet."""
    layout = Layout(output=config.paths.output)
    home = layout.output / FOLDER
    try:
        name = json.loads((home / CURRENT_NAME).read_bytes())["plan"]
    except FileNotFoundError:
        raise UsageError(f"{home}: there is no plan yet: the job has not run.") from None
    plan = read_plan(home / name)
    if plan is None:
        raise UsageError(f"{home / name}: the plan is gone; --fresh makes everything again.")
    with PartLedger.open_view(home / name / PARTS_NAME) as ledger:
        first = [row for row in ledger.rows() if not row.place[1]]
        states = Counter(row.state for row in first)
        states["waiting"] += len(plan.shards) - len(first)
        reasons = ledger.quarantined()
    record = _last_record(layout.latest_path)
    return ClusterStatus(
        job=config.job.name,
        output=str(layout.output),
        plan=name,
        parts={state: states[state] for state in ("committed", "waiting", "quarantined")},
        quarantined=reasons,
        running=find_holder(layout.lock_path),
        counts=record.counts if record else None,
        last_run=record.run_id if record else "",
        cluster=cluster_text(record.cluster) if record and record.cluster and record.cluster.workers else "",
        failures=record.failures if record else {},
    )


def describe_cluster_status(status: ClusterStatus) -> Iterator[str]:
    """The text for people, a line each."""
    total = sum(status.parts.values())
    states = ", ".join(f"{number:,} {state}" for state, number in status.parts.items() if number)
    yield f"{status.job}: {count(total, 'part')}: {states}"
    if status.running is not None:
        yield f"  running     pid {status.running.pid}, since {status.running.started}"
    if status.counts is not None:
        words = ("done", "rejected", "failed", "quarantined", "deferred", "pending")
        found = ", ".join(f"{value:,} {word}" for word in words if (value := getattr(status.counts, word)))
        yield f"  last run    {status.last_run}: {count(status.counts.items, 'item')}: {found}"
    if status.cluster:
        yield f"  cluster     {status.cluster}"
    yield from (f"  quarantine  {line}" for line in status.quarantined)
    yield f"  outputs     {status.output}"


def _last_record(latest: Path) -> RunRecord | None:
    try:
        return read_run(latest)
    except UsageError:
        return None
