"""Lists of every kind become entries; what is wrong with a line costs that line."""

import errno
import io
import itertools
import os
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from batchproc.errors import Code, ExitCode, UsageError
from batchproc.model import ListedItem
from batchproc.sources import Entry, ListFormat, is_stream, read_sources
from batchproc.sources.lines import BLOCK_BYTES, LONGEST_LINE_BYTES, LongLine, split_lines
from batchproc.sources.url import canonical
from tests.sources.conftest import Write, good_of, rows_of, urls_of

TEXT = "http://a.com/1,2\n\n# a comment\n  http://a.com/3\t\n"
CSV = 'url,caption\nhttp://a.com/1,"one, ""two"""\nhttp://a.com/2,"three\nfour"\n'
TSV = "caption\turl\none\thttp://a.com/1\n"
JSONL = '{"url": "http://a.com/1", "n": 3}\n\n{"n": [1], "url": "http://a.com/2"}\n'


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content", "urls"),
    [
        ("list.txt", TEXT, ["http://a.com/1,2", "http://a.com/3"]),
        ("list", TEXT, ["http://a.com/1,2", "http://a.com/3"]),
        ("list.csv", CSV, ["http://a.com/1", "http://a.com/2"]),
        ("list.TSV", TSV, ["http://a.com/1"]),
        ("list.jsonl", JSONL, ["http://a.com/1", "http://a.com/2"]),
    ],
)
def test_each_kind_of_list_is_read(write: Write, packed: str, name: str, content: str, urls: list[str]) -> None:
    assert urls == urls_of(read_sources(write(name + packed, content)))


def test_an_item_has_its_line_and_key(write: Write) -> None:
    _, item = read_sources(write("list.txt", "# first\nno url\nHTTP://A.com/x#y\n"))

    key = blake2b(b"http://a.com/x", digest_size=16).digest()
    assert ListedItem(key=key, line=3, url="http://A.com/x#y") == item


def test_text_that_is_no_url_is_an_item_keyed_by_its_text(write: Write) -> None:
    (entry,) = read_sources(write("list.txt", "http://a.com/\x1b[31m\n"))

    assert isinstance(entry, ListedItem)
    assert Code.INPUT_URL == entry.code
    assert "http://a.com/\\x1b[31m" == entry.url
    assert blake2b(b"http://a.com/\x1b[31m", digest_size=16).digest() == entry.key


def test_relative_url_keeps_its_key_under_another_base(write: Write) -> None:
    path = write("list.txt", "cat.jpg\n")

    first, second = (next(read_sources(path, ListFormat(base_url=base))) for base in ("http://h:1/", "http://h:2/d/"))

    assert isinstance(first, ListedItem)
    assert isinstance(second, ListedItem)
    assert ("http://h:1/cat.jpg", "http://h:2/d/cat.jpg") == (first.url, second.url)
    assert first.key == second.key


def test_duplicates_come_out_with_the_same_key(write: Write) -> None:
    first, second = read_sources(write("list.txt", "http://a.com/x\nhttp://A.com:80/y/../x\n"))

    assert isinstance(first, ListedItem)
    assert isinstance(second, ListedItem)
    assert first.key == second.key


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_byte_order_mark_and_line_ends_are_not_part_of_a_url(write: Write, end: str) -> None:
    path = write("list.txt", f"\ufeffhttp://a.com/1{end}http://a.com/2{end}{end}http://a.com/3")

    entries = list(read_sources(path))

    assert [("http://a.com/1", 1), ("http://a.com/2", 2), ("http://a.com/3", 4)] == [
        (entry.url, entry.line) for entry in good_of(entries)
    ]


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_refused_by_name(write: Write, name: str, encoding: str) -> None:
    path = write(name, CSV.encode(encoding))

    with pytest.raises(UsageError, match=r"UTF-(16|32).*save it as UTF-8"):
        read_sources(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", b"http://a.com/1\nhttp://a.com/\xff\nhttp://a.com/3\n"),
        ("list.csv", b"url,x\nhttp://a.com/1,\xff\nhttp://a.com/3,x\n"),
        ("list.jsonl", b'{"url": "http://a.com/0"}\n{"url": "\xff"}\n{"url": "http://a.com/3"}\n'),
    ],
)
def test_a_byte_that_is_not_utf8_costs_its_line(write: Write, name: str, content: bytes) -> None:
    entries = list(read_sources(write(name, content)))

    (bad,) = rows_of(entries)
    assert (2, Code.INPUT_ENCODING) == (bad.line, bad.code)
    assert "byte 0xff at position" in bad.message
    assert "\\xff" in bad.url
    assert "http://a.com/3" == urls_of(iter(entries))[-1]


