import gzip
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from batchproc.errors import Code
from batchproc.model import ListedItem
from batchproc.sources import Entry

UNREADABLE = (Code.INPUT_ROW, Code.INPUT_ENCODING)
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


def urls_of(entries: Iterable[Entry]) -> list[str]:
    return [item.url for item in good_of(entries)]


def good_of(entries: Iterable[Entry]) -> list[ListedItem]:
    """The items that can be downloaded."""
    return [entry for entry in entries if isinstance(entry, ListedItem) and not entry.code]


def rows_of(entries: Iterable[Entry]) -> list[ListedItem]:
    """The rows that cannot be read."""
    return [entry for entry in entries if isinstance(entry, ListedItem) and entry.code in UNREADABLE]


def bad_of(entries: Iterable[Entry]) -> list[tuple[int, str]]:
    return [(row.line, row.code) for row in rows_of(entries)]
