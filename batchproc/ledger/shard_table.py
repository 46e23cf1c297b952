"""What the ledger knows of a job's shards: which files there are, whose images they hold, and which are out of date.

The tables are made when a job first packs its images. The order is that of every change, ledger first: the name of a
shard is noted before it is written (`begun`), its hash once it is there (`made`), and then the waiting files of its
images go. What it replaces (`old`) stays until a manifest without it is published. Nothing is ever listed to find out.
Triggers say, with the commit that changes a row, that the shard which has it is out of date.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from batchproc.kinds import Code
from batchproc.ledger.database import disk_errors, open_for_writing
from batchproc.ledger.schema import NO_EARLIER, execute_all, read_meta, touch, transaction, update_items, write_meta
from batchproc.remembered import Shard

MOST_SHARD_ITEMS = 100_000
SETTINGS = "shards"  # in `meta`: what the shards were last made with
_COVER = f"first > {{id}} - {MOST_SHARD_ITEMS} AND first <= {{id}} AND last >= {{id}}"
_OUTDATE = f"UPDATE shard SET is_current = 0 WHERE is_current = 1 AND {_COVER}"
TABLES = f"""
CREATE TABLE IF NOT EXISTS shard (
  name TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, state TEXT NOT NULL,
  is_current INTEGER NOT NULL DEFAULT 0, is_emptied INTEGER NOT NULL DEFAULT 0, samples INTEGER, size_bytes INTEGER,
  sha256 BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shard_first ON shard (first);
CREATE TRIGGER IF NOT EXISTS packed_image_changed AFTER UPDATE OF
  key, url, extra_json, state, before_absent, plan, suffix, width_px, height_px, original_width_px, original_height_px,
  original_format, size_bytes, sha256, source_sha256, final_url, status_code, etag, last_modified, image_notes,
  made_url, made_extra_json
ON item WHEN old.state IN ('done', 'absent') OR new.state IN ('done', 'absent') OR old.made_url IS NOT NULL
  OR new.made_url IS NOT NULL
BEGIN
  {_OUTDATE.format(id="old.id")};
END;
CREATE TRIGGER IF NOT EXISTS packed_row_came AFTER INSERT ON listed_row BEGIN
  {_OUTDATE.format(id="new.item")};
END;
CREATE TRIGGER IF NOT EXISTS packed_row_went AFTER DELETE ON listed_row BEGIN
  {_OUTDATE.format(id="old.item")};
END;
"""
LOST = (
    "before_absent = iif(state = 'absent', 'pending', before_absent), due = iif(state IN ('done', 'absent'), 1, due), "
    f"runs = iif(state = 'done', 0, runs), state = iif(state = 'done', 'pending', state), {NO_EARLIER}"
)
UNFIT = """
UPDATE item SET before_absent = iif(state = 'absent', 'pending', before_absent), stage = 'output', code = :code,
  due = iif(state = 'absent', 1, 0), state = iif(state = 'absent', 'absent', 'failed'), message = :message,
  hint = 'write the column alike in all lists, then run with --fresh', made_url = NULL, made_extra_json = NULL
WHERE id = :item
"""


class ShardTable:
    """The shards of a job. A context manager with a connection of its own, for one thread at a time.

    Raises `DiskError`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, power: bool = False) -> "ShardTable":
        """Opens those of the ledger at `path`; needs the run lock."""
        table = ShardTable(path, open_for_writing(path, power=power))
        with table._changing():
            execute_all(table._connection, TABLES)
        return table

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def adopt(self, settings: str) -> None:
        """Shards are made with these settings from now on: those of others are out of date.

        So are those whose images a killed run has not all deleted from where they waited: that is done again.
        """
        with self._changing():
            self._connection.execute("UPDATE shard SET is_current = 0 WHERE is_emptied = 0")
            if read_meta(self._connection, SETTINGS) == settings:
                return
            write_meta(self._connection, SETTINGS, settings)
            self._connection.execute("UPDATE shard SET is_current = 0")
            touch(self._connection)

    def outdated(self, shard_items: int) -> list[int]:
        """The numbers of the shards that have to be made, or looked at."""
        last = self._fetch("SELECT coalesce(max(id), 0) FROM item")[0][0]
        rows = self._fetch("SELECT first, last FROM shard WHERE state IN ('made', 'empty') AND is_current = 1")
        current = {first for first, last in rows if last - first + 1 == shard_items}
        return [number for number in range(-(-last // shard_items)) if number * shard_items + 1 not in current]

    def covering(self, first: int, last: int) -> list[Shard]:
        """The shards that may hold images of these items, the newest first."""
        return self._read("state IN ('made', 'old') AND first <= ? AND last >= ? ORDER BY state", (last, first))

    def made(self) -> list[Shard]:
        """The shards that make up the data set, in its order."""
        return self._read("state = 'made' ORDER BY first")

    def begin(self, name: str, first: int, last: int) -> None:
        """Notes that a shard of this name is going to be written."""
        with self._changing():
            self._connection.execute(
                "INSERT INTO shard (name, first, last, state) VALUES (?, ?, ?, 'begun') ON CONFLICT DO NOTHING",
                (name, first, last),
            )

    def commit(self, shard: Shard, *, is_complete: bool) -> None:
        """Notes that a shard is there. What had its items before is replaced. Not complete: more is to come."""
        with self._changing():
            self._replace(shard.name, shard.first, shard.last)
            self._connection.execute(
                "INSERT OR REPLACE INTO shard VALUES (?, ?, ?, 'made', ?, 0, ?, ?, ?)",
                (
                    shard.name, shard.first, shard.last, int(is_complete), shard.samples, shard.size_bytes,
                    shard.sha256,
                ),
            )  # fmt: skip

    def commit_empty(self, first: int, last: int) -> None:
        """Notes that none of these items has an image."""
        with self._changing():
            self._replace("", first, last)
            self._connection.execute(
                "INSERT INTO shard (name, first, last, state, is_current, is_emptied) VALUES (?, ?, ?, 'empty', 1, 1)",
                (f"none from {first}", first, last),
            )

    def _replace(self, name: str, first: int, last: int) -> None:
        overlapping = "name != ? AND first <= ? AND last >= ?"
        self._connection.execute(
            f"UPDATE shard SET state = 'old', is_current = 0 WHERE state = 'made' AND {overlapping}",
            (name, last, first),
        )
        self._connection.execute(f"DELETE FROM shard WHERE state = 'empty' AND {overlapping}", (name, last, first))

    def is_made(self, name: str) -> bool:
        """Whether a shard of this name is part of the data set."""
        return bool(self._fetch("SELECT 1 FROM shard WHERE name = ? AND state = 'made'", (name,)))

    def confirm(self, name: str) -> None:
        """Notes that a shard is as its items are."""
        with self._changing():
            self._connection.execute("UPDATE shard SET is_current = 1 WHERE name = ?", (name,))

    def note_emptied(self, name: str) -> None:
        """Notes that no image of this shard waits in a file of its own any more."""
        with self._changing():
            self._connection.execute("UPDATE shard SET is_emptied = 1 WHERE name = ?", (name,))

    def lose(self, items: Sequence[int]) -> None:
        """Makes items due again whose image is nowhere."""
        with self._changing():
            update_items(self._connection, items, LOST)
            touch(self._connection)

    def fail(self, item: int, message: str) -> None:
        """Makes an item fail whose row does not fit into a shard; one that left the list is not kept."""
        with self._changing():
            self._connection.execute(UNFIT, {"item": item, "code": Code.OUTPUT_VALUE, "message": message})
            touch(self._connection)

    def replaced(self) -> list[str]:
        """The names that no manifest needs once one of `made` is published."""
        return [name for (name,) in self._fetch("SELECT name FROM shard WHERE state IN ('begun', 'old')")]

    def forget(self, names: Iterable[str]) -> None:
        """Notes that these files are gone."""
        with self._changing():
            self._connection.executemany("DELETE FROM shard WHERE name = ?", [(name,) for name in names])

    def all_names(self) -> list[str]:
        """The names of all files that there may be."""
        return [name for (name,) in self._fetch("SELECT name FROM shard WHERE state != 'empty'")]

    def abandon(self) -> None:
        """Notes that the job makes no shards any more."""
        with self._changing():
            self._connection.execute("DELETE FROM meta WHERE name = ?", (SETTINGS,))
            for trigger in ("packed_image_changed", "packed_row_came", "packed_row_went"):
                self._connection.execute(f"DROP TRIGGER {trigger}")
            self._connection.execute("DROP TABLE shard")
            touch(self._connection)

    def _read(self, condition: str, parameters: tuple[int, ...] = ()) -> list[Shard]:
        rows = self._fetch(
            f"SELECT name, first, last, samples, size_bytes, sha256 FROM shard WHERE {condition}", parameters
        )
        return [
            Shard(name=name, first=first, last=last, samples=samples, size_bytes=size_bytes, sha256=sha256)
            for name, first, last, samples, size_bytes, sha256 in rows
        ]

    def _fetch(self, query: str, parameters: tuple[int | str, ...] = ()) -> list[Any]:
        with disk_errors(self._path):
            return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with disk_errors(self._path), transaction(self._connection):
            yield
