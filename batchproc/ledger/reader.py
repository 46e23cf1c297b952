"""What can be read from a ledger: the work that is left, the counts, the rows of the manifests, the history.

Of the manifests it is known which of their blocks need not be made again.
"""

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeAlias, TypeVar

from batchproc.columns import FILE_NAME_ENDINGS, Columns, Scalar, Type
from batchproc.ledger.data_set_counts import data_set
from batchproc.ledger.database import disk_errors, open_for_reading, stored_errors, value_errors
from batchproc.ledger.deciding import compare_plan, find_due_again, last_runs
from batchproc.ledger.files import CHECKED, FileNames, knows_shards, packed_items
from batchproc.ledger.importing import read_columns
from batchproc.ledger.schema import EARLY, MADE, WINDOW, State, read_meta, read_version, transaction, write_meta
from batchproc.model import LINES_PER_LIST, Source, Validators, describe_line
from batchproc.record.run_json import Counts
from batchproc.remembered import BLOCK_ITEMS, Block, Manifest, Part
from batchproc.sink.layout import ImageFolder
from batchproc.version import VERSION

CURRENT = "manifests"  # in `meta`: what the files looked like when they were last written
METADATA, FAILURES = "metadata", "failures"
NUMBERS = ("width", "height", "original_width", "original_height", "size_bytes")
FACTS = (
    "file_name", "url", "key", *NUMBERS, "original_format", "sha256", "source_sha256", "final_url", "status_code",
    "etag", "last_modified",
)  # fmt: skip
LATE_FACTS = ("image_notes", "image_recipe")  # rows of earlier versions do not have them
FACT_TYPES: Mapping[str, Type] = {
    name: Scalar.INT if name in (*NUMBERS, "status_code") else Scalar.TEXT for name in (*FACTS, *LATE_FACTS)
}
IMAGE = "image"  # what loaders call the image itself
ORIGINAL = "original"  # in jobs that keep them: the path, empty where it was not kept
CAPTION = "text"  # what they call its caption

SOURCE = (  # what a `Source` is made of; validators are those of the URL that the image was made from
    "id - 1, line, url, key, extra_json, state = 'done', iif(made_url IS NULL, etag, NULL), "
    "iif(made_url IS NULL, last_modified, NULL), iif(made_url IS NULL, source_sha256, NULL)"
)
WORK = "due = 1 AND state != 'absent' AND (state != 'failed' OR runs < ?)"
IMAGE_COLUMNS = (
    "id, key, url, extra_json, suffix, width_px, height_px, original_width_px, original_height_px, original_format, "
    "size_bytes, sha256, source_sha256, final_url, status_code, etag, last_modified, image_notes, "
    "(SELECT recipe FROM plan WHERE plan.id = item.plan), made_url, made_extra_json"
)

# Items that left the list, whose images stay in their shards.
KEPT = "(state = 'absent' AND before_absent = 'done' AND suffix IS NOT NULL)"
ENDED = (State.DONE, State.REJECTED, State.FAILED, State.QUARANTINED, State.DEFERRED)
LAST = 2**63 - 1  # of all ids
NO_MORE: tuple[float, str] = (math.inf, "")


NameFile: TypeAlias = Callable[[str, str], str]
P = ParamSpec("P")
R = TypeVar("R")


