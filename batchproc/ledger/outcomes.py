"""From outcomes to rows: a batch becomes one statement per sort, whatever its size.

One statement per batch and not one per row, because `sqlite3` lets go of the GIL around every step: between busy
threads each of 500 steps would wait for its turn again.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Sequence

from msgspec import Struct

from batchproc.kinds import kind_of
from batchproc.ledger.schema import State, touch
from batchproc.model import Disposition, Failure, Item, Outcome, OutputImage, Rejection, Reply, Unchanged

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
    stale_suffix: str = ""  # of an older image's file, which the new name does not replace


class Batch(Struct, frozen=True, kw_only=True):
    """The rows of some outcomes, ready for the ledger."""

    staged: Sequence[tuple[object, ...]]
    digests: bytes  # SHA-256 of every staged file, one behind the other: JSON holds no bytes
    source_digests: bytes
    left: Sequence[tuple[object, ...]]
    namings: Sequence[Naming]
    unchanged: Sequence[int]  # items that are still what they were
    revalidated: Sequence[tuple[object, ...]]  # of these, what their servers say of them now


def make_batch(outcomes: Sequence[Outcome], plan: int, temporary_name: Callable[[str], str]) -> Batch:
    """Sorts outcomes into images to stage and items that left early."""
    staged: list[tuple[object, ...]] = []
    namings: list[Naming] = []
    digests: list[str] = []
    source_digests: list[str] = []
    left: list[tuple[object, ...]] = []
    unchanged: list[int] = []
    revalidated: list[tuple[object, ...]] = []
    for outcome in outcomes:
        if isinstance(outcome, Unchanged):
            unchanged.append(outcome.source.index + 1)
            if outcome.reply is not None:
                revalidated.append(_make_revalidated_row(outcome.source.index + 1, outcome.reply))
            continue
        if not isinstance(outcome, Item):
            if kind_of(outcome.code).is_charged and not _is_failed_refresh(outcome):
                left.append(_make_left_row(outcome, plan))
            continue
        image: OutputImage = outcome.value
        name = temporary_name(image.temporary_path)
        staged.append(_make_staged_row(outcome.source.index + 1, outcome.source.url, image, name))
        digests.append(image.sha256)
        source_digests.append(image.source_sha256)
        namings.append(
            Naming(
                item=outcome.source.index + 1,
                temporary=name,
                key_hex=outcome.source.key_hex,
                suffix=image.suffix,
            )
        )
    return Batch(
        staged=staged,
        digests=bytes.fromhex("".join(digests)),
        source_digests=bytes.fromhex("".join(source_digests)),
        left=left,
        unchanged=unchanged,
        revalidated=revalidated,
        namings=namings,
    )


def write_batch(connection: sqlite3.Connection, batch: Batch, *, run: int, plan: int) -> dict[int, str]:
    """Writes a batch inside a transaction; returns, by item, the suffix of a file that becomes stale by it."""
    _apply(connection, LEFT, batch.left, {"run": run})
    digests = {"digests": batch.digests, "source_digests": batch.source_digests}
    _apply(connection, STAGED, batch.staged, {"run": run, "plan": plan, **digests})
    connection.execute(
        "UPDATE item SET last_run = ? WHERE id IN (SELECT value FROM json_each(?))", (run, json.dumps(batch.unchanged))
    )
    connection.executemany(REVALIDATED, batch.revalidated)
    if batch.left or batch.staged or batch.revalidated:
        touch(connection)
    ids = json.dumps([naming.item for naming in batch.namings])
    stale = connection.execute(
        "SELECT id, stale_suffix FROM item WHERE stale_suffix IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
        (ids,),
    )
    return dict(stale.fetchall())


def _make_revalidated_row(item: int, reply: Reply) -> tuple[object, ...]:
    return (reply.etag or None, reply.last_modified or None, item)


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


def _make_left_row(outcome: Rejection | Failure, plan: int) -> tuple[object, ...]:
    item = outcome.source.index + 1
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
