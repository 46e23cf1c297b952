"""The first import into an empty ledger: all rows of the list are inserted unasked, then duplicates are taken out.

Keys are as good as random: to look each one up, and to keep an index of them in order, is most of the work where there
are millions, so the indexes are made once all rows are there. It is one transaction: killed at any instant, the ledger
is as empty as before.
"""

import hashlib
import sqlite3
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter

from msgspec import Struct

from batchproc.failpoints import failpoint
from batchproc.kinds import Code
from batchproc.ledger.schema import INPUT_STAGE, ITEM_INDEXES, SameUrl, storable, touch
from batchproc.model import ListedItem, describe_line
from batchproc.remembered import Checkpoint, Known

ROWS_AT_ONCE = 10_000  # held in memory
ROWS_PER_STATEMENT = 8  # a statement for each row took two thirds longer
ROW = ", (?, ?, ?, ?, 'pending', 1)"
INSERT = "INSERT INTO item (key, line, url, extra_json, state, due) VALUES "
INSERT_BAD = f"""
INSERT INTO item (key, line, url, extra_json, code, message, state, due, stage)
  VALUES (?, ?, ?, ?, ?, ?, 'failed', 0, '{INPUT_STAGE}')
"""
# Of each key that comes again, its first item; then every further row that has it.
FIND_SHARED = """
CREATE TEMP TABLE shared (key BLOB PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO shared SELECT key, min(id) FROM item NOT INDEXED GROUP BY key HAVING count(*) > 1;
"""
FURTHER = "FROM item NOT INDEXED CROSS JOIN shared USING (key) WHERE item.id > shared.first"
CONTRADICT = """
UPDATE item SET key = changed.key, code = changed.code, message = changed.message, state = 'failed', due = 0,
  stage = 'input' FROM changed WHERE changed.id = item.id
"""


