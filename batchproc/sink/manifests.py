"""`metadata.jsonl` and `failures.jsonl`: one JSON object per line, streamed, replaced only when something changed.

Of each split, `metadata-<split>.jsonl` has the rows: chosen by their keys alone, so that no later item moves another,
or by a column of the list.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.defaults import SPLIT_NAME
from batchproc.errors import file_errors
from batchproc.redact import printable
from batchproc.remembered import Block, Manifest, Part, Row
from batchproc.sink.atomic import Renewal, renewing, replacing

CHUNK_BYTES = 256 * 1024


class Written(Struct, frozen=True, kw_only=True):
    """What became of a manifest: where its parts stand, in their order, and whether anything had changed."""

    blocks: list[Block]
    is_replaced: bool


def write_manifest(path: Path, manifest: Manifest) -> Written:
    """Writes the rows in their order; those that the file has already are copied, or stay. Raises `DiskError`.

    Holds whole URLs: it is data, under the user's umask. Half a surrogate pair from a bad byte stays an escape.
    """
    with file_errors(path, "Nothing is lost: the next run writes it from the ledger."), renewing(path) as renewal:
        blocks = [_write_part(renewal, manifest, part) for part in manifest.parts]
    return Written(blocks=blocks, is_replaced=renewal.is_replaced)


def _write_part(renewal: Renewal, manifest: Manifest, part: Part) -> Block:
    start, known = renewal.position, part.known
    if known is not None and _holds(renewal, manifest, known):
        renewal.keep(known.start_bytes, known.size_bytes)
        return replace(known, start_bytes=start)
    digest = manifest.hasher()
    for chunk in encode_rows(part.rows):
        digest.update(chunk)
        renewal.write(chunk)
    return Block(start_bytes=start, size_bytes=renewal.position - start, digest=digest.digest())


def _holds(renewal: Renewal, manifest: Manifest, known: Block) -> bool:
    """Whether the old file still has this block: somebody may have edited it, or put another in its place."""
    digest = manifest.hasher()
    for piece in renewal.read_old(known.start_bytes, known.size_bytes):
        digest.update(piece)
    return digest.digest() == known.digest


def read_manifest(path: Path) -> Iterator[Mapping[str, Any] | None]:
    """The rows of a manifest in their order; None for a line that is no JSON object. No file has no rows.

    Raises OSError.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            yield _decode(line)


def _decode(line: bytes) -> Mapping[str, Any] | None:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def encode_rows(rows: Iterable[Row]) -> Iterator[bytes]:
    """The rows as lines, many to a chunk."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines: list[bytes] = []
    size = 0
    for row in rows:
        lines.append(encode(row).encode("utf-8", "backslashreplace") + b"\n")
        size += len(lines[-1])
        if size >= CHUNK_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    yield b"".join(lines)


DIGITS = 13  # of a key: as much as a float holds
Choose: TypeAlias = Callable[[Row], str | None]  # the split of a row; None: in no split


def file_names(splits: Iterable[str], suffix: str = ".jsonl") -> dict[str, str]:
    """The file of each split, by its name."""
    return {split: f"metadata-{split}{suffix}" for split in splits}


def by_share(ratios: Mapping[str, float]) -> Choose:
    """Chooses by the key; `ratios` add up to 1."""
    return lambda row: split_of(str(row["key"]), ratios)


def by_column(name: str) -> Choose:
    """Chooses by the column of this name. A further row of an item may have no split there: it is in none."""

    def choose(row: Row) -> str | None:
        value = row.get(name)
        return value if isinstance(value, str) and SPLIT_NAME.fullmatch(value) else None

    return choose


def split_of(key_hex: str, ratios: Mapping[str, float]) -> str:
    """The split that an item belongs to; `ratios` add up to 1."""
    place = int(key_hex[:DIGITS], 16) / 16**DIGITS
    bounds = zip(ratios, accumulate(ratios.values()), strict=True)
    return next((split for split, bound in bounds if place < bound), next(reversed(list(ratios))))


def write_splits(output: Path, choose: Choose, rows: Iterable[Row], names: Iterable[str] = ()) -> list[str]:
    """Writes the rows, each into the file of its split. Raises `DiskError`.

    Returns all splits: those of `names`, which have a file at any rate, then the others as they come.
    """
    files: dict[str, BinaryIO] = {}
    with file_errors(output), ExitStack() as stack:
        for split in names:
            files[split] = _open(output, split, stack)
        for row in rows:
            chosen = choose(row)
            if chosen is None:
                continue
            if chosen not in files:
                files[chosen] = _open(output, chosen, stack)
            for chunk in encode_rows((row,)):
                files[chosen].write(chunk)
    return list(files)


def _open(output: Path, split: str, stack: ExitStack) -> BinaryIO:
    return stack.enter_context(replacing(output / file_names([split])[split]))


MOST_SPLITS = 20  # each is a file of its own; a column with more is another one than was meant
SHOWN_CHARS = 40


class SplitCheck:
    """Looks at the rows of a list in their order. For one reader, not to be shared."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._names: set[str] = set()

    def find_fault(self, extra_json: str) -> str:
        """Why the row with these columns names no split; empty where it names one."""
        value = json.loads(extra_json or "{}").get(self._column)
        if not isinstance(value, str) or not SPLIT_NAME.fullmatch(value):
            shown = printable(json.dumps(value, ensure_ascii=False))[:SHOWN_CHARS]
            return f"its split {shown} is no name: must be letters, digits and underscores, as train"
        self._names.add(value)
        if len(self._names) > MOST_SPLITS:
            self._names.remove(value)
            return f'its split "{value[:SHOWN_CHARS]}" would be one more than {MOST_SPLITS}'
        return ""
