"""What the driver knows of each part: a row in a small database of its own. A cache: the committed manifests decide.

Lost, it is made again by looking for each part's manifest.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

from msgspec import Struct

from batchproc.cluster.manifest import PartManifest, parse_manifest
from batchproc.errors import DiskError

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

    number: int
    generation: int
    state: str
    tries: int
    worker: str
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

    def forgive(self) -> None:
        """What is in quarantine is tried again."""
        self._write("UPDATE part SET state = 'waiting', tries = 0 WHERE state = 'quarantined'", ())

    def rows(self) -> Iterator[PartRow]:
        """Every part of which something is known, in order."""
        query = "SELECT number, generation, state, tries, worker, reason, due FROM part ORDER BY number, generation"
        for number, generation, state, tries, worker, reason, due in self._connection.execute(query):
            yield PartRow(
                number=number, generation=generation, state=state, tries=tries, worker=worker, reason=reason, due=due
            )

    def quarantined(self) -> tuple[str, ...]:
        """A line for each part that was given up."""
        rows = [row for row in self.rows() if row.state == QUARANTINED]
        return tuple(f"part {row.number}: {row.reason or 'no reason is known'}" for row in rows)

    def last_committed(self) -> dict[int, PartRow]:
        """The last generation of every part that is committed, by the part's number."""
        return {row.number: row for row in self.rows() if row.state == COMMITTED}

    def manifest(self, row: PartRow) -> PartManifest:
        """What was committed of a part."""
        query = "SELECT manifest FROM part WHERE number = ? AND generation = ?"
        (content,) = self._connection.execute(query, (row.number, row.generation)).fetchone()
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
