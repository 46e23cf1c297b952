"""Lists with everything that loaders of data sets trip over, and what each column has to be once it was loaded.

The expected names and values are written by hand: they are the promise, not what the program makes of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PICTURES = 3
ROWS = 15_600  # of about 700 bytes: more than the 10 MiB from which the imagefolder loader takes its types
LATE = 15_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A list, and its columns as loaders have to give them, row by row in the order of metadata.jsonl."""

    name: str
    suffix: str
    text: str
    expected: Mapping[str, Sequence[Any]]
    settings: Mapping[str, str]
    pictures: Sequence[int]  # which picture each row is of
    is_inferred: bool = True  # whether a loader that is only told "imagefolder" finds the types by itself


def url(number: int) -> str:
    """The listed text of a picture's URL: relative to the server."""
    return f"/{number}.png"


def make_cases() -> list[Case]:
    """All lists of the campaign."""
    return [_names(), _types(), _semicolons(), _tabs(), _rows(), _late()]


NAMES = {  # in the list: in metadata.jsonl
    "caption": "caption", "file_name": "list_file_name_", "original_file_name": "list_original_file_name_",
    "_file_name": "list__file_name_", "x_file_names": "list_x_file_names_", "file_names": "list_file_names_",
    "image": "list_image", "images": "images", "label": "label", "labels": "labels", "split": "split",
    "width": "list_width_2", "list_width": "list_width", "URL": "list_URL", "": "list_", "Caption": "Caption_2",
    "a.b": "a.b", "a/b": "a/b", "__key__": "__key__", "__url__": "__url__", "_type": "_type", "dtype": "dtype",
    "additional_feature": "additional_feature", "order": "order", "select": "select", "date": "date",
    "created_at": "created_at", "metadata": "metadata", "path": "path", "bytes": "bytes", "ünï 🙂": "ünï 🙂",
    'q"uo\'te': 'q"uo\'te', "rowid": "rowid", "jpg": "jpg", "json": "json", "features": "features", "None": "None",
}  # fmt: skip


def _names() -> Case:
    texts = ["plain", "ünïcödé 猫 🙂 \u2028 \x00", 'two\nlines, "quoted" \\ back\tslash']
    rows = [{name: f"{name}: {text}" for name in NAMES} for text in texts]
    for number, row in enumerate(rows):
        row |= {"x_file_names": ["a", f"{number}"], "file_names": ["b"]}  # type: ignore[dict-item]
    expected = {NAMES[name]: [row[name] for row in rows] for name in NAMES}
    return _json_case("names", rows, expected)


def _types() -> Case:
    rows: list[dict[str, Any]] = [
        {"id": 7, "mixed": 1, "late": None, "tags": [], "box": [1, 2], "o": {"a": 1}, "flag": True, "long": 2**53 + 1,
         "huge": 5, "clash": {"A": 1, "a": 2}, "inner": {"file_name": "x"}, "either": [1], "text": "007"},
        {"id": "7b", "mixed": 1.5, "tags": ["ü"], "box": [0.5, None], "o": {"b": "x"}, "flag": False, "long": 1,
         "huge": 2**64, "clash": None, "inner": None, "either": {"k": None}, "text": "1.5"},
        {"mixed": None, "late": "text", "tags": None, "box": None, "o": None, "flag": None, "long": -(2**63),
         "huge": None, "clash": {}, "inner": {"b": [1]}, "either": "x", "new": [{"k": 1}, {"l": [True]}],
         "text": "true"},
    ]  # fmt: skip
    expected: dict[str, list[Any]] = {
        "id": ["7", "7b", None],
        "mixed": [1.0, 1.5, None],
        "late": [None, None, "text"],
        "tags": [[], ["ü"], None],
        "box": [[1.0, 2.0], [0.5, None], None],
        "o": [{"a": 1, "b": None}, {"a": None, "b": "x"}, None],
        "flag": [True, False, None],
        "long": [2**53 + 1, 1, -(2**63)],
        "huge": ["5", str(2**64), None],
        "clash": ['{"A": 1, "a": 2}', None, "{}"],
        "inner": ['{"file_name": "x"}', None, '{"b": [1]}'],
        "either": ["[1]", '{"k": null}', "x"],
        "text": ["007", "1.5", "true"],
        "new": [None, None, [{"k": 1, "l": None}, {"k": None, "l": [True]}]],
        "nan": [None, None, None],
        "half": ["cut \ufffd", None, "\U0001f600"],
    }
    lines = [json.dumps({"url": url(number), **row}) for number, row in enumerate(rows)]
    lines[0] = lines[0][:-1] + r', "nan": NaN, "half": "cut \ud83d"}'
    lines[2] = lines[2][:-1] + r', "nan": -Infinity, "half": "\ud83d\ude00"}'
    return Case(
        name="types", suffix=".jsonl", text="\n".join(lines) + "\n", expected=expected, settings={},
        pictures=range(PICTURES),
    )  # fmt: skip


