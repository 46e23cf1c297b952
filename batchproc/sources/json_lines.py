"""JSON Lines: an object per line. What parsers of JSON disagree about is fixed and remarked, never passed on.

A list that a lenient program wrote may hold NaN, halves of surrogate pairs, a key twice, or a number of any length.
None of them is worth an image, and all of them would keep the data set from loading.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from math import isfinite
from typing import Any

from batchproc.columns import Columns
from batchproc.redact import printable
from batchproc.sources.lines import (
    LONGEST_LINE_BYTES,
    Entry,
    ItemMaker,
    ListFormat,
    LongLine,
    Segments,
    bad_encoding,
    bad_row,
    head_of,
    make_encoder,
    nearest,
    refuse,
)

DEEPEST = 100  # levels of nesting: what reads the ledger and the manifests must not run out of its stack
TOO_DEEP = f"is nested more than {DEEPEST} levels deep"
LONGEST_NUMBER = 4_000  # digits; `int` refuses 4,300
SURROGATE = re.compile("[\ud800-\udfff]")
SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
NO_NUMBER = "NaN, Infinity or a number beyond all others became null"
HALF_CHARACTER = "half a character (a lone surrogate) became U+FFFD"


def read_json_lines(
    segments: Segments, name: str, *, format: ListFormat, maker: ItemMaker, columns: Columns
) -> Iterator[Entry]:
    """The entries of a JSON Lines list. Raises `UsageError` where the file is one JSON value over all its lines."""
    reader = _RowReader(format, maker, columns)
    is_first, number = segments.known is None, segments.line
    yield from segments.begin(columns)
    for lines in segments:
        for number, content in lines:
            if not (text := head_of(content).strip()):
                continue
            if is_first:
                _refuse_other_json(text, name)
                is_first = False
            if isinstance(content, LongLine):
                message = f"{content.size_bytes} bytes on one line, the limit is {LONGEST_LINE_BYTES}"
                yield bad_row(number, content.head, message)
            else:
                yield reader.read(number, text)
        checkpoint = segments.end(number, columns)
        if checkpoint and not is_first:
            yield checkpoint


def _refuse_other_json(first: bytes, name: str) -> None:
    """Refuses what would be a bad row in each of its lines."""
    if first.startswith(b"["):
        refuse(name, f"is a JSON array, not an object per line: `jq -c '.[]' {name} > list.jsonl` makes one of it.")
    if first == b"{":
        refuse(name, f"is JSON over many lines, not an object per line: `jq -c . {name} > list.jsonl` makes one of it.")


class _RowReader:
    """Makes the entry of one line. For one list."""

    def __init__(self, format: ListFormat, maker: ItemMaker, columns: Columns) -> None:
        self._format = format
        self._maker = maker
        self._changes_columns = format.changes_columns
        self._columns = columns
        self._has_no_number = False  # NaN or the like was in it
        self._decode = self._make_decoder(None)
        self._decode_long_numbers = self._make_decoder(_whole_number)
        self._encode = make_encoder()

    def read(self, number: int, content: bytes) -> Entry:
        """The entry of a line that is not blank."""
        self._has_no_number = False
        try:
            text = content.decode()
            try:
                row, end = self._decode(text)
            except json.JSONDecodeError:
                raise
            except ValueError:  # a whole number that `int` finds too long
                row, end = self._decode_long_numbers(text)
            if end != len(text):
                raise json.JSONDecodeError("Extra data", text, end)
            if isinstance(row, dict):
                return self._entry(number, content, text, row)
            return bad_row(number, content, "is not an object in braces")
        except UnicodeDecodeError:
            return bad_encoding(number, content)
        except json.JSONDecodeError as error:
            return bad_row(number, content, f"is not JSON at position {error.pos + 1}: {error.msg}")
        except RecursionError:
            return bad_row(number, content, TOO_DEEP)

    def _entry(self, number: int, content: bytes, text: str, row: dict[str, Any]) -> Entry:
        format = self._format
        if format.url_column not in row:
            return bad_row(number, content, _describe_missing(format.url_column, row))
        url = row.pop(format.url_column)
        if not isinstance(url, str) or not url.strip(" "):
            return bad_row(number, content, f'"{format.url_column}" must be a text with the URL')
        item_id = row.get(format.id_column, "") if format.id_column else ""
        if format.id_column and (isinstance(item_id, bool) or not isinstance(item_id, str | int) or item_id == ""):
            return bad_row(number, content, f'"{format.id_column}" must be a text or a whole number')
        extra_json = self._encode_extras(number, content, row) if row else ""
        objects = extra_json.count("{")
        if objects + extra_json.count("[") > DEEPEST and _depth(row) > DEEPEST:
            return bad_row(number, content, TOO_DEEP)
        keys = len(row) if objects < 2 else extra_json.count('":')
        if keys + 1 != text.count('":'):  # it was read with fewer keys than it has, or is written in an unusual way
            repeated = find_repeated_keys(text)
            for name in (format.url_column, format.id_column):
                if name in repeated:
                    return bad_row(number, content, f'has "{name}" twice, with two values')
            for name in sorted(repeated):
                self._columns.remark(f'the key "{printable(name)}" stands twice: its last value counts', number)
        return self._maker.make(number, url.strip(" "), str(item_id), extra_json)

    def _encode_extras(self, number: int, content: bytes, row: dict[str, Any]) -> str:
        """The other columns as JSON that every parser reads alike; the columns learn from them."""
        columns = self._columns
        if self._changes_columns:
            row = self._carry(row, number)
        if (b"\\ud" in content or b"\\uD" in content) and SURROGATE_ESCAPE.search(content):
            fixed = _change_leaves(row, _fix_text)
            if fixed != row:
                row = fixed
                columns.remark(HALF_CHARACTER, number)
        try:
            extra_json = self._encode(row)
        except ValueError:  # 1e999 is JSON, and infinite
            self._has_no_number = True
            row = null_numbers(row)
            extra_json = self._encode(row)
        columns.observe(row, number)
        if self._has_no_number:
            columns.remark(NO_NUMBER, number)
        return extra_json

    def _carry(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """The columns that are carried along, under their names."""
        carried = [(name, new) for name in row if (new := self._format.carried(name)) is not None]
        if len(dict(carried)) > len({new for _, new in carried}):
            self._columns.remark("[job.columns] gives two keys one name: the last one counts", number)
        return {new: row[name] for name, new in carried}

    def _make_decoder(self, parse_int: Callable[[str], Any] | None) -> Callable[[str], tuple[Any, int]]:
        return json.JSONDecoder(parse_int=parse_int, parse_constant=self._make_null).raw_decode

    def _make_null(self, constant: str) -> None:
        self._has_no_number = True


def find_repeated_keys(text: str) -> set[str]:
    """The keys of a JSON text that stand twice in one object, with two values."""
    repeated: set[str] = set()

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        repeated.update(name for name, value in pairs if value != made[name])
        return made

    json.JSONDecoder(object_pairs_hook=make, parse_int=str, parse_constant=str).decode(text)
    return repeated


def _whole_number(digits: str) -> int | str:
    """The number, or one that no program would take for a number as the text that it is."""
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits


def _depth(value: Any) -> int:
    """How many lists and objects stand in each other."""
    depth, level = 0, [value]
    while level := [entry for entry in level if isinstance(entry, dict | list)]:
        depth += 1
        level = list(chain.from_iterable(entry.values() if isinstance(entry, dict) else entry for entry in level))
    return depth


def _change_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {change(name): _change_leaves(entry, change) for name, entry in value.items()}
    if isinstance(value, list):
        return [_change_leaves(entry, change) for entry in value]
    return change(value)


def _fix_text(value: Any) -> Any:
    return SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def null_numbers(row: dict[str, Any]) -> Any:
    """The row with null for what JSON does not take for a number: NaN and the infinite."""
    return _change_leaves(row, lambda value: None if isinstance(value, float) and not isfinite(value) else value)


def _describe_missing(column: str, row: dict[str, Any]) -> str:
    near = nearest(column, row)
    return f'no "{column}" in it; did you mean [job] url_column = "{near}"?' if near else f'no "{column}" in it'
