"""Several lists as one, and columns that are named anew or left out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batchproc.columns import Columns
from batchproc.errors import UsageError
from batchproc.model import LINES_PER_LIST, describe_line
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sources import Entry, ListFormat, find_sources, read_sources
from tests.sources.conftest import Write, good_of, rows_of, urls_of


def read(paths: Sequence[Path], format: ListFormat | None = None, memory: ListMemory | None = None) -> list[Entry]:
    return [*read_sources([str(path) for path in paths], format or ListFormat(), memory=memory)]


def test_lists_follow_each_other_and_lines_know_theirs(write: Write) -> None:
    paths = [
        write("a.txt", "http://a.com/0\n# a comment\nhttp://a.com/1\n"),
        write("b.csv", "url,n\nhttp://a.com/2,1\n,2\n"),
        write("c.jsonl", '\n{"url": "http://a.com/3"}\n'),
    ]

    entries = read(paths)

    names = ["a", "b", "c"]
    sources = good_of(entries)
    assert [f"http://a.com/{number}" for number in range(4)] == urls_of(iter(entries))
    assert ["line 1 of a", "line 3 of a", "line 2 of b", "line 2 of c"] == [
        describe_line(source.line, names) for source in sources
    ]
    assert ["line 3 of b"] == [describe_line(entry.line, names) for entry in rows_of(entries)]


@pytest.mark.extra
def test_a_table_in_columns_is_a_list_among_others(write: Write, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    from pyarrow import feather

    feather.write_feather(pyarrow.table({"url": ["http://a.com/1", None]}), str(tmp_path / "b.feather"))

    entries = read([write("a.txt", "http://a.com/0\n"), tmp_path / "b.feather"])

    assert ["http://a.com/0", "http://a.com/1"] == urls_of(iter(entries))
    assert ["line 2 of b"] == [describe_line(one.line, ["a", "b"]) for one in rows_of(entries)]


def memory_of(entries: Sequence[Entry], *files: str, rule: str = "rule") -> ListMemory:
    checkpoints = tuple(entry for entry in entries if isinstance(entry, Checkpoint))
    return ListMemory(rule=rule, checkpoints=checkpoints, files=files)


@pytest.mark.parametrize(
    ("now", "read_again"),
    [
        (["A", "B"], []),
        (["A", "B", "C"], ["c"]),
        (["A", "other"], ["b"]),
        (["other", "B"], ["a", "b"]),
    ],
    ids=["as they were", "one more", "the last changed", "the first changed"],
)
def test_lists_are_known_up_to_the_first_that_changed(write: Write, now: list[str], read_again: list[str]) -> None:
    paths = [write(f"{name}.csv", f"url,{name}\nhttp://a.com/{name},x\n") for name in "abc"]
    before = read(paths[:2], memory=ListMemory(rule="rule", files=("A", "B")))

    entries = read(paths[: len(now)], memory=memory_of(before, *now))

    assert [f"http://a.com/{name}" for name in read_again] == urls_of(iter(entries))
    known = [entry.checkpoint.line for entry in entries if isinstance(entry, Known)]
    assert [] == known or [(len(now) - len(read_again)) * LINES_PER_LIST - 1] == known


def test_what_is_known_brings_its_columns(write: Write) -> None:
    paths = [write("a.csv", "url,a\nhttp://a.com/0,x\n"), write("b.csv", "url,b\nhttp://a.com/1,x\n")]
    before = read(paths[:1] * 2, memory=ListMemory(rule="rule", files=("A", "A")))
    columns = Columns()

    entries = [*read_sources(list(map(str, paths)), columns=columns, memory=memory_of(before, "A", "B"))]

    assert ["http://a.com/1"] == urls_of(iter(entries))
    assert {"a": "text", "b": "text"} == columns.types


def test_folders_and_patterns_are_their_lists_by_name_each_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl.gz", "notes.md", "c.parquet", "sub/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(*names: str) -> list[str]:
        paths = find_sources([str(tmp_path / name) for name in names]).lists
        return [str(Path(path).relative_to(tmp_path)) for path in paths]

    assert ["a.jsonl.gz", "b.csv", "c.parquet"] == found("")
    assert ["c.parquet", "b.csv"] == found("c.parquet", "*.csv", "b.csv")
    assert ["sub/d.txt"] == found("**/*.txt")
    assert ["no-such.csv"] == found("no-such.csv")


@pytest.mark.parametrize(("name", "says"), [("*.csv", "no file matches"), ("empty", "no list and no image is in it")])
def test_a_pattern_or_folder_without_lists_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=says):
        find_sources([str(tmp_path / name)])


COLUMNS = ListFormat(url_column="URL", renamed={"TEXT": "caption"}, dropped=frozenset({"n"}))
TABLES = {
    "csv": 'URL,TEXT,n,rest\nhttp://a.com/0,"t, u",1,r\n',
    "jsonl": '{"URL": "http://a.com/0", "TEXT": "t, u", "n": 1, "rest": "r"}\n',
}


def cells(entries: Sequence[Entry]) -> list[Any]:
    return [json.loads(entry.extra_json) for entry in good_of(entries)]


@pytest.mark.parametrize("kind", TABLES)
def test_columns_are_named_anew_and_left_out(write: Write, kind: str) -> None:
    assert [{"caption": "t, u", "rest": "r"}] == cells(read([write(f"list.{kind}", TABLES[kind])], COLUMNS))


@pytest.mark.extra
def test_columns_of_arrow_are_named_anew_and_left_out(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    from pyarrow import parquet

    table = pyarrow.table({"URL": ["http://a.com/0"], "TEXT": ["t, u"], "n": [1], "rest": ["r"]})
    parquet.write_table(table, tmp_path / "list.parquet")

    assert [{"caption": "t, u", "rest": "r"}] == cells(read([tmp_path / "list.parquet"], COLUMNS))


@pytest.mark.parametrize(
    ("says", "header"),
    [
        ('no column "TEXT", which [job.columns] names; did you mean "text"?', "URL,text,n"),
        ('two columns "caption"', "URL,TEXT,caption,n"),
    ],
)
def test_columns_that_cannot_be_named_so_are_refused(write: Write, says: str, header: str) -> None:
    with pytest.raises(UsageError) as caught:
        read([write("list.csv", f"{header}\n")], COLUMNS)

    assert says in str(caught.value)


def test_two_keys_of_one_new_name_are_told(write: Write) -> None:
    columns = Columns()
    path = write("list.jsonl", '{"URL": "http://a.com/0", "TEXT": "t", "caption": "c"}\n')

    assert [{"caption": "c"}] == cells([*read_sources(path, COLUMNS, columns=columns)])
    assert ["[job.columns] gives two keys one name: the last one counts (on line 1)"] == list(map(str, columns.remarks))