class FirstRows(Struct, frozen=True, kw_only=True):
    """What a first import brought in. The lines are in their order."""

    checkpoints: Sequence[Checkpoint]
    new: int
    duplicate_lines: Sequence[int]
    bad_lines: Sequence[int]

    def count_to(self, line: int) -> tuple[int, int]:
        """The duplicates and the bad rows up to a line."""
        return bisect_right(self.duplicate_lines, line), bisect_right(self.bad_lines, line)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the ledger knows of no item."""
    return connection.execute("SELECT 1 FROM item LIMIT 1").fetchone() is None


def insert_all(
    connection: sqlite3.Connection,
    entries: Iterator[ListedItem | Known | Checkpoint],
    *,
    same_url: SameUrl | None,
    keep_rows: bool,
    names: Sequence[str],
) -> FirstRows:
    """Inserts all rows, inside a transaction; `same_url` where keys are ids, which may come with two URLs."""
    for name in ITEM_INDEXES:
        connection.execute(f"DROP INDEX {name}")
    checkpoints = _insert(connection, entries)
    again: Sequence[int] = ()
    try:
        connection.execute(ITEM_INDEXES["item_key"])
    except sqlite3.IntegrityError:
        again = _take_out_duplicates(connection, same_url, names, keep_rows=keep_rows)
    for name, statement in ITEM_INDEXES.items():
        if again or name != "item_key":
            connection.execute(statement)
    if again and keep_rows:
        connection.execute(
            "INSERT INTO listed_row SELECT item.id, again.line, again.extra_json FROM again JOIN item USING (key)"
        )
    connection.execute("DROP TABLE IF EXISTS temp.again")
    new = connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()[0]
    bad = connection.execute("SELECT line FROM item WHERE state = 'failed' ORDER BY line")
    if new:
        touch(connection)
    return FirstRows(
        checkpoints=checkpoints, new=new, duplicate_lines=again, bad_lines=array("q", (line for (line,) in bad))
    )


def _insert(connection: sqlite3.Connection, entries: Iterator[ListedItem | Known | Checkpoint]) -> Sequence[Checkpoint]:
    checkpoints: list[Checkpoint] = []
    while batch := list(islice(entries, ROWS_AT_ONCE)):
        rows = [entry for entry in batch if type(entry) is ListedItem]
        if len(rows) < len(batch):
            checkpoints += [entry for entry in batch if isinstance(entry, Checkpoint)]
        for code, run in groupby(rows, itemgetter(4)):
            if code:
                connection.executemany(INSERT_BAD, map(_storable, run))
            else:
                _insert_good(connection, [row[:4] if row[2].isascii() else _storable(row)[:4] for row in run])
        failpoint("ledger.import")
    return checkpoints


def _insert_good(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, int, str, str]]) -> None:
    whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
    values, width = list(chain.from_iterable(rows[:whole])), 4 * ROWS_PER_STATEMENT
    several = INSERT + (ROWS_PER_STATEMENT * ROW).removeprefix(", ")
    connection.executemany(several, (values[at : at + width] for at in range(0, len(values), width)))
    connection.executemany(INSERT + ROW.removeprefix(", "), rows[whole:])


def _storable(row: ListedItem) -> ListedItem:
    return row._replace(url=storable(row.url), message=storable(row.message))


def _take_out_duplicates(
    connection: sqlite3.Connection, same_url: SameUrl | None, names: Sequence[str], *, keep_rows: bool
) -> Sequence[int]:
    """Leaves of each key its first row, and closes the gaps; returns the lines that went.

    The rows themselves are in a temporary table then, where their columns are to be kept.
    """
    _find_shared(connection)
    if same_url is not None and _contradict(connection, same_url, names):
        _find_shared(connection)
    connection.execute(
        "CREATE TEMP TABLE again (id INTEGER PRIMARY KEY, key BLOB NOT NULL, line INTEGER NOT NULL, extra_json TEXT)"
    )
    connection.execute(
        f"INSERT INTO again SELECT item.id, item.key, item.line, {'extra_json' if keep_rows else 'NULL'} {FURTHER}"
    )
    connection.execute("DROP TABLE shared")
    connection.execute("DELETE FROM item WHERE id IN (SELECT id FROM again)")
    gone = array("q", (item for (item,) in connection.execute("SELECT id FROM again ORDER BY id")))
    if gone:
        connection.create_function("closed_up", 1, lambda item: item - bisect_left(gone, item), deterministic=True)
        connection.execute("UPDATE item SET id = closed_up(id) WHERE id > ?", (gone[0],))
    return array("q", (line for (line,) in connection.execute("SELECT line FROM again ORDER BY id")))


def _find_shared(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS temp.shared")
    for statement in FIND_SHARED.split(";")[:-1]:
        connection.execute(statement)


def _contradict(connection: sqlite3.Connection, same_url: SameUrl, names: Sequence[str]) -> bool:
    """Makes bad rows, with keys of their own, of those whose id has another URL already; whether there are any."""
    connection.execute("CREATE TEMP TABLE changed (id INTEGER PRIMARY KEY, key BLOB, code TEXT, message TEXT)")
    rows = connection.execute(
        "SELECT item.id, item.key, item.line, item.url, item.extra_json, item.code, item.message, one.line, one.url "
        f"{FURTHER.replace(' WHERE', ' JOIN item AS one ON one.id = shared.first WHERE')}"
    )
    connection.executemany(
        "INSERT INTO changed VALUES (?, ?, ?, ?)",
        (
            (item, bad.key, bad.code, bad.message)
            for item, *row, line, url in rows
            if row[2] != url and not same_url(url, row[2])
            for bad in [contradiction(ListedItem(*row), describe_line(line, names))]
        ),
    )
    changed = connection.execute(CONTRADICT).rowcount
    connection.execute("DROP TABLE changed")
    return changed > 0


def contradiction(row: ListedItem, first: str) -> ListedItem:
    """The bad row that stands for a line whose id already has another URL, on the line `first`."""
    message = row.message or f"the same id as {first}, with another URL"
    return row._replace(key=contradiction_key(row.key, row.url), code=row.code or Code.INPUT_ROW, message=message)


def contradiction_key(key: bytes, url: str) -> bytes:
    """The key of a bad row that has the id of another item."""
    return hashlib.blake2b(key + url.encode("utf-8", "backslashreplace"), digest_size=16).digest()
