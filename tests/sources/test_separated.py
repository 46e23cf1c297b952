"""Tables are read as their format has them, and a broken row costs itself and no other."""

import json
import re
from itertools import cycle

import pytest

from batchproc.columns import Columns
from batchproc.errors import Code, UsageError
from batchproc.sources import ListFormat, read_sources
from batchproc.sources.lines import LONGEST_LINE_BYTES
from tests.sources.conftest import Write, bad_of, good_of, rows_of, urls_of


def test_wrong_csv_rows_cost_one_line_each(write: Write) -> None:
    bad_rows = ["http://a.com/1", 'http://a.com/2,"open', "http://a.com/3,x,y", ",x", '"a"b,x']
    content = "\n".join(["url,x", *bad_rows, "http://a.com/7,x", "", ""])

    entries = list(read_sources(write("list.csv", content)))

    assert [(line, Code.INPUT_ROW) for line in range(2, 7)] == bad_of(iter(entries))
    assert ["http://a.com/7"] == urls_of(iter(entries))


def test_an_open_quote_swallows_nothing_though_it_closes_later(write: Write) -> None:
    content = 'url,x\nhttp://a.com/1,"open\nhttp://a.com/2,x\nhttp://a.com/3,"x"\nhttp://a.com/4,x\n'

    entries = list(read_sources(write("list.csv", content)))

    assert [(2, Code.INPUT_ROW)] == bad_of(iter(entries))
    assert ["http://a.com/2", "http://a.com/3", "http://a.com/4"] == urls_of(iter(entries))


def test_an_open_quote_is_given_up_after_a_bounded_length(write: Write) -> None:
    rows = "".join(f"http://a.com/{number},x\n" for number in range(8000))

    entries = list(read_sources(write("list.csv", f'url,x\nhttp://a.com/open,"\n{rows}')))

    assert [(2, Code.INPUT_ROW)] == bad_of(iter(entries))
    assert 8000 == len(urls_of(iter(entries)))


def test_quotes_in_tab_separated_values_are_text(write: Write) -> None:
    content = 'caption\turl\n"abc\thttp://a.com/0\ndef"\thttp://a.com/1\n5" wide\thttp://a.com/2\n'

    sources = good_of(read_sources(write("list.tsv", content)))

    assert ["http://a.com/0", "http://a.com/1", "http://a.com/2"] == [source.url for source in sources]
    assert ['"abc', 'def"', '5" wide'] == [json.loads(source.extra_json)["caption"] for source in sources]


@pytest.mark.parametrize(
    ("name", "content", "form", "cells"),
    [
        ("list.tsv", 'url\tx\nhttp://a.com/1\t"a\tb"\n', ListFormat(quoting="double"), ["a\tb"]),
        ("list.csv", 'url,x\nhttp://a.com/1,"a\nhttp://a.com/2,b"\n', ListFormat(quoting="none"), ['"a', 'b"']),
        ("list.csv", 'url;x\nhttp://a.com/1;"a;b"\n', ListFormat(delimiter=";"), ["a;b"]),
        ("list.csv.gz", "url|x\nhttp://a.com/1|a,b\n", ListFormat(delimiter="|"), ["a,b"]),
        ("list.tsv", "url,x\nhttp://a.com/1,a\n", ListFormat(delimiter=","), ["a"]),
    ],
    ids=["quoted tsv", "unquoted csv", "semicolon", "bar", "comma in tsv"],
)
def test_a_table_is_read_as_the_config_says(
    write: Write, name: str, content: str, form: ListFormat, cells: list[str]
) -> None:
    sources = good_of(read_sources(write(name, content), form))

    assert cells == [json.loads(source.extra_json)["x"] for source in sources]


