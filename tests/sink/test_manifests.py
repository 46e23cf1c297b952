"""A manifest is written whole and read back row by row, whatever has become of it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from batchproc.errors import DiskError
from batchproc.remembered import Block, Manifest, Part, Row
from batchproc.sink import read_manifest, write_manifest

BLOCKS = [[{"url": f"{name}{number}"} for number in range(50)] for name in "abcd"]


def of_rows(*blocks: Iterable[Row], form: str = "") -> Manifest:
    return Manifest(parts=(Part(rows=rows) for rows in blocks), form=form)


def of_known(blocks: Sequence[Block | None], rows: Sequence[Iterable[Row]] = BLOCKS, form: str = "") -> Manifest:
    """A manifest of which some blocks are known. Their rows are not to be asked for, unless the file has lost them."""
    return Manifest(parts=(Part(rows=one, known=known) for one, known in zip(rows, blocks, strict=True)), form=form)


def untouched() -> Iterator[Row]:
    raise AssertionError("these rows were made again")
    yield {}



def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    first: dict[str, object] = {"url": "https://example.org/ä", "width": 3, "label": "half \ud800", "none": None}
    rows = [first, {**first, "url": "b"}]
    write_manifest(tmp_path / "metadata.jsonl", of_rows(rows))

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
        write_manifest(path, of_rows([{"url": "a"}]))
    assert ".tmp" not in str(caught.value)


def test_a_manifest_that_did_not_change_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    rows: list[Row] = [{"url": "https://example.org/ü", "width": 3}]

    assert write_manifest(path, of_rows(rows)).is_replaced
    before = path.stat()
    assert not write_manifest(path, of_rows(rows)).is_replaced
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)
    assert write_manifest(path, of_rows([*rows, {"url": "x"}])).is_replaced


def test_a_manifest_is_one_object_per_line_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    write_manifest(path, of_rows([{"url": "https://example.org/ü", "message": "a\nb"}, {"url": "\udc80"}]))

    assert b'{"url": "https://example.org/\xc3\xbc", "message": "a\\nb"}\n{"url": "\\udc80"}\n' == path.read_bytes()


def test_an_empty_manifest_is_an_empty_file(tmp_path: Path) -> None:
    assert write_manifest(tmp_path / "failures.jsonl", of_rows()).is_replaced
    assert not write_manifest(tmp_path / "failures.jsonl", of_rows()).is_replaced


def test_a_link_in_the_place_of_a_manifest_is_replaced_and_its_target_spared(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    write_manifest(tmp_path / "precious", of_rows(*BLOCKS))
    path.symlink_to("precious")

    assert write_manifest(path, of_rows(*BLOCKS)).is_replaced
    assert not path.is_symlink()


@pytest.mark.parametrize("kernel_copies", [True, False], ids=["in the kernel", "by hand"])
@pytest.mark.parametrize("changed", [(3,), (0,), (1, 2), (0, 1, 2, 3), ()], ids=str)
@pytest.mark.parametrize("number", [1, 100], ids=["shorter", "longer"])
def test_only_the_rows_of_changed_blocks_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: tuple[int, ...], number: int, kernel_copies: bool
) -> None:
    path, other = tmp_path / "metadata.jsonl", tmp_path / "other"
    written = write_manifest(path, of_rows(*BLOCKS)).blocks
    if not kernel_copies:
        monkeypatch.delattr(os, "copy_file_range")
    news: list[Row] = [{"url": f"new {each}"} for each in range(number)]
    rows: list[Iterable[Row]] = [news if place in changed else untouched() for place in range(4)]
    known = [None if place in changed else block for place, block in enumerate(written)]

    again = write_manifest(path, of_known(known, rows))

    expected = write_manifest(other, of_rows(*(news if place in changed else BLOCKS[place] for place in range(4))))
    assert other.read_bytes() == path.read_bytes()
    assert expected.blocks == again.blocks
    assert bool(changed) == again.is_replaced


def test_rows_that_are_made_again_as_they_were_leave_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    written = write_manifest(path, of_rows(*BLOCKS)).blocks

    again = write_manifest(path, of_known([written[0], None, None, written[3]]))

    assert (written, False) == (again.blocks, again.is_replaced)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace(b"b7", b"b8"),
        lambda text: text.replace(b"b7", b"b77"),
        lambda text: text[: len(text) // 2],
        lambda text: text + b"\n",
        lambda text: text + text,
        lambda text: b"".join(reversed(text.splitlines(keepends=True))),
        lambda text: b"",
    ],
    ids=["a character changed", "a character came", "cut", "a line came", "twice", "reordered", "emptied"],
)
def test_a_manifest_that_somebody_edited_is_made_anew(tmp_path: Path, edit: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "metadata.jsonl"
    written = write_manifest(path, of_rows(*BLOCKS)).blocks
    whole = path.read_bytes()
    path.write_bytes(edit(whole))

    again = write_manifest(path, of_known(written))

    assert whole == path.read_bytes()
    assert (written, True) == (again.blocks, again.is_replaced)


def test_a_manifest_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    written = write_manifest(path, of_rows(*BLOCKS)).blocks
    path.unlink()

    assert written == write_manifest(path, of_known(written)).blocks


def test_rows_of_another_form_are_all_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    written = write_manifest(path, of_rows(*BLOCKS, form="label: int")).blocks
    floats = [[{"label": 1.0}] for _ in BLOCKS]

    write_manifest(path, of_known(written, floats, form="label: float"))

    assert b'{"label": 1.0}\n' * 4 == path.read_bytes()


def test_an_error_in_the_middle_leaves_the_old_manifest_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    written = write_manifest(path, of_rows(*BLOCKS)).blocks
    whole = path.read_bytes()

    with pytest.raises(AssertionError, match="made again"):
        write_manifest(path, of_known([written[0], None, None, None], [[], [{"url": "new"}], untouched(), []]))
    assert (whole, [path]) == (path.read_bytes(), list(tmp_path.iterdir()))
