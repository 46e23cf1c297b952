"""`metadata.jsonl` and `failures.jsonl`: one JSON object per line, streamed, replaced only when something changed."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from batchproc.errors import DiskError
from batchproc.remembered import Block, Manifest, Part, Row
from batchproc.sink.atomic import Renewal, renewing

CHUNK_BYTES = 256 * 1024


class Written(Struct, frozen=True, kw_only=True):
    """What became of a manifest: where its parts stand, in their order, and whether anything had changed."""

    blocks: list[Block]
    is_replaced: bool


def write_manifest(path: Path, manifest: Manifest) -> Written:
    """Writes the rows in their order; those that the file has already are copied, or stay. Raises `DiskError`.

    Holds whole URLs: it is data, under the user's umask. Half a surrogate pair from a bad byte stays an escape.
    """
    try:
        with renewing(path) as renewal:
            blocks = [_write_part(renewal, manifest, part) for part in manifest.parts]
        return Written(blocks=blocks, is_replaced=renewal.is_replaced)
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written: {error.strerror}. Nothing is lost: the next run writes it from the ledger."
        ) from error


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
