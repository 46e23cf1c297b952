"""An object per line; what is wrong with one costs that line, and what can be mended costs nothing."""

import json
from typing import Any

import pytest

from batchproc.columns import Columns
from batchproc.errors import Code, UsageError
from batchproc.model import ListedItem
from batchproc.sources import ListFormat, read_sources
from batchproc.sources.lines import LONGEST_LINE_BYTES
from tests.sources.conftest import Write, rows_of, urls_of

FIRST = '{"url": "http://a.com/0"}\n'


def read_extra(write: Write, row: str) -> tuple[Any, list[str]]:
    """The other columns of a row, and what is remarked of it."""
    columns = Columns()
    source = next(read_sources(write("list.jsonl", row), columns=columns))
    assert isinstance(source, ListedItem)
    return json.loads(source.extra_json), [str(remark) for remark in columns.remarks]


@pytest.mark.parametrize(
    ("says", "row"),
    [
        ("not JSON at position 2", "{url}"),
        ("not an object", '["http://a.com/1"]'),
        ('no "url" in it; did you mean [job] url_column = "urls"', '{"urls": "http://a.com/1"}'),
        ("must be a text", '{"url": 5}'),
        ("must be a text", '{"url": NaN}'),
        ("more than 100 levels deep", "[" * 30_000),
        ("more than 100 levels deep", '{"url": "http://a.com/1", "x": ' + "[" * 101 + "]" * 101 + "}"),
        ('"url" twice', '{"url": "http://a.com/1", "url": "http://a.com/2"}'),
        ("the limit is 65536", '{"url": "' + "x" * LONGEST_LINE_BYTES + '"}'),
    ],
    ids=["syntax", "list", "other key", "number", "NaN", "depth", "depth of a value", "two URLs", "length"],
)
def test_wrong_json_lines_cost_one_line_each(write: Write, says: str, row: str) -> None:
    entries = list(read_sources(write("list.jsonl", f'{FIRST}{row}\n{{"url": "http://a.com/2"}}\n')))

    (bad,) = rows_of(entries)
    assert (2, Code.INPUT_ROW) == (bad.line, bad.code)
    assert says in bad.message
    assert len(bad.url) <= 200
    assert ["http://a.com/0", "http://a.com/2"] == urls_of(iter(entries))


@pytest.mark.parametrize("tail", ["", "\n"])
@pytest.mark.parametrize(
    ("says", "content"),
    [
        ("is a JSON array.*jq -c '.\\[\\]'", f"[{FIRST.strip()},{FIRST.strip()}]"),
        ("is a JSON array", f"\n\n  [\n  {FIRST},\n {FIRST}]"),
        ("is a JSON array", '[{"url": "http://a.com/' + "x" * 2 * LONGEST_LINE_BYTES + '"}]'),
        ("is JSON over many lines.*jq -c", '{\n "images": [\n' + FIRST + "]}"),
    ],
    ids=["one line", "many lines", "a long line", "one object"],
)
def test_json_that_is_not_in_lines_is_one_refusal(write: Write, says: str, content: str, tail: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_sources(write("list.jsonl", content + tail))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "[1, NaN]", '{"a": -1e999}'])
def test_what_is_no_number_becomes_null_and_is_remarked(write: Write, number: str) -> None:
    extra, remarks = read_extra(write, f'\n{{"url": "http://a.com/1", "n": {number}, "m": 1.5}}\n')

    assert 1.5 == extra["m"]
    assert extra["n"] in (None, [1, None], {"a": None})
    assert ["NaN, Infinity or a number beyond all others became null (on line 2)"] == remarks


@pytest.mark.parametrize(
    ("mended", "text"),
    [
        ("cut \ufffd", r"cut \ud83d"),
        ("\ufffd\ufffda", r"\uDC00\uD83Da"),
        ({"k\ufffd": ["\ufffd", "\U0001f600"]}, None),
    ],
)
def test_half_a_character_becomes_the_replacement_character(write: Write, mended: object, text: str | None) -> None:
    value = r'{"k\ud800": ["\udfff", "\ud83d\ude00"]}' if text is None else f'"{text}"'

    extra, remarks = read_extra(write, f'{{"url": "http://a.com/1", "x": {value}}}')

    assert {"x": mended} == extra
    assert ["half a character (a lone surrogate) became U+FFFD (on line 1)"] == remarks


def test_whole_characters_written_as_escapes_are_left_alone(write: Write) -> None:
    extra, remarks = read_extra(write, r'{"url": "http://a.com/1", "x": "\ud83d\ude00 \\ud83d \u00e9"}')

    assert ({"x": "\U0001f600 \\ud83d é"}, []) == (extra, remarks)


@pytest.mark.parametrize("digits", [19, 30, 4_001, 10_000])
def test_a_whole_number_of_any_length_keeps_its_digits(write: Write, digits: int) -> None:
    columns = Columns()
    path = write("list.jsonl", f'{{"url": "http://a.com/1", "n": {"9" * digits}}}')

    source = next(read_sources(path, columns=columns))

    assert isinstance(source, ListedItem)
    decoded = json.JSONDecoder(parse_int=str).decode(source.extra_json)
    assert "9" * digits == decoded["n"]
    assert "text" == columns.types["n"]


def test_a_key_that_stands_twice_counts_the_last_time_and_is_remarked(write: Write) -> None:
    row = '{"url": "http://a.com/1", "x": 1, "x": 2, "same": 1, "same": 1, "o": {"k": 1, "k": 2}}'

    extra, remarks = read_extra(write, row)

    assert {"x": 2, "same": 1, "o": {"k": 2}} == extra
    assert [
        'the key "k" stands twice: its last value counts (on line 1)',
        'the key "x" stands twice: its last value counts (on line 1)',
    ] == remarks


def test_an_id_that_stands_twice_is_a_bad_row(write: Write) -> None:
    path = write("list.jsonl", '{"url": "http://a.com/1", "id": 1, "id": 2}')

    (bad,) = read_sources(path, ListFormat(id_column="id"))

    assert isinstance(bad, ListedItem)
    assert 'has "id" twice, with two values' == bad.message


def test_rows_of_any_shape_teach_their_columns(write: Write) -> None:
    rows = [{"n": 1}, {"n": 1.5, "late": "x"}, {"tags": ["a"]}, {"n": None, "tags": []}]
    path = write("list.jsonl", "".join(json.dumps({"url": "http://a.com/1", **row}) + "\n" for row in rows))
    columns = Columns()

    list(read_sources(path, columns=columns))

    assert {"n": "float", "late": "text", "tags": ["text"]} == columns.types


def test_a_list_of_any_number_of_keys_is_refused(write: Write) -> None:
    rows = "".join(f'{{"url": "http://a.com/{number}", "key{number}": 1}}\n' for number in range(1001))

    with pytest.raises(UsageError, match="more than 1,000 columns"):
        list(read_sources(write("list.jsonl", rows)))
