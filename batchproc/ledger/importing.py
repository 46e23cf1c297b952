"""From the list to the ledger: new lines come in, known ones are recognised by their key, vanished ones are marked.

The list is streamed; memory is one byte per item plus one transaction of rows. Of a list whose beginning is as it was,
only the rest comes: behind the last checkpoint of the last import that still holds, whatever a killed import has done
since. They hold because of one rule: an item that is listed has the line where the list names it first. An import that
goes on behind a checkpoint gives only later lines, so that those up to it are the items of the beginning, at any
instant.

What the ledger says of an item is true of one URL. Where the list has another one for it, a failure is forgotten, since
it was the old URL's. An image stays, with its row in `metadata.jsonl`: `made_url` and `made_extra_json` keep the URL
and the columns that it was made with until the new URL's image takes its place. Its validators are never sent to the
new URL. Where the old URL comes back before that, all is as it was.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.columns import Columns
from batchproc.failpoints import failpoint
from batchproc.ledger.deciding import OF_ADOPTED_PLAN
from batchproc.ledger.first_import import contradiction, insert_all, is_empty
from batchproc.ledger.schema import (
    INPUT_STAGE,
    SameUrl,
    State,
    read_meta,
    storable,
    touch,
    transaction,
    update_items,
    write_meta,
)
from batchproc.model import ListedItem, describe_line
from batchproc.remembered import Checkpoint, Known

CLOSE_BYTES = 1 << 20
Passed: TypeAlias = tuple[Checkpoint, int, int]  # and the duplicates and bad rows that were counted up to there


def read_checkpoints(connection: sqlite3.Connection) -> tuple[Checkpoint, ...]:
    """How far the list is known, in its order, for who reads it: a list that begins with one of these is taken."""
    rows = connection.execute(
        "SELECT size_bytes, digest, line, header_json, columns_json FROM list_checkpoint ORDER BY size_bytes"
    )
    return tuple(
        Checkpoint(
            size_bytes=size_bytes, digest=digest, line=line, header=tuple(json.loads(header)), columns=columns_json
        )
        for size_bytes, digest, line, header, columns_json in rows
    )


def forget_behind(connection: sqlite3.Connection, known: Checkpoint | None) -> bool:
    """Forgets, inside a transaction, what was known of the list behind a checkpoint, or all of it.

    Returns whether further rows of items were among that.
    """
    size_bytes, line = (known.size_bytes, known.line) if known else (-1, -1)
    connection.execute("DELETE FROM list_checkpoint WHERE size_bytes > ?", (size_bytes,))
    return connection.execute("DELETE FROM listed_row WHERE line > ?", (line,)).rowcount > 0


def store_checkpoints(connection: sqlite3.Connection, passed: Iterable[Passed]) -> None:
    """Notes checkpoints, inside the transaction in which the ledger comes to hold the whole list.

    Lists that grow a little every night bring one each: of those that are close together, the last one stays.
    """
    rows = (
        (one.size_bytes, one.digest, one.line, json.dumps(one.header), one.columns, duplicates, bad_rows)
        for one, duplicates, bad_rows in passed
    )
    connection.executemany("INSERT INTO list_checkpoint VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute(
        "DELETE FROM list_checkpoint AS one WHERE EXISTS (SELECT 1 FROM list_checkpoint AS later WHERE "
        f"later.size_bytes > one.size_bytes AND later.size_bytes / {CLOSE_BYTES} = one.size_bytes / {CLOSE_BYTES})"
    )


def mark_known(connection: sqlite3.Connection, seen: bytearray, known: Checkpoint) -> None:
    """Marks the items, by id, that the list names up to a checkpoint."""
    seen[1:] = b"\1" * (len(seen) - 1)
    others = connection.execute("SELECT id FROM item NOT INDEXED WHERE line > ? OR state = 'absent'", (known.line,))
    for (item,) in others:
        seen[item] = 0


ROWS_PER_TRANSACTION = 50_000  # 20,000 took a quarter longer: the pages of the key index are written each time
SAMPLE_BYTES = 64 * 1024
# A source that is listed again is what it was, but for what another plan decided meanwhile: that is made again.
STALE = f"before_absent IN ('done', 'rejected') AND NOT {OF_ADOPTED_PLAN}"
RETURN = f"""
UPDATE item SET state = CASE WHEN {STALE} THEN 'pending' ELSE before_absent END,
  due = CASE WHEN {STALE} THEN 1 ELSE due END, runs = CASE WHEN {STALE} THEN 0 ELSE runs END, before_absent = NULL,
  made_url = CASE WHEN {OF_ADOPTED_PLAN} THEN made_url END,
  made_extra_json = CASE WHEN {OF_ADOPTED_PLAN} THEN made_extra_json END