@pytest.mark.parametrize(
    ("name", "content", "extra_json"),
    [
        ("list.csv", "n,url,caption\n7,http://a.com/1,猫\n", '{"n": "7", "caption": "\\u732b"}'),
        ("list.jsonl", '{"n": 7, "url": "http://a.com/1", "x": "\\u732b"}\n', '{"n": 7, "x": "\\u732b"}'),
        ("list.csv", "url\nhttp://a.com/1\n", ""),
    ],
    ids=["csv", "jsonl", "no others"],
)
def test_other_columns_travel_as_json_in_ascii(write: Write, name: str, content: str, extra_json: str) -> None:
    source = next(read_sources(write(name, content)))

    assert isinstance(source, ListedItem)
    assert extra_json == source.extra_json


@pytest.mark.parametrize(
    ("name", "content"),
    [("list.csv", "id,url\n7,http://a.com/1\n"), ("list.jsonl", '{"id": 7, "url": "http://a.com/1"}\n')],
)
def test_id_column_decides_the_key_and_is_kept(write: Write, name: str, content: str) -> None:
    source = next(read_sources(write(name, content), ListFormat(id_column="id")))

    assert isinstance(source, ListedItem)
    assert blake2b(b"7", digest_size=16).digest() == source.key
    assert '"id"' in source.extra_json


def test_columns_by_other_names(write: Write) -> None:
    path = write("list.csv", "link\nhttp://a.com/1\n")

    assert ["http://a.com/1"] == urls_of(read_sources(path, ListFormat(url_column="link")))


@pytest.mark.parametrize(
    ("says", "name", "content", "wanted"),
    [
        ('no column "url"; its columns are URL, x; did you mean .job. url_column = "URL"', "list.csv", "URL,x\n", {}),
        ('no column "key".*set .job. id_column', "list.csv", "url,x\n", {"id_column": "key"}),
        ('column "url" more than once', "list.csv", "url,url\n", {}),
        ("header, the first line, cannot be read", "list.csv", 'url,"x\n', {}),
        ("needs a table", "list.txt", "http://a.com/\n", {"id_column": "id"}),
        ('".xml" is not a kind of list', "list.xml", "", {}),
    ],
)
def test_wrong_table_is_refused_at_the_call(
    write: Write, says: str, name: str, content: str, wanted: dict[str, str]
) -> None:
    path = write(name, content)

    with pytest.raises(UsageError, match=says):
        read_sources(path, ListFormat(**wanted))  # type: ignore[arg-type]


def test_unreadable_list_is_refused_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.txt: no such file"):
        read_sources(tmp_path / "gone.txt")
    with pytest.raises(UsageError, match="is a folder"):
        read_sources(tmp_path)


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.tsv", "list.jsonl", "list.txt.gz", "list.csv.gz"])
def test_empty_list_has_no_items(write: Write, name: str) -> None:
    assert [] == list(read_sources(write(name, "")))


