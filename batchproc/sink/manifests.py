"""`metadata.jsonl` and `failures.jsonl`: one JSON object per line, streamed, replaced only when something changed."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchproc.errors import DiskError
from batchproc.sink.atomic import write_atomically


def write_manifest(path: Path, rows: Iterable[Mapping[str, object]]) -> bool:
    """Writes the rows in their order; returns whether the file was replaced. Raises `DiskError`.

    Holds whole URLs: it is data, under the user's umask. Half a surrogate pair from a bad byte stays an escape.
    """
    try:
        return write_atomically(path, _encode(rows), keep_equal=True)
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written: {error.strerror}. Nothing is lost: the next run writes it from the ledger."
        ) from error


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


def _encode(rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    for row in rows:
        text = json.dumps(row, ensure_ascii=False, separators=(", ", ": "))
        yield text.encode("utf-8", "backslashreplace") + b"\n"