def read_by(function: Callable[Concatenate[sqlite3.Connection, P], R]) -> Callable[Concatenate["LedgerView", P], R]:
    """The method that asks this function of the ledger: alone meanwhile, with errors that say what to do."""

    @wraps(function)
    def ask(view: "LedgerView", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with view._reading, stored_errors(view._path):
            return function(view._reader, *args, **kwargs)

    return ask


def known_blocks(connection: sqlite3.Connection, manifest: str) -> dict[int, Block]:
    """The blocks of a manifest of which no row has changed since it was written, by their numbers."""
    rows = connection.execute(
        "SELECT number, start_bytes, size_bytes, digest FROM manifest_block WHERE manifest = ?", (manifest,)
    )
    return {
        number: Block(start_bytes=start_bytes, size_bytes=size_bytes, digest=digest)
        for number, start_bytes, size_bytes, digest in rows
    }


class LedgerView:
    """Reads a ledger. Safe to use from several threads: one read at a time, each short.

    Raises `UsageError` for a ledger that is not there or not ours, `DiskError` for one that cannot be read.
    """

    compare_plan = read_by(compare_plan)
    find_due_again = read_by(find_due_again)
    last_runs = read_by(last_runs)
    columns = read_by(read_columns)
    data_set = read_by(data_set)
    knows_shards = read_by(knows_shards)
    _known_blocks = read_by(known_blocks)
    _packed = read_by(packed_items)

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._reader = connection
        self._has_urls = read_version(connection) > 1  # the ledger knows of earlier URLs
        self._reading = threading.Lock()  # guards `_reader`: a connection serves one thread at a time

    @classmethod
    def open_view(cls, path: Path) -> "LedgerView":
        """Opens the ledger at `path` without the right to change it; makes no file beside it either.

        Whoever writes has a `-wal` file beside the ledger from the first read to a clean end.
        """
        return LedgerView(path, open_for_reading(path, at_rest=not path.with_name(f"{path.name}-wal").exists()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def pending(self, limit: int, after_index: int = -1, *, max_runs: int = 5, refresh: bool = False) -> list[Source]:
        """The next sources to work on, in the order of the input, that stand behind `after_index`.

        An item that failed for a transient reason is among them until it was tried in `max_runs` runs. `refresh`: what
        is done is among them too, with its validators.
        """
        query = f"SELECT {SOURCE} FROM item {_choose(refresh)} AND id > ? ORDER BY id LIMIT ?"
        return list(map(_source, self._fetch(query, (max_runs, after_index + 1, limit))))

    def reread(self, indexes: Sequence[int]) -> list[Source]:
        """Sources that `work` gave before, by their positions; from any thread, also while their run goes on."""
        query = f"SELECT {SOURCE} FROM item WHERE id IN (SELECT value + 1 FROM json_each(?)) ORDER BY id"
        return list(map(_source, self._fetch(query, (json.dumps(list(indexes)),))))

    def work(self, *, max_runs: int = 5, refresh: bool = False) -> Iterator[Source]:
        """Every source to work on, once, in the order of the input; read in windows as it is consumed."""
        window = self.pending(WINDOW, max_runs=max_runs, refresh=refresh)
        while window:
            yield from window
            window = self.pending(WINDOW, window[-1].index, max_runs=max_runs, refresh=refresh)

    def count_work(self, *, max_runs: int = 5, refresh: bool = False) -> int:
        """How many sources `work` would yield; the other items of the list are terminal."""
        query = f"SELECT count(*) FROM item {_choose(refresh)}"
        return int(self._fetch(query, (max_runs,))[0][0])

    def counts(self) -> Counts:
        """The items by state, as of the last commit."""
        by_state = dict(self._fetch("SELECT state, count(*) FROM item GROUP BY state"))
        meta = dict(self._fetch("SELECT name, value FROM meta WHERE name IN ('duplicates', 'bad_rows')"))
        absent = by_state.pop(State.ABSENT, 0)
        return Counts(
            items=sum(by_state.values()),
            **{state: by_state.get(state, 0) for state in ENDED},
            pending=by_state.get(State.PENDING, 0) + by_state.get(State.STAGED, 0),
            absent=absent,
            **meta,
        )

    def count_work_by(self, size: int, *, max_runs: int = 5, refresh: bool = False) -> dict[int, int]:
        """The same by groups of so many neighbouring items: how many there are in each that has any."""
        query = f"SELECT (id - 1) / {int(size)}, count(*) FROM item {_choose(refresh)} GROUP BY 1"
        return dict(self._fetch(query, (max_runs,)))

    def failures_by_code(self) -> dict[str, int]:
        """How many items failed or are quarantined, by code, the most frequent first."""
        return self._count_codes("'failed', 'quarantined'")

    def deferrals_by_code(self) -> dict[str, int]:
        """How many items are left for the next run, by code, the most frequent first."""
        return self._count_codes("'deferred'")

    def left_by_code(self) -> dict[str, int]:
        """How many items have no image, by code, the most frequent first."""
        return self._count_codes(EARLY.strip("()"))

    def failed_urls(self) -> Iterator[tuple[str, str]]:
        """The URL and the code of every item that a server or a file let down; not of bad lines and checks."""
        condition = "state IN ('failed', 'quarantined', 'deferred') AND stage != 'input'"
        return ((url, code) for _, url, code in self._scan("id, url, code", condition))

    def image_totals(self) -> tuple[int, int]:
        """How many images there are, and their bytes."""
        images, size_bytes = self._fetch(f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM item WHERE {MADE}")[0]
        return images, size_bytes

    def keys_with_images(self, key_hexes: Iterable[str]) -> set[str]:
        """Those of these items that have an image."""
        query = f"SELECT 1 FROM item WHERE key = ? AND {MADE}"
        return {key for key in key_hexes if self._fetch(query, (bytes.fromhex(key),))}

    def frequent_values(self, column: str, most: int) -> list[tuple[str, int]]:
        """The most frequent values of a column of the list among the items with images; empty where there is none."""
        query = (
            "SELECT CAST(coalesce(json_extract(nullif(extra_json, ''), ?), '') AS TEXT), count(*) FROM item "
            f"WHERE {MADE} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
        )
        return self._fetch(query, (f"$.{json.dumps(column, ensure_ascii=False)}", most))

    def metadata(
        self, file_name: NameFile, columns: Columns, caption: str = "", original: NameFile | None = None
    ) -> Manifest:
        """What `metadata.jsonl` is to hold, in the order of the input, with the `columns` of the list.

        `file_name` makes a path of key and suffix; `caption` is the column with the captions; `original`, in jobs
        that keep them, makes the path of an original of its hash and format.
        """
        names = name_columns(columns.types, caption, originals=original is not None)
        rows = partial(self._metadata_rows, file_name, columns, names, original)
        kept = f" {ORIGINAL}" if original else ""
        form = f"{VERSION} {file_name('key', '')} {' '.join(FACT_TYPES)}{kept} {caption} {columns.form}"
        return Manifest(form=form, parts=self._parts(METADATA, rows))

    def failures(self) -> Manifest:
        """What `failures.jsonl` is to hold, in the order of the input."""
        form = " ".join([VERSION, *self._list_names()])
        return Manifest(form=form, parts=self._parts(FAILURES, self._failure_rows))

    def _parts(self, manifest: str, rows: Callable[[int, int], Iterator[dict[str, object]]]) -> Iterator[Part]:
        known = self._known_blocks(manifest)
        last_item = self._fetch("SELECT coalesce(max(id), 0) FROM item")[0][0]
        for number, first, last in spans(last_item):
            yield Part(rows=rows(first, last), known=known.get(number))

    def metadata_rows(
        self, file_name: NameFile, caption: str = "", original: NameFile | None = None
    ) -> Iterator[dict[str, object]]:
        """The rows of `metadata.jsonl`, all of them."""
        columns = self.columns()
        names = name_columns(columns.types, caption, originals=original is not None)
        return self._metadata_rows(file_name, columns, names, original, 1, LAST)

    def _metadata_rows(
        self,
        file_name: NameFile,
        columns: Columns,
        names: Mapping[str, str],
        original: NameFile | None,
        first: int,
        last: int,
    ) -> Iterator[dict[str, object]]:
        return (row for _, row in self._image_rows(MADE, file_name, columns, names, first, last, original))

    def shard_rows(
        self, file_name: Callable[[str, str], str], columns: Columns, caption: str, first: int, last: int
    ) -> Iterator[tuple[int, dict[str, object]]]:
        """The rows of the items that belong into a shard, each with its item. Who left the list stays until pruned."""
        names = name_columns(columns.types, caption)
        return self._image_rows(f"({MADE} OR {KEPT})", file_name, columns, names, first, last)

    def _image_rows(
        self,
        condition: str,
        file_name: NameFile,
        columns: Columns,
        names: Mapping[str, str],
        first: int,
        last: int,
        original: NameFile | None = None,
    ) -> Iterator[tuple[int, dict[str, object]]]:
        with value_errors(self._path):
            more = self._scan_listed_rows(first, last)
            item, line_json = next(more, NO_MORE)
            for row in self._scan(IMAGE_COLUMNS, condition, first, last):
                facts, extra_jsons = _image_facts(row, file_name)
                if original is not None:
                    facts[ORIGINAL] = original(str(facts["source_sha256"]), str(facts["original_format"]))
                while item < row[0]:
                    item, line_json = next(more, NO_MORE)
                while item == row[0]:
                    if row[-2] is None:  # not of the image of another URL, which the item has meanwhile
                        extra_jsons.append(line_json)
                    item, line_json = next(more, NO_MORE)
                for extra_json in extra_jsons:
                    listed = columns.fit(json.loads(extra_json or "{}"))
                    yield row[0], facts | {names[column]: value for column, value in listed.items()}

    def _scan_listed_rows(self, first: int, last: int) -> Iterator[tuple[float, str]]:
        """The further rows of the list's items, as item and columns, in the order of the items and then of the list."""
        item, line = first, -1
        query = (
            "SELECT item, line, extra_json FROM listed_row WHERE (item, line) > (?, ?) AND item <= ? "
            f"ORDER BY item, line LIMIT {WINDOW}"
        )
        while rows := self._fetch(query, (item, line, last)):
            yield from ((row[0], row[2]) for row in rows)
            item, line, _ = rows[-1]

    def remarks(self) -> list[str]:
        """What was noticed or fixed in the rows of the list."""
        known = self._fetch("SELECT value FROM meta WHERE name = 'columns'")
        with value_errors(self._path):
            place = partial(describe_line, lists=self._list_names())
            return [remark.describe(place) for remark in Columns.parse(known[0][0]).remarks] if known else []

    def _list_names(self) -> list[str]:
        """The names of the lists that were imported last, where they were several."""
        known = self._fetch("SELECT value FROM meta WHERE name = 'lists'")
        return list(json.loads(known[0][0])) if known else []

    def failure_rows(self) -> Iterator[dict[str, object]]:
        """The rows of `failures.jsonl`, all of them."""
        return self._failure_rows(1, LAST)

    def _failure_rows(self, first: int, last: int) -> Iterator[dict[str, object]]:
        columns = "id, url, line, key, stage, state, code, message, hint, attempts"
        with value_errors(self._path):
            lists = self._list_names()
            for row in self._scan(columns, f"state IN {EARLY}", first, last):
                _, url, line, key, stage, outcome, code, message, hint, attempts = row
                number, line = divmod(line, LINES_PER_LIST)
                place = {"list": lists[number], "line": line} if lists else {"line": line}
                yield {
                    "url": url, **place, "key": key.hex(), "stage": stage, "outcome": outcome, "code": code,
                    "message": message, "hint": hint, "attempts": attempts,
                }  # fmt: skip

    def read_values(self) -> None:
        """Reads all that a run would read of a ledger of this version. Raises `DamagedLedgerError`."""
        for rows in (self.metadata_rows(lambda key, suffix: key + suffix), self.failure_rows()):
            for _ in rows:
                pass
        self.last_runs(limit=-1)
        with value_errors(self._path):
            for (settings,) in self._fetch("SELECT settings_json FROM plan"):
                json.loads(settings)

    def count_missing(self, images: ImageFolder) -> int:
        """How many images have no file any more. Cheap where no folder of images changed since the last check."""
        return self._count_missing(self._files_snapshot(images), images)

    def _files_snapshot(self, images: ImageFolder) -> str:
        """What changes whenever a file or an item does; empty while the files are too recent to be sure."""
        snapshot = images.snapshot()
        return snapshot and f"{snapshot} {self._fetch('SELECT value FROM meta WHERE name = ?', ('revision',))[0][0]}"

    def _count_missing(self, snapshot: str, images: ImageFolder) -> int:
        checked = self._fetch("SELECT value FROM meta WHERE name = ?", (CHECKED,))
        known, _, missing = str(checked[0][0]).rpartition(" ") if checked else ("", "", "")
        if snapshot and snapshot == known:
            return int(missing)
        made, names = MADE if self._has_urls else "state = 'done'", FileNames(images)
        packed = self._packed(images)
        if not names and not packed:
            return int(self._fetch(f"SELECT count(*) FROM item WHERE {made}")[0][0])
        rows = self._scan("id, key, suffix", made)
        return names.count_missing(row for row in rows if not packed.holds(row[0]))

    def manifests_are_current(self, looks: str = "") -> bool:
        """Whether no item changed since `Ledger.note_manifests`, and the files look as they did: then they are left."""
        query = "SELECT name, value FROM meta WHERE name IN ('revision', 'manifests_revision', ?)"
        meta = dict(self._fetch(query, (CURRENT,)))
        return meta["revision"] == meta["manifests_revision"] and meta.get(CURRENT) == looks

    def _count_codes(self, states: str) -> dict[str, int]:
        return dict(
            self._fetch(
                f"SELECT code, count(*) FROM item WHERE state IN ({states}) GROUP BY code ORDER BY count(*) DESC, code"
            )
        )

    def _fetch(self, query: str, parameters: tuple[int | str | bytes, ...] = ()) -> list[Any]:
        with self._reading, disk_errors(self._path):
            return self._reader.execute(query, parameters).fetchall()

    def _scan(self, columns: str, condition: str, first: int = 1, last: int = LAST) -> Iterator[Any]:
        # "NOT INDEXED": walk the table once by id; by the index of states every window would be sorted anew.
        query = (
            f"SELECT {columns} FROM item NOT INDEXED WHERE {condition} AND id BETWEEN ? AND ? "
            f"ORDER BY id LIMIT {WINDOW}"
        )
        while True:
            rows = self._fetch(query, (first, last))
            yield from rows
            if len(rows) < WINDOW:
                return
            first = rows[-1][0] + 1


def _choose(refresh: bool) -> str:
    """What to work on, as SQL with the most runs per item as its parameter. With `refresh` the table is walked once."""
    return f"WHERE (({WORK}) OR state = 'done')" if refresh else f"INDEXED BY item_due WHERE {WORK}"


def _source(row: Any) -> Source:
    index, line, url, key, extra, done, *known = row
    return Source(index=index, line=line, url=url, key=key, extra_json=extra, refresh=_validators(done, *known))


def _validators(done: int, etag: str | None, last_modified: str | None, sha256: bytes | None) -> Validators | None:
    if not done:
        return None
    return Validators(etag=etag or "", last_modified=last_modified or "", source_sha256=(sha256 or b"").hex())


def _image_facts(row: Any, file_name: Callable[[str, str], str]) -> tuple[dict[str, object], list[str]]:
    """What is known of an image, and the columns of the list's row that it was made with, as JSON in a list."""
    (_, key, url, extra_json, suffix, width, height, original_width, original_height, original_format, size_bytes,
     sha256, source_sha256, final_url, status_code, etag, last_modified, notes, recipe, made_url, made_extra_json,
     ) = row  # fmt: skip
    url = made_url or url
    if None in (suffix, width, height, original_width, original_height, original_format, size_bytes):
        raise ValueError("an image without its facts")
    facts: dict[str, object] = {
        "file_name": file_name(key.hex(), suffix),
        "url": url,
        "key": key.hex(),
        "width": width,
        "height": height,
        "original_width": original_width,
        "original_height": original_height,
        "original_format": original_format,
        "size_bytes": size_bytes,
        "sha256": sha256.hex(),
        "source_sha256": source_sha256.hex(),
        "final_url": final_url or url,
        "status_code": status_code,
        "etag": etag,
        "last_modified": last_modified,
        "image_notes": notes or "",
        "image_recipe": recipe or "",
    }
    return facts, [extra_json if made_extra_json is None else made_extra_json]


def name_columns(columns: Iterable[str], caption: str = "", *, originals: bool = False) -> dict[str, str]:
    """The names of a list's columns in `metadata.jsonl`: their own, unless a loader would take them for something else.

    Such a name gets `list_` before it, and `_` behind it where a loader takes its end for that of an image's path. A
    name that is taken then, whatever its case, gets `_2` and so on. The columns that keep their names come first. The
    column `caption`, if there is one of that name, is `text`, whatever it was. With `originals` theirs is ours too.
    """
    columns = list(columns)
    taken = {name.lower() for name in (*FACTS, *LATE_FACTS, IMAGE, *([ORIGINAL] if originals else []))}
    names: dict[str, str] = {}
    if caption and caption in columns:
        names[caption] = CAPTION
        taken.add(CAPTION)
    others = [column for column in columns if column not in names]
    clashing = [column for column in others if _would_be_mistaken(column, taken)]
    for column in (*(column for column in others if column not in clashing), *clashing):
        name = stem = _safe_name(column) if column in clashing else column
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.lower())
        names[column] = name
    return {column: names[column] for column in columns}


def _would_be_mistaken(column: str, taken: Container[str]) -> bool:
    return not column.strip() or column.lower() in taken or column.lower().endswith(FILE_NAME_ENDINGS)


def _safe_name(column: str) -> str:
    return f"list_{column}{'_' if column.lower().endswith(FILE_NAME_ENDINGS) else ''}"


def spans(last_item: int) -> Iterator[tuple[int, int, int]]:
    """The blocks that hold the items 1 to `last_item`: number, first item, last item."""
    for number, first in enumerate(range(1, last_item + 1, BLOCK_ITEMS)):
        yield number, first, first + BLOCK_ITEMS - 1


def note_manifests(connection: sqlite3.Connection, written: Mapping[str, Sequence[Block]], looks: str = "") -> None:
    """Notes that the manifests hold what the ledger holds now, where their blocks stand, and how the files look.

    Not while recording.
    """
    full = connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()[0] // BLOCK_ITEMS
    with transaction(connection):
        for manifest, blocks in written.items():
            connection.execute("DELETE FROM manifest_block WHERE manifest = ?", (manifest,))
            connection.executemany(
                "INSERT INTO manifest_block VALUES (?, ?, ?, ?, ?)",
                [
                    (manifest, number, block.start_bytes, block.size_bytes, block.digest)
                    for number, block in enumerate(blocks[:full])
                ],
            )
        write_meta(connection, "manifests_revision", read_meta(connection, "revision"))
        write_meta(connection, CURRENT, looks)
