"""Images that look alike, over the whole job: the one that the list names first stays, the others are rejected.

Decided anew from all hashes whenever something has changed: an image that comes late takes the place of one behind it,
and where it goes, the next one is due again. Memory is about 40 bytes per image.
"""

import contextlib
import json
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise

from msgspec import Struct

from batchproc.failpoints import failpoint
from batchproc.kinds import Code
from batchproc.ledger.files import Images
from batchproc.ledger.schema import WINDOW, touch, transaction

HASH_BITS = 64
ALIKE = f"(state = 'rejected' AND code = '{Code.CHECK_UNIQUE}')"
HASHED = f"image_hash IS NOT NULL AND (state = 'done' OR {ALIKE})"
DECIDED = "unique_decided"  # in `meta`: what was decided last, and of which state of the items


class Decided(Struct, frozen=True, kw_only=True):
    """What a decision has changed."""

    rejected: int = 0
    returned: int = 0  # rejected before, and like no image any more: due again


class FirstOfItsKind:
    """The hashes that are kept so far. Two that differ in at most `bits` are equal in one of `bits` + 1 pieces."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._hashes = array("Q")
        self._items = array("Q")
        edges = [HASH_BITS * piece // (bits + 1) for piece in range(bits + 2)]
        self._pieces = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._places: list[dict[int, array[int]]] = [{} for _ in self._pieces]

    def find_or_keep(self, item: int, image_hash: int) -> int | None:
        """The earliest kept item that looks like this one; None where there is none, and this one is kept then."""
        hashes, found = self._hashes, len(self._hashes)
        for places, (shift, mask) in zip(self._places, self._pieces, strict=True):
            for place in places.get(image_hash >> shift & mask, ()):
                if place < found and (hashes[place] ^ image_hash).bit_count() <= self._bits:
                    found = place
        if found < len(hashes):
            return self._items[found]
        for places, (shift, mask) in zip(self._places, self._pieces, strict=True):
            places.setdefault(image_hash >> shift & mask, array("I")).append(len(hashes))
        hashes.append(image_hash)
        self._items.append(item)
        return None


def reject_duplicates(connection: sqlite3.Connection, images: Images, *, bits: int) -> Decided:
    """Rejects images that look like an earlier one of the list and deletes their files; makes others due again.

    Killed at any instant, the next call completes it. Needs the run lock. Raises OSError.
    """
    now = f"{bits} {connection.execute('''SELECT value FROM meta WHERE name = 'revision' ''').fetchone()[0]}"
    known = connection.execute("SELECT value FROM meta WHERE name = ?", (DECIDED,)).fetchone()
    if known and known[0] == now:
        return Decided()
    kept, rejected, returned = FirstOfItsKind(bits), list[tuple[int, int]](), list[int]()
    rows = connection.execute(f"SELECT id, image_hash, state = 'done' FROM item WHERE {HASHED} ORDER BY id")
    for item, image_hash, is_done in rows:
        like = kept.find_or_keep(item, int(image_hash, 16))
        if like is not None and is_done:
            rejected.append((item, like))
        elif like is None and not is_done:
            returned.append(item)
    for part in _parts(rejected):
        with transaction(connection):
            connection.execute(REJECT, {"rows": json.dumps(part)})
            touch(connection)
        failpoint("ledger.unique_rejected")
    with transaction(connection):
        connection.execute(RETURN, (json.dumps(returned),))
        touch(connection)
    _remove_files(connection, images)
    with transaction(connection):
        connection.execute(
            "INSERT INTO meta SELECT ?, ? || ' ' || value FROM meta WHERE name = 'revision' "
            "ON CONFLICT DO UPDATE SET value = excluded.value",
            (DECIDED, bits),
        )
    return Decided(rejected=len(rejected), returned=len(returned))


REJECT = f"""
UPDATE item SET state = 'rejected', due = 0, stage = 'transform', code = '{Code.CHECK_UNIQUE}', hint = '',
  message = 'looks like ' || lower(hex(earlier.key)) || earlier.suffix, made_url = NULL, made_extra_json = NULL
FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS like_id FROM json_each(:rows)) AS pair
  JOIN item AS earlier ON earlier.id = pair.like_id
WHERE item.id = pair.id
"""
RETURN = """
UPDATE item SET state = 'pending', due = 1, runs = 0, stage = '', code = '', message = '', image_hash = NULL
WHERE id IN (SELECT value FROM json_each(?))
"""


def _parts(pairs: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(pairs), WINDOW):
        yield pairs[start : start + WINDOW]


def _remove_files(connection: sqlite3.Connection, images: Images) -> None:
    """Deletes the files of rejected images; also of those that a killed run had rejected."""
    query = f"SELECT id, key, suffix FROM item WHERE {ALIKE} AND suffix IS NOT NULL LIMIT {WINDOW}"
    while rows := connection.execute(query).fetchall():
        for _, key, suffix in rows:
            with contextlib.suppress(IsADirectoryError):
                images.remove(key.hex(), suffix)
            failpoint("ledger.unique_removed")
        _forget_files(connection, (item for item, _, _ in rows))


def _forget_files(connection: sqlite3.Connection, items: Iterable[int]) -> None:
    with transaction(connection):
        connection.execute(
            "UPDATE item SET suffix = NULL WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(items)),)
        )
