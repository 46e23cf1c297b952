"""A list whose beginning is as it was is read from there on, and comes out as if it had been read whole."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchproc.columns import Columns
from batchproc.errors import UsageError
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sources import Entry, ListFormat, lines, read_sources

RULE = "as it is"
SUFFIXES = (".txt", ".csv", ".jsonl")
URL = "https://example.org/"
LINES = {
    ".txt": [f"{URL}a", f"{URL}b b", "# no", "", "no url", f"{URL}\xe9"],
    ".csv": [
        f"{URL}a,1", f'{URL}b,"two\nlines"', '"', f'{URL}c,"never closed', "", f"{URL}d,too,many",
        f'"{URL}e","x ""y"" z"', f'{URL}f,"{URL}g,3\n{URL}h,4"',
    ],
    ".jsonl": [
        f'{{"url": "{URL}a", "n": 1}}', f'{{"url": "{URL}b", "n": 1.5}}', f'{{"url": "{URL}c", "n": "text"}}', "{", "",
        f'{{"url": "{URL}d", "o": {{"k": [1, null]}}, "n": 1, "n": 2}}',
        f'{{"url": "{URL}e", "n": NaN, "s": "\\ud800"}}',
    ],
}  # fmt: skip
HEADS = {".txt": "", ".csv": "url,label\n", ".jsonl": f'{{"url": "{URL}0"}}\n'}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few bytes, and segments of a few lines."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", 16)
    monkeypatch.setattr(lines, "SEGMENT_BYTES", 64)


def read(path: Path, known: Sequence[Checkpoint] = (), rule: str = RULE) -> tuple[list[Entry], str]:
    columns = Columns()
    entries = list(read_sources(path, columns=columns, memory=ListMemory(rule=rule, checkpoints=tuple(known))))
    return entries, columns.dump()


def rows(entries: Sequence[Entry]) -> list[ListedItem]:
    """What is imported of the entries."""
    return [entry for entry in entries if isinstance(entry, ListedItem)]


def checkpoints(entries: Sequence[Entry]) -> list[Checkpoint]:
    return [entry for entry in entries if isinstance(entry, Checkpoint)]


def assert_goes_on(path: Path, before: Sequence[Entry]) -> int:
    """Reads a list that was another one before; returns up to which line it was known."""
    entries, learned = read(path, checkpoints(before))
    whole, whole_learned = read(path)
    last = entries[0].checkpoint.line if entries and isinstance(entries[0], Known) else 0
    kept = [entry for entry in rows(before) if entry.line <= last]

    assert rows(whole) == kept + rows(entries)
    assert whole_learned == learned
    return last


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_list_comes_out_the_same_whatever_was_known_of_it(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    some = st.lists(st.sampled_from(LINES[suffix]), max_size=12)
    names = data.draw(some)
    path = tmp_path / f"list{suffix}"

    def write() -> None:
        text = HEADS[suffix] + "".join(f"{name}\n" for name in names) + data.draw(st.sampled_from(["", *LINES[suffix]]))
        path.write_bytes(text.replace("\n", end).encode())

    write()
    before, _ = read(path)
    for _ in range(2):
        names = names[: data.draw(st.integers(0, len(names)))] + data.draw(some)
        write()
        last = assert_goes_on(path, before)
        rest, _ = read(path, checkpoints(before))
        kept = [one for one in before if isinstance(one, Checkpoint) and one.line <= last]
        before = [*(one for one in read(path)[0] if not isinstance(one, Checkpoint)), *kept, *checkpoints(rest)]


def write_list(path: Path, numbers: Sequence[int]) -> None:
    text = {
        ".txt": "".join(f"{URL}{number}\n" for number in numbers),
        ".csv": "url,label\n" + "".join(f'{URL}{number},"a\n{number}"\n' for number in numbers),
        ".jsonl": "".join(f'{{"url": "{URL}{number}", "n": {number}}}\n' for number in numbers),
    }[path.suffix if path.suffix != ".gz" else Path(path.stem).suffix]
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize("ending", [*SUFFIXES, ".txt.gz", ".csv.gz", ".jsonl.gz"])
def test_only_what_was_appended_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"list{ending}"
    write_list(path, range(100))
    before, _ = read(path)
    write_list(path, range(103))

    entries, _ = read(path, checkpoints(before))
    assert [f"{URL}{number}" for number in (100, 101, 102)] == [entry.url for entry in rows(entries)]
    assert rows(before)[-1].line <= assert_goes_on(path, before)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("numbers", "most"),
    [
        ([*range(50), 7, *range(51, 100)], 0.5),
        (range(60), 0.6),
        (range(99, -1, -1), 0),
        ([7, *range(100)], 0),
        (range(1, 100), 0),
        ([], 0),
        (range(100), 1),
    ],
    ids=["changed in the middle", "shorter", "reordered", "new first", "first gone", "empty", "as it was"],
)
def test_what_is_known_ends_where_the_list_has_changed(
    tmp_path: Path, suffix: str, numbers: Sequence[int], most: float
) -> None:
    path = tmp_path / f"list{suffix}"
    write_list(path, range(100))
    before, _ = read(path)
    last = rows(before)[-1].line
    write_list(path, numbers)

    known = assert_goes_on(path, before)

    assert most * last - 20 <= known <= most * last + 2


def test_a_row_that_an_open_quote_may_still_swallow_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f'url,label\n{URL}a,"open\n{URL}b,1\n')
    before, _ = read(path)
    path.write_text(f'url,label\n{URL}a,"open\n{URL}b,1\nclosed"\n')

    assert 0 == assert_goes_on(path, before)


def test_a_line_that_was_not_ended_may_go_on(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_list(path, range(10))
    path.write_text(path.read_text() + f"{URL}b")
    before, _ = read(path)
    path.write_text(path.read_text() + "c\n")

    assert 5 < assert_goes_on(path, before) <= 10


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_list(path, range(100))
    before, _ = read(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + URL.encode() + b"new\n")

    assert 100 == assert_goes_on(path, before)


def test_another_way_of_reading_knows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_list(path, range(100))
    before, _ = read(path)

    entries, _ = read(path, checkpoints(before), rule="another")
    assert not isinstance(entries[0], Known)


def test_a_column_that_is_missing_is_refused_though_the_beginning_is_known(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    write_list(path, range(100))
    before, _ = read(path)
    memory = ListMemory(rule=RULE, checkpoints=tuple(checkpoints(before)))

    with pytest.raises(UsageError, match="has no column"):
        list(read_sources(path, ListFormat(url_column="link"), memory=memory))


def test_without_a_memory_there_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_list(path, range(100))

    assert [] == checkpoints(list(read_sources(path)))