def _semicolons() -> Case:
    text = f'url;caption;width;\n{url(0)};"a;b\nc";7;x\n{url(1)};"ü ""q""";;\n{url(2)};;1,5;y\n'
    expected = {"caption": ["a;b\nc", 'ü "q"', ""], "list_width": ["7", "", "1,5"], "list_": ["x", "", "y"]}
    settings = {"delimiter": '";"'}
    return Case(name="semicolons", suffix=".csv", text=text, expected=expected, settings=settings, pictures=range(3))


def _tabs() -> Case:
    text = f'caption\turl\n"abc\t{url(0)}\ndef"\t{url(1)}\n5" wide\t{url(2)}\n'
    expected = {"caption": ['"abc', 'def"', '5" wide']}
    return Case(name="tabs", suffix=".tsv", text=text, expected=expected, settings={}, pictures=range(3))


def _rows() -> Case:
    rows = [(0, "a"), (1, "b"), (0, "c"), (2, None), (0, "d"), (1, "e")]
    text = "".join(json.dumps({"url": url(number), "caption": caption}) + "\n" for number, caption in rows)
    return Case(
        name="rows",
        suffix=".jsonl",
        text=text,
        expected={"caption": ["a", "c", "d", "b", "e", None]},
        settings={"duplicates": '"rows"'},
        pictures=[0, 0, 0, 1, 1, 2],
    )


def _late() -> Case:
    """Columns that change after 10 MiB, in more rows than there are pictures."""
    rows = [
        {
            "late_text": "here" if number >= LATE else None,
            "late_decimal": 1.5 if number >= LATE else 1,
            "late_list": ["x"] if number >= LATE else [],
            "late_keys": {"a": 1, "b": "x"} if number >= LATE else {"a": 1},
            **({"late_column": number} if number >= LATE else {}),
            "padding": f"{number} {'x' * 250}",
        }
        for number in range(ROWS)
    ]
    pictures = [number * PICTURES // ROWS for number in range(ROWS)]
    text = "".join(json.dumps({"url": url(pictures[number]), **row}) + "\n" for number, row in enumerate(rows))
    expected: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in rows[-1] if name != "late_keys"}
    expected["late_keys"] = [{"a": 1, "b": "x" if number >= LATE else None} for number in range(ROWS)]
    return Case(
        name="late",
        suffix=".jsonl",
        text=text,
        expected=expected,
        settings={"duplicates": '"rows"'},
        pictures=pictures,
        is_inferred=False,
    )


def _json_case(name: str, rows: Sequence[Mapping[str, Any]], expected: Mapping[str, Sequence[Any]]) -> Case:
    lines = [json.dumps({"url": url(number), **row}) + "\n" for number, row in enumerate(rows)]
    return Case(
        name=name, suffix=".jsonl", text="".join(lines), expected=expected, settings={}, pictures=range(PICTURES)
    )