@pytest.mark.parametrize("name", ["list.txt.gz", "list.csv.gz", "list.jsonl.gz"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_gzip_is_refused_where_it_breaks_off(write: Write, tmp_path: Path, name: str, damage: str) -> None:
    rows = [f"http://a.com/{number * 7919 % 10007}" for number in range(50_000)]
    if name.startswith("list.jsonl"):
        rows = [f'{{"url": "{row}"}}' for row in rows]
    whole = write(name, "\n".join(["url", *rows][not name.startswith("list.csv") :])).read_bytes()
    half = len(whole) // 2
    (tmp_path / name).write_bytes(whole[:half] if damage == "cut" else whole[:half] + bytes(99) + whole[half + 99 :])

    entries = read_sources(tmp_path / name)
    before: list[Entry] = []
    with pytest.raises(UsageError, match=rf"{name}: the compressed list (breaks off|is damaged)") as caught:
        before.extend(entries)

    assert 1000 < len(before)
    assert ExitCode.USAGE == caught.value.exit_code


def test_a_list_that_cannot_be_read_on_is_refused(tmp_path: Path) -> None:
    class Disk(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            content = super().read1(50)
            if not content:
                raise OSError(errno.EIO, "told by nobody")
            return content

    entries = read_sources("-", stdin=Disk(b"http://a.com/1\nhttp://a.com/2\n"))

    with pytest.raises(UsageError, match="stdin: cannot be read: Input/output error"):
        list(entries)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")

    with pytest.raises(UsageError, match=r'list\.txt: is no regular file; .*input = "-"'):
        read_sources(tmp_path / "list.txt")


def test_a_pipe_that_the_shell_names_is_read_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"http://a.com/1\n")
    try:
        assert is_stream(f"/dev/fd/{reading}")
        assert ["http://a.com/1"] == urls_of(read_sources(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)


def test_only_what_can_be_read_once_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("")
    with (tmp_path / "list.txt").open() as file:
        names = ["-", str(tmp_path / "list.txt"), f"/dev/fd/{file.fileno()}", "/dev/fd/999"]

        assert [True, False, False, True] == [is_stream(name) for name in names]


def test_a_closed_stdin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(UsageError, match="stdin: is closed"):
        read_sources("-")


def test_a_name_in_gz_that_is_no_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt.gz").write_text("http://a.com/1\n")

    with pytest.raises(UsageError, match="not a gzip file"):
        read_sources(tmp_path / "list.txt.gz")


def test_dash_reads_a_text_list_from_stdin() -> None:
    assert ["http://a.com/1"] == urls_of(read_sources("-", stdin=io.BytesIO(b"http://a.com/1\n")))


class _Pipe(io.RawIOBase):
    """A pipe that gives a line at a time, and counts how many it gave."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        line = next(self._lines, b"")
        self.given += bool(line)
        buffer[: len(line)] = line
        return len(line)


def test_stdin_is_streamed() -> None:
    endless = _Pipe(b"http://a.com/%d\n" % number for number in itertools.count())

    first = list(itertools.islice(read_sources("-", stdin=io.BufferedReader(endless)), 10))

    assert 10 == len(urls_of(iter(first)))
    assert endless.given <= 11


@pytest.mark.parametrize("length", [100_000, LONGEST_LINE_BYTES + 1, 5 * BLOCK_BYTES])
def test_a_line_of_any_length_is_an_item_that_is_too_long(write: Write, length: int) -> None:
    line = "http://a.com/".ljust(length, "x")

    entry, after = read_sources(write("list.txt", f"{line}\r\nhttp://a.com/2\r\n"))

    assert isinstance(entry, ListedItem)
    assert Code.INPUT_URL_TOO_LONG == entry.code
    assert blake2b(line.encode(), digest_size=16).digest() == entry.key
    assert len(entry.url) < 300
    assert isinstance(after, ListedItem)
    assert ("http://a.com/2", 2) == (after.url, after.line)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_lines_do_not_depend_on_how_blocks_are_cut(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchproc.sources.lines.LONGEST_LINE_BYTES", longest := 500)
    data = b"a\r\n\r\nbb\n\rccc\r" + b"x" * (longest + 1) + b"\r\ndd\r\r\n\nend"

    cut = split_lines(data[at : at + size] for at in range(0, len(data), size))

    assert data.splitlines() == [b"x" * line.size_bytes if isinstance(line, LongLine) else line for line in cut]


@pytest.mark.parametrize(
    ("listed", "asked_for"),
    [
        ("http://a.com/s?token=exp%7e1~acl%3d%2f%2a", "http://a.com/s?token=exp%7e1~acl%3d%2f%2a"),
        ("HTTP://A.com:80/%c3%bc?q=a+b%20c", "http://A.com:80/%c3%bc?q=a+b%20c"),
        ("http://a.com/ü", "http://a.com/ü"),
        ("http://a.com", "http://a.com"),
        ("http://a.com/x/../%7eb", "http://a.com/~b"),
        ("b%7e.jpg?sig=%3d", "http://base.org/d/b%7e.jpg?sig=%3d"),
        ("/b%7e.jpg", "http://base.org/b%7e.jpg"),
        ("?q=%7e", "http://base.org/d/?q=%7e"),
    ],
)
def test_a_url_is_asked_for_as_listed_and_known_by_its_canonical_form(
    write: Write, listed: str, asked_for: str
) -> None:
    path = write("list.txt", f"{listed}\n{canonical(listed, relative=True)}\n")

    entries = read_sources(path, ListFormat(base_url="http://base.org/d/"))
    sources = good_of(entries)

    assert asked_for == sources[0].url
    assert sources[0].key == sources[1].key
