import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchproc.errors import Code
from batchproc.model import Source
from batchproc.sources import BadRow, Entry

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a list, packed where its name says so."""

    def write_list(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        raw = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write_list


def urls_of(entries: Iterator[Entry]) -> list[str]:
    return [entry.url for entry in entries if isinstance(entry, Source)]


def bad_of(entries: Iterator[Entry]) -> list[tuple[int, Code]]:
    return [(entry.line, entry.code) for entry in entries if isinstance(entry, BadRow)]