WHERE id = ?
"""


class ListRules(Struct, frozen=True, kw_only=True):
    """How the rows of a list become items: see `Ledger.import_sources`."""

    keyed_by_id: bool
    same_url: SameUrl
    keep_rows: bool
    names: Sequence[str]


class Imported(Struct, kw_only=True):
    """What an import found, or has found so far. `skipped`: the list is that of the last import, nothing was read."""

    new: int = 0
    known: int = 0
    duplicates: int = 0
    bad_rows: int = 0
    absent: int = 0  # left the list with this import
    returned: int = 0  # were absent, are listed again
    skipped: bool = False
    remarks: tuple[str, ...] = ()  # what was noticed or fixed in its rows


def input_fingerprint(path: Path, *settings: str) -> str:
    """The identity of a list, without reading it whole: place, size, times, both ends, reading settings.

    `settings` are the options that change what is read from the file (columns, base_url). A change in the middle that
    keeps size and modification time goes unseen. Not for pipes: they have no fingerprint, pass "".
    """
    status = path.stat()
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(SAMPLE_BYTES))
        file.seek(max(0, status.st_size - SAMPLE_BYTES))
        digest.update(file.read(SAMPLE_BYTES))
    facts = [str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ino, *settings]
    digest.update(json.dumps(facts).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def import_rows(
    connection: sqlite3.Connection,
    rows: Iterable[ListedItem | Known | Checkpoint],
    rules: ListRules,
    *,
    fingerprint: str,
    columns: Columns | None,
) -> Imported:
    """Brings the ledger up to the list. The fingerprint and the checkpoints come with the last transaction: a killed
    import starts over, behind the beginning that was known before.

    Raises what `rows` raises; lines before that point are kept but by the first import, nothing is marked absent.
    """
    if fingerprint and fingerprint == read_meta(connection, "input_fingerprint"):
        return Imported(skipped=True)
    entries = iter(rows)
    first = next(entries, None)
    known = first.checkpoint if isinstance(first, Known) else None
    run = _Import(connection, known, rules)
    with transaction(connection):  # killed from here on, the next import starts over, whatever list it finds
        write_meta(connection, "input_fingerprint", "")
        if forget_behind(connection, known):
            touch(connection)
    failpoint("ledger.import_begun")
    entries = chain([first] if first is not None else [], entries)
    is_first = is_empty(connection)
    if not is_first:
        run.add_all(entries)
    with transaction(connection):
        if is_first:
            run.insert_all(entries)
        else:
            run.mark_absent()
        _remember(connection, run, fingerprint, columns, rules.names)
        failpoint("ledger.import_end")
    place = partial(describe_line, lists=rules.names)
    run.found.remarks = tuple(one.describe(place) for one in columns.remarks) if columns else ()
    return run.found


def read_columns(connection: sqlite3.Connection) -> Columns:
    """The columns of the list that was imported last, learned from its items where its reader did not say."""
    known = read_meta(connection, "columns")
    columns = Columns.parse(known) if known else Columns()
    held = "SELECT made_extra_json FROM item WHERE made_extra_json != ''"  # of an image that an earlier list brought
    listed = (
        "SELECT extra_json FROM item WHERE extra_json != '' AND state != 'absent' "
        "UNION ALL SELECT extra_json FROM listed_row WHERE extra_json != ''"
    )
    for (extra_json,) in connection.execute(held if known else f"{listed} UNION ALL {held}"):
        columns.observe(json.loads(extra_json), 0)
    return columns


class _Import:
    """One import under way: which items were seen, and how many of each sort."""

    def __init__(self, connection: sqlite3.Connection, known: Checkpoint | None, rules: ListRules) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._rules = rules
        self._seen = bytearray(1 + _largest_id(connection))  # by id
        self.passed: list[Passed] = []
        self.found = Imported()
        if known is not None:
            mark_known(connection, self._seen, known)
            self.found.known = sum(self._seen)
            self.found.duplicates, self.found.bad_rows = connection.execute(
                "SELECT duplicates, bad_rows FROM list_checkpoint WHERE size_bytes = ?", (known.size_bytes,)
            ).fetchone()

    def insert_all(self, entries: Iterator[ListedItem | Known | Checkpoint]) -> None:
        """Brings in all lines where no item is known yet, inside a transaction."""
        rules = self._rules
        same_url = rules.same_url if rules.keyed_by_id else None
        rows = insert_all(self._connection, entries, same_url=same_url, keep_rows=rules.keep_rows, names=rules.names)
        found = self.found
        for checkpoint in rows.checkpoints:
            duplicates, bad_rows = rows.count_to(checkpoint.line)
            self.passed.append((checkpoint, found.duplicates + duplicates, found.bad_rows + bad_rows))
        found.new = rows.new
        found.duplicates += len(rows.duplicate_lines)
        found.bad_rows += len(rows.bad_lines)

    def add_all(self, entries: Iterator[ListedItem | Known | Checkpoint]) -> None:
        """Brings in all lines, many to a transaction."""
        while batch := list(islice(entries, ROWS_PER_TRANSACTION)):
            with transaction(self._connection):
                before = self._connection.total_changes
                for entry in batch:
                    if isinstance(entry, ListedItem):
                        self.add(entry)
                    elif isinstance(entry, Checkpoint):
                        self.passed.append((entry, self.found.duplicates, self.found.bad_rows))
                if self._connection.total_changes > before:
                    touch(self._connection)
            failpoint("ledger.import")

    def add(self, row: ListedItem) -> None:
        """Brings in one line, inside a transaction."""
        known = self._cursor.execute(
            "SELECT id, line, url, extra_json, state, stage FROM item WHERE key = ?", (row.key,)
        ).fetchone()
        if known is None:
            self._insert(row)
        elif not self._seen[known[0]]:
            self._seen[known[0]] = 1
            self.found.known += 1
            self.found.bad_rows += bool(row.code)
            self._update(row, *known)
        elif (
            self._rules.keyed_by_id
            and known[2] != (url := storable(row.url))
            and not self._rules.same_url(known[2], url)
        ):
            self.add(contradiction(row, describe_line(known[1], self._rules.names)))
        else:
            self.found.duplicates += 1
            if self._rules.keep_rows:
                self._cursor.execute("INSERT INTO listed_row VALUES (?, ?, ?)", (known[0], row.line, row.extra_json))

    def _insert(self, row: ListedItem) -> None:
        bad = bool(row.code)
        state, stage = (State.FAILED, INPUT_STAGE) if bad else (State.PENDING, "")
        self._cursor.execute(
            "INSERT INTO item (key, line, url, extra_json, state, due, stage, code, message) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (row.key, row.line, storable(row.url), row.extra_json, state, not bad, stage, row.code,
             storable(row.message)),
        )  # fmt: skip
        self._seen.append(1)
        self.found.new += 1
        self.found.bad_rows += bad

    def _update(self, row: ListedItem, item: int, line: int, url: str, extra: str, state: str, stage: str) -> None:
        """The list is the truth about a known item's line, URL and columns; the ledger about what that URL came to."""
        if state == State.ABSENT:
            self._cursor.execute(RETURN, (item,))
            self.found.returned += 1
        listed_url = storable(row.url)
        if url != listed_url or bool(row.code) != (stage == INPUT_STAGE):
            message = storable(row.message)
            listed = ListedState(url=listed_url, extra_json=row.extra_json, code=row.code, message=message)
            change_url(
                self._connection, item, listed, same_url=self._rules.same_url, keyed_by_id=self._rules.keyed_by_id
            )
        if extra != row.extra_json:
            self._cursor.execute("UPDATE item SET extra_json = ? WHERE id = ?", (row.extra_json, item))
        if line != row.line:  # by itself: no row of metadata.jsonl has it
            self._cursor.execute("UPDATE item SET line = ? WHERE id = ?", (row.line, item))

    def mark_absent(self) -> None:
        """Marks what the list no longer holds, inside a transaction. Files and facts stay."""
        values = "before_absent = state, state = 'absent'"
        self.found.absent = update_items(self._connection, self._unseen(), values, "state != 'absent'")

    def _unseen(self) -> Iterator[int]:
        position = self._seen.find(0, 1)
        while position > 0:
            yield position
            position = self._seen.find(0, position + 1)