@pytest.mark.parametrize(
    ("says", "name", "header"),
    [
        (r'looks separated by ";": set \[job\] delimiter = ";"', "list.csv", "url;caption"),
        (r'set \[job\] delimiter = "\\t"', "list.csv", "caption\turl"),
        (r'set \[job\] delimiter = ","', "list.tsv", '"caption","url"'),
        (r'set \[job\] delimiter = "\|"', "list.csv", "link|caption"),
        (r'stand in quotes: set \[job\] quoting = "double"', "list.tsv", '"url"\t"caption"'),
        (r'did you mean \[job\] url_column = "urls"', "list.csv", "urls,a;b"),
    ],
)
def test_a_header_that_is_cut_otherwise_names_the_key(write: Write, says: str, name: str, header: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_sources(write(name, f"{header}\nhttp://a.com/1\n"))


@pytest.mark.parametrize(
    ("says", "name", "form"),
    [
        ("delimiter needs a table", "list.txt", ListFormat(delimiter=";")),
        ("delimiter needs a table", "list.jsonl", ListFormat(delimiter=";")),
        ("quoting = \"none\" needs a table", "list.jsonl", ListFormat(quoting="none")),
    ],
)
def test_keys_of_tables_are_refused_for_other_lists(write: Write, says: str, name: str, form: ListFormat) -> None:
    with pytest.raises(UsageError, match=says):
        read_sources(write(name, ""), form)


LONG_CELL = "".join(f"line {number} of a long text, with commas\n" for number in range(6000))


@pytest.mark.parametrize("cell", [LONG_CELL, f"one\n{'x' * 100_000}\ntwo\n"], ids=["many lines", "a long line"])
def test_a_long_cell_on_many_lines_is_one_bad_row_that_names_the_limit(write: Write, cell: str) -> None:
    content = f'url,x\nhttp://a.com/1,a\nhttp://a.com/2,"{cell}"\nhttp://a.com/3,c\n'

    entries = list(read_sources(write("list.csv", content)))

    (bad,) = rows_of(entries)
    assert (3, Code.INPUT_ROW) == (bad.line, bad.code)
    assert re.fullmatch(rf"\d{{6}} bytes on \d+ lines, the limit is {LONGEST_LINE_BYTES}", bad.message)
    assert ["http://a.com/1", "http://a.com/3"] == urls_of(iter(entries))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'http://a.com/2,"first\nsec\xffond\nthird"\n', "byte 0xff at position 4 is not UTF-8, on line 4"),
        (b'http://a.com/2,"f\xfcrst\nsecond"\n', "byte 0xfc at position 18 is not UTF-8"),
        (b'http://a.com/2,"first\nsecond\nthird",x\n', "3 columns where the header has 2"),
        (b',"first\nsecond\nthird"\n', 'the column "url" is empty'),
    ],
    ids=["encoding", "encoding of the first line", "width", "no url"],
)
def test_a_bad_row_on_many_lines_is_one_bad_row(write: Write, row: bytes, message: str) -> None:
    content = b"url,x\nhttp://a.com/1,a\n" + row + b"http://a.com/3,c\n"

    entries = list(read_sources(write("list.csv", content)))

    (bad,) = rows_of(entries)
    assert (3, message) == (bad.line, bad.message)
    assert ["http://a.com/1", "http://a.com/3"] == urls_of(iter(entries))


@pytest.mark.parametrize("base_url", ["", "http://a.com/"])
def test_an_open_quote_that_closes_far_behind_costs_one_line(write: Write, base_url: str) -> None:
    start = "photos/" if base_url else "http://a.com/"
    rows = "".join(f"{start}{number},x\n" for number in range(8000))
    content = f'url,x\n{start}open,"\n{rows}{start}close,"\n{start}last,x\n'

    entries = list(read_sources(write("list.csv", content), ListFormat(base_url=base_url)))

    assert [(2, Code.INPUT_ROW), (8003, Code.INPUT_ROW)] == bad_of(iter(entries))
    assert 8001 == len(urls_of(iter(entries)))


def test_rows_that_a_quote_swallowed_are_remarked(write: Write) -> None:
    content = 'url,x\nhttp://a.com/1,"a\nhttp://a.com/2,b"\nhttp://a.com/3,"two\nlines"\n'
    columns = Columns()

    entries = list(read_sources(write("list.csv", content), columns=columns))

    assert ["http://a.com/1", "http://a.com/3"] == urls_of(iter(entries))
    (remark,) = columns.remarks
    assert (1, 2) == (remark.rows, remark.first_line)
    assert 'quoting = "none"' in remark.text


def test_quotes_that_never_match_cost_time_in_proportion(write: Write) -> None:
    kinds = cycle(['http://a.com/{},"x\n', "http://a.com/{},a\"b\n", 'http://a.com/{},""x\n', "http://a.com/{},x\n"])
    rows = [kind.format(number) for number, kind in zip(range(4000), kinds, strict=False)]

    entries = list(read_sources(write("list.csv", "url,x\n" + "".join(rows))))

    assert 4000 == len(entries)
    assert 2000 == len(urls_of(iter(entries)))


def test_a_table_knows_its_columns_as_text(write: Write) -> None:
    columns = Columns()

    list(read_sources(write("list.csv", "n,url,caption\n7,http://a.com/1,x\n"), columns=columns))

    assert {"n": "text", "caption": "text"} == columns.types
    assert {"n": "7", "caption": None} == columns.fit({"n": "7"})


def test_a_table_of_too_many_columns_is_refused(write: Write) -> None:
    header = ",".join(["url", *(f"c{number}" for number in range(1001))])

    with pytest.raises(UsageError, match="more than 1,000 columns"):
        read_sources(write("list.csv", f"{header}\n"))
