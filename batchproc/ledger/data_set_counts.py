"""The data set in figures, as the ledger knows it: counted by SQLite, in one walk over the items and one over hosts.

What was counted is kept with the revision of the items that it is of: a run that changes nothing counts nothing.
"""

import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from msgspec import json
from msgspec.structs import replace

from batchproc.kinds import Code
from batchproc.ledger.files import knows_shards
from batchproc.ledger.schema import MADE, read_meta, transaction, write_meta
from batchproc.record.run_parts import (
    DataSetRecord,
    HostImages,
    ImageClass,
    RejectedExample,
    RejectedItems,
    ShardSize,
    ShardsRecord,
)
from batchproc.redact import printable, redact_text, redact_url

KNOWN = "data_set"  # in `meta`: the revision of the items, and what was counted of them
MOST_SHARDS = 50
MOST_HOSTS = 20
MOST_CODES = 20
EXAMPLES = 3
ALIKE = "looks like "  # how the message of a duplicate begins; the name of the earlier image follows
# Images are counted by their longer side, and by the nearest of the usual shapes. Both in whole steps, which are what
# SQLite groups by: SIDE_STEP px, and SHAPE_STEPS to the width of a square. The edges are multiples of them.
SIDE_STEP, SHAPE_STEPS = 128, 64
SIDES_PX = (128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192)
SHAPES = ("1:2 or narrower", "9:16", "2:3", "3:4", "1:1", "4:3", "3:2", "16:9", "2:1 or wider")
SHAPE_EDGES = (34, 39, 45, 55, 74, 90, 104, 121)  # about the geometric means of neighbours
_SIDES = [
    f"under {SIDES_PX[0]} px",
    *(f"{low:,} to {high - 1:,} px" for low, high in pairwise(SIDES_PX)),
    f"{SIDES_PX[-1]:,} px and more",
]


def _steps(width: str, height: str) -> str:
    """SQL for the side and the shape of an image, in one number."""
    side = f"(min(max({width}, {height}), {SIDES_PX[-1]}) / {SIDE_STEP})"
    return f"({side} << 8 | min({width} * {SHAPE_STEPS} / max({height}, 1), 255))"


# One walk over the items each; what is grouped in memory is small, and sorted on disk where it is not.
_COUNT_IMAGES = (
    f"SELECT {_steps('original_width_px', 'original_height_px')} << 16 | {_steps('width_px', 'height_px')}, count(*), "
    f"sum(size_bytes) FROM item NOT INDEXED WHERE {MADE} GROUP BY 1"
)
_URL = "coalesce(made_url, url)"
_COUNT_HOSTS = f"""
WITH front AS (
  SELECT substr({_URL}, 1, instr(substr({_URL}, 9) || '/', '/') + 7) AS url, count(*) AS images
  FROM item NOT INDEXED WHERE {MADE} GROUP BY 1),
rest AS (
  SELECT iif(instr(url, '://'), lower(substr(url, instr(url, '://') + 3)), '') || '/' AS text, images FROM front),
authority AS (
  SELECT substr(text, 1, instr(replace(replace(text, '?', '/'), '#', '/'), '/') - 1) AS text, images FROM rest)
SELECT substr(text, length(rtrim(text, replace(text, '@', ''))) + 1), sum(images), count(*) OVER ()
FROM authority GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_HOSTS}
"""


def data_set(connection: sqlite3.Connection) -> DataSetRecord:
    """What there is; counted only where an item has changed since the last time."""
    revision, _, content = str(read_meta(connection, KNOWN) or "").partition(" ")
    is_current = revision == str(read_meta(connection, "revision"))
    counted = json.decode(content, type=DataSetRecord) if is_current else _count(connection)
    return replace(counted, shards=_shards(connection))


def keep_data_set(connection: sqlite3.Connection, counted: DataSetRecord) -> None:
    """Keeps what `data_set` gave, for the next time. No item may have changed since."""
    content = json.encode(replace(counted, shards=None)).decode()
    with transaction(connection):
        write_meta(connection, KNOWN, f"{read_meta(connection, 'revision')} {content}")


def _count(connection: sqlite3.Connection) -> DataSetRecord:
    groups = connection.execute(_COUNT_IMAGES).fetchall()
    hosts = connection.execute(_COUNT_HOSTS).fetchall()
    sides, shapes = Counter[tuple[bool, int]](), Counter[tuple[bool, int]]()
    for code, images, _ in groups:
        for is_original, half in ((False, code & 0xFFFF), (True, code >> 16)):
            sides[is_original, bisect_right(SIDES_PX, (half >> 8) * SIDE_STEP)] += images
            shapes[is_original, bisect_right(SHAPE_EDGES, half & 0xFF)] += images
    return DataSetRecord(
        images=sum(images for _, images, _ in groups),
        size_bytes=sum(size_bytes for _, _, size_bytes in groups),
        sides=_classes(_SIDES, sides),
        shapes=_classes(SHAPES, shapes),
        hosts=tuple(HostImages(host=printable(name), images=images) for name, images, _ in hosts),
        hosts_total=hosts[0][2] if hosts else 0,
        rejected=tuple(_rejected(connection)),
    )


def _classes(names: Sequence[str], counts: Mapping[tuple[bool, int], int]) -> tuple[ImageClass, ...]:
    """The classes from the first to the last that have any."""
    used = [number for _, number in counts]
    return tuple(
        ImageClass(name=names[one], images=counts[False, one], originals=counts[True, one])
        for one in range(min(used, default=0), max(used, default=-1) + 1)
    )


def _rejected(connection: sqlite3.Connection) -> Iterable[RejectedItems]:
    codes = connection.execute(
        "SELECT code, count(*) FROM item WHERE state = 'rejected' GROUP BY code ORDER BY 2 DESC, 1 LIMIT ?",
        (MOST_CODES,),
    )
    for code, items in codes.fetchall():
        rows = connection.execute(
            "SELECT url, message FROM item INDEXED BY item_state WHERE state = 'rejected' AND code = ? "
            "ORDER BY id LIMIT ?",
            (code, EXAMPLES),
        )
        examples = tuple(_example(connection, code, url, message) for url, message in rows.fetchall())
        yield RejectedItems(code=code, items=items, examples=examples)


def _example(connection: sqlite3.Connection, code: str, url: str, message: str) -> RejectedExample:
    like = ""
    if code == Code.CHECK_UNIQUE and message.startswith(ALIKE):
        key = bytes.fromhex(message.removeprefix(ALIKE).partition(".")[0])
        earlier = connection.execute("SELECT url FROM item WHERE key = ?", (key,)).fetchone()
        like = _shown(earlier[0]) if earlier else ""
    return RejectedExample(url=_shown(url), message=printable(redact_text(message)), like=like)


def _shown(url: str) -> str:
    return printable(redact_url(url))


def _shards(connection: sqlite3.Connection) -> ShardsRecord | None:
    """The shards that make up the data set; None where the job makes none."""
    if not knows_shards(connection):
        return None
    made = "FROM shard WHERE state = 'made'"
    totals = connection.execute(f"SELECT count(*), sum(size_bytes), min(size_bytes), max(size_bytes) {made}").fetchone()
    first = connection.execute(f"SELECT name, samples, size_bytes {made} ORDER BY first LIMIT {MOST_SHARDS}")
    return ShardsRecord(
        count=totals[0],
        size_bytes=totals[1] or 0,
        least_bytes=totals[2] or 0,
        most_bytes=totals[3] or 0,
        first=tuple(ShardSize(name=name, images=images, size_bytes=size) for name, images, size in first),
    )