def _remember(
    connection: sqlite3.Connection, run: _Import, fingerprint: str, columns: Columns | None, names: Sequence[str]
) -> None:
    for name, value in (
        ("input_fingerprint", fingerprint),
        ("duplicates", run.found.duplicates),
        ("bad_rows", run.found.bad_rows),
    ):
        write_meta(connection, name, value)
    store_checkpoints(connection, run.passed)
    now = {"columns": columns.dump()} if columns is not None else {}
    if names:
        now["lists"] = json.dumps(names)
    before = dict(connection.execute("SELECT name, value FROM meta WHERE name IN ('columns', 'lists')").fetchall())
    connection.execute("DELETE FROM meta WHERE name IN ('columns', 'lists')")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", now.items())
    if run.found.absent or now != before:
        touch(connection)


def _largest_id(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()[0])


READ = "SELECT url, extra_json, state, stage, code, message, made_url, made_extra_json FROM item WHERE id = ?"
WRITE = """
UPDATE item SET url = :url, extra_json = :extra_json, state = :state, stage = :stage, code = :code, message = :message,
  made_url = :made_url, made_extra_json = :made_extra_json,
  hint = CASE WHEN :is_reset THEN '' ELSE hint END, due = CASE WHEN :is_reset THEN :due ELSE due END,
  runs = CASE WHEN :is_reset THEN 0 ELSE runs END, attempts = CASE WHEN :is_reset THEN 0 ELSE attempts END
WHERE id = :item
"""


