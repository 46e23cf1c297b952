"""`metadata.jsonl` and `failures.jsonl`: one JSON object per line, streamed, replaced only when something changed."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from batchproc.sink.atomic import write_atomically


def write_manifest(path: Path, rows: Iterable[Mapping[str, object]]) -> bool:
    """Writes the rows in their order; returns whether the file was replaced. Raises OSError.

    Holds whole URLs: it is data, under the user's umask. Half a surrogate pair from a bad byte stays an escape.
    """
    return write_atomically(path, _encode(rows), keep_equal=True)


def _encode(rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    for row in rows:
        text = json.dumps(row, ensure_ascii=False, separators=(", ", ": "))
        yield text.encode("utf-8", "backslashreplace") + b"\n"
