"""A manifest is written whole and read back row by row, whatever has become of it."""

from pathlib import Path

import pytest

from batchproc.errors import DiskError
from batchproc.sink import read_manifest, write_manifest


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    first: dict[str, object] = {"url": "https://example.org/ä", "width": 3, "label": "half \ud800", "none": None}
    rows = [first, {**first, "url": "b"}]
    write_manifest(tmp_path / "metadata.jsonl", rows)

    assert rows == list(read_manifest(tmp_path / "metadata.jsonl"))


def test_a_line_that_is_no_row_is_none_and_costs_no_other(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b'{"a": ', b"\xff\xfe", b"[1]", b"", b"[" * 100_000, b'{"a": 2}']
    (tmp_path / "metadata.jsonl").write_bytes(b"\n".join(lines))

    assert [{"a": 1}, None, None, None, None, None, {"a": 2}] == list(read_manifest(tmp_path / "metadata.jsonl"))


def test_a_manifest_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert [] == list(read_manifest(tmp_path / "metadata.jsonl"))


def test_a_folder_that_vanished_is_a_disk_error_that_names_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "metadata.jsonl"

    with pytest.raises(DiskError, match=f"^{path}: cannot be written: No such file or directory") as caught:
        write_manifest(path, [{"url": "a"}])
    assert ".tmp" not in str(caught.value)