class ListedState(Struct, frozen=True, kw_only=True):
    """What the list says of an item now. `code` and `message` are those of a line that is no URL."""

    url: str
    extra_json: str
    code: str = ""
    message: str = ""


class KnownItem(Struct, frozen=True, kw_only=True):
    """What the ledger says of an item that is in the list."""

    url: str
    extra_json: str
    state: str
    stage: str
    code: str
    message: str
    made_url: str | None
    made_extra_json: str | None

    @property
    def has_image(self) -> bool:
        """Whether an image of the adopted plan is there, of this URL or of an earlier one."""
        return self.state == State.DONE or self.made_url is not None

    @property
    def image_url(self) -> str:
        """The URL that the image was made of."""
        return self.url if self.made_url is None else self.made_url


def change_url(
    connection: sqlite3.Connection, item: int, listing: ListedState, *, same_url: SameUrl, keyed_by_id: bool
) -> None:
    """Brings a listed item up to its line in the list, inside a transaction.

    `keyed_by_id`: the list's id says which item it is, and its URL may be any other. Otherwise the key is the URL as
    listed, so that only what it is joined with can have changed: then an image stays done.
    """
    row = connection.execute(READ, (item,)).fetchone()
    known = KnownItem(**dict(zip(KnownItem.__struct_fields__, row, strict=True)))
    new = _next(known, listing, same_url, keyed_by_id=keyed_by_id)
    facts = {name: getattr(new, name) for name in KnownItem.__struct_fields__}
    is_reset = (new.state, new.stage) != (known.state, known.stage) or not same_url(known.url, new.url)
    connection.execute(WRITE, facts | {"item": item, "is_reset": is_reset, "due": int(new.state == State.PENDING)})


def _next(known: KnownItem, listing: ListedState, same_url: SameUrl, *, keyed_by_id: bool) -> KnownItem:
    new = replace(known, url=listing.url, extra_json=listing.extra_json)
    if listing.code:
        return _refused(known, replace(new, code=listing.code, message=listing.message))
    if known.has_image and same_url(known.image_url, new.url):
        return replace(new, state=State.DONE, stage="", code="", message="", made_url=None, made_extra_json=None)
    if same_url(known.url, new.url) and known.stage != INPUT_STAGE:
        return new
    if not known.has_image:
        return _pending(new)
    if not keyed_by_id:
        return replace(new, state=State.DONE, stage="", code="", message="", made_url=known.image_url)
    return _pending(_holding(known, new))


def _refused(known: KnownItem, new: KnownItem) -> KnownItem:
    """The line is no URL any more. One that an image was made of is believed to be one."""
    if known.has_image and known.url == new.url:
        return replace(known, extra_json=new.extra_json)
    held = _holding(known, new) if known.has_image else new
    return replace(held, state=State.FAILED, stage=INPUT_STAGE)


def _holding(known: KnownItem, new: KnownItem) -> KnownItem:
    """The item keeps the image that it has, with the URL and the columns that were the image's."""
    extra_json = known.extra_json if known.made_extra_json is None else known.made_extra_json
    return replace(new, made_url=known.image_url, made_extra_json=extra_json)


def _pending(new: KnownItem) -> KnownItem:
    return replace(new, state=State.PENDING, stage="", code="", message="")
