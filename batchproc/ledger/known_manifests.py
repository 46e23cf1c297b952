"""What is known of the manifests: which of their blocks need not be made again, and what a row of theirs says.

Read back, the files may have been edited, cut short or damaged like the ledger that they stand in for: a row of
`metadata.jsonl` or `failures.jsonl` that is not exactly as we write it is None, and never half believed.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from batchproc.columns import FILE_NAME_ENDINGS, Scalar, Type
from batchproc.ledger.schema import State, read_meta, storable, transaction, write_meta
from batchproc.model import original_name
from batchproc.remembered import BLOCK_ITEMS, Block

CURRENT = "manifests"  # in `meta`: what the files looked like when they were last written
METADATA, FAILURES = "metadata", "failures"
KEY = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")
SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
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
NO_NAMES: Mapping[str, str] = MappingProxyType({})
EARLY = frozenset({State.FAILED, State.REJECTED, State.QUARANTINED, State.DEFERRED})


def known_blocks(connection: sqlite3.Connection, manifest: str) -> dict[int, Block]:
    """The blocks of a manifest of which no row has changed since it was written, by their numbers."""
    rows = connection.execute(
        "SELECT number, start_bytes, size_bytes, digest FROM manifest_block WHERE manifest = ?", (manifest,)
    )
    return {
        number: Block(start_bytes=start_bytes, size_bytes=size_bytes, digest=digest)
        for number, start_bytes, size_bytes, digest in rows
    }


def spans(last_item: int) -> Iterator[tuple[int, int, int]]:
    """The blocks that hold the items 1 to `last_item`: number, first item, last item."""
    for number, first in enumerate(range(1, last_item + 1, BLOCK_ITEMS)):
        yield number, first, first + BLOCK_ITEMS - 1


def note_manifests(connection: sqlite3.Connection, written: Mapping[str, Sequence[Block]], looks: str) -> None:
    """Notes that the manifests hold what the ledger holds now, where their blocks stand, and how the files look."""
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


class Made(Struct, frozen=True, kw_only=True):
    """A row of `metadata.jsonl`: an image that was done."""

    key: bytes
    suffix: str
    url: str
    extra_json: str
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int
    original_format: str
    size_bytes: int
    sha256: bytes
    source_sha256: bytes
    final_url: str | None  # None where it is the URL
    status_code: int | None
    etag: str | None
    last_modified: str | None
    image_notes: str
    image_recipe: str  # empty: not known


class Left(Struct, frozen=True, kw_only=True):
    """A row of `failures.jsonl`: an item that left early."""

    key: bytes
    url: str
    stage: str
    outcome: State
    code: str
    message: str
    hint: str
    attempts: int


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


def read_made(
    row: Mapping[str, Any] | None, file_name: Callable[[str, str], str], names: Mapping[str, str] = NO_NAMES
) -> Made | None:
    """The image of a row. `file_name` makes the only path that a key and a suffix may have; `names` are
    those of the list's columns here."""
    if row is None or not all(name in row for name in FACTS) or not _is_ours(row):
        return None
    key, suffix = row["key"], f".{row['file_name'].rpartition('.')[2]}"
    known = (file_name(key, suffix), f"{key}{suffix}")  # the second in a shard
    if not SUFFIX.fullmatch(suffix) or row["file_name"] not in known:
        return None
    own = {name: column for column, name in names.items()}
    facts = {*FACTS, *LATE_FACTS}
    if ORIGINAL not in own and row.get(ORIGINAL) in ("", original_name(row["source_sha256"], row["original_format"])):
        facts.add(ORIGINAL)
    extra = {own.get(name, name): value for name, value in row.items() if name not in facts}
    return Made(
        key=bytes.fromhex(key),
        suffix=suffix,
        url=storable(row["url"]),
        extra_json=json.dumps(extra) if extra else "",
        width_px=row["width"],
        height_px=row["height"],
        original_width_px=row["original_width"],
        original_height_px=row["original_height"],
        original_format=storable(row["original_format"]),
        size_bytes=row["size_bytes"],
        sha256=bytes.fromhex(row["sha256"]),
        source_sha256=bytes.fromhex(row["source_sha256"]),
        final_url=None if row["final_url"] == row["url"] else storable(row["final_url"]),
        status_code=row["status_code"],
        etag=None if row["etag"] is None else storable(row["etag"]),
        last_modified=None if row["last_modified"] is None else storable(row["last_modified"]),
        image_notes=storable(row.get("image_notes", "")),
        image_recipe=storable(row.get("image_recipe", "")),
    )


def read_left(row: Mapping[str, Any] | None) -> Left | None:
    """The item of a row."""
    texts = ("key", "url", "stage", "outcome", "code", "message", "hint")
    if row is None or not all(isinstance(row.get(name), str) for name in texts) or not _is_count(row.get("attempts")):
        return None
    if not KEY.fullmatch(row["key"]) or row["outcome"] not in EARLY:
        return None
    return Left(
        key=bytes.fromhex(row["key"]),
        url=storable(row["url"]),
        stage=storable(row["stage"]),
        outcome=State(row["outcome"]),
        code=storable(row["code"]),
        message=storable(row["message"]),
        hint=storable(row["hint"]),
        attempts=row["attempts"],
    )


def _is_ours(row: Mapping[str, Any]) -> bool:
    texts = ("file_name", "url", "key", "original_format", "sha256", "source_sha256", "final_url")
    return (
        all(isinstance(row[name], str) for name in texts)
        and all(_is_count(row[name]) for name in NUMBERS)
        and all(isinstance(row.get(name, ""), str) for name in LATE_FACTS)
        and (row["status_code"] is None or _is_count(row["status_code"]))
        and all(row[name] is None or isinstance(row[name], str) for name in ("etag", "last_modified"))
        and KEY.fullmatch(row["key"]) is not None
        and all(DIGEST.fullmatch(row[name]) for name in ("sha256", "source_sha256"))
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
