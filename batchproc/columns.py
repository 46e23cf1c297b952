"""The columns of a list, learned row by row: one type for each over the whole list, and what is to be said of them.

Loaders of data sets decide the type of a column from its first rows, and lose or refuse what does not fit later. So
`metadata.jsonl` has one type per column, and every row has every column.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import Struct

from batchproc.redact import printable

MOST_COLUMNS = 1_000  # every row of metadata.jsonl has them all
DEEPEST_TYPED = 8  # levels that keep their form in metadata.jsonl; a column that goes deeper is JSON text
MOST_KEYS = 100  # of an object with a type of its own; one that has more is a table by itself: JSON text
MOST_SHAPES = 1_000
EXACT = 2**53  # whole numbers up to here have a float of the same value
LARGEST = 2**63  # of a 64-bit integer, which is what loaders know
FILE_NAME_ENDINGS = ("file_name", "file_names")  # what the imagefolder loader takes for paths of images


class Scalar(StrEnum):
    """The type of a column whose values are neither lists nor objects."""

    NULL = "null"  # nothing else came so far
    BOOL = "bool"
    INT = "int"
    LONG = "long"  # whole numbers that no float holds exactly
    FLOAT = "float"
    TEXT = "text"


KINDS = {
    Scalar.NULL: "nothing",
    Scalar.BOOL: "true or false",
    Scalar.INT: "whole numbers",
    Scalar.LONG: "whole numbers that no decimal number holds",
    Scalar.FLOAT: "decimal numbers",
    Scalar.TEXT: "text",
}
DECIDING = frozenset({int, list, dict})  # whose type depends on the value: on its size, or on what is in it
NOTHING: frozenset[type] = frozenset()

# A list is [type of its elements], an object {name: type}; every object of a column has every key of any of them.
Type: TypeAlias = "Scalar | list[Any] | dict[str, Any]"
Shape: TypeAlias = "tuple[str | type, ...]"  # keys, then kinds of their values


class TooManyColumnsError(Exception):
    """A list has more than `MOST_COLUMNS` columns."""


class Remark(Struct, frozen=True, kw_only=True):
    """Something that was noticed, or fixed silently, in so many rows of a list."""

    text: str
    rows: int
    first_line: int

    def __str__(self) -> str:
        return self.describe()

    def describe(self, place: Callable[[int], str] = "line {}".format) -> str:
        """A sentence; `place` says where a line stands."""
        first = place(self.first_line)
        where = f"on {first}" if self.rows == 1 else f"on {self.rows:,} lines, first {first.removeprefix('line ')}"
        return f"{self.text} ({where})"


class Columns:
    """The columns of one list. Learned by its reader; not to be shared between threads meanwhile.

    Most rows look like those before: the same keys, and values of the same kinds. They cost one look-up.
    """

    def __init__(self) -> None:
        self.types: dict[str, Type] = {}  # in the order in which the list brought them
        self._mixed: set[str] = set()  # whose values have to be converted to their column's type
        self._remarks: dict[str, tuple[int, int]] = {}  # text -> rows, first line
        # What the types hold already: shapes of rows and objects, each with the keys whose values matter all the same;
        # kinds of elements of lists.
        self._rows: dict[Shape, tuple[str, ...]] = {}
        self._objects: dict[Shape, tuple[str, ...]] = {}
        self._elements: dict[str, set[type]] = {}

    @property
    def remarks(self) -> list[Remark]:
        """What there is to say, in the order in which it came up."""
        return [Remark(text=text, rows=rows, first_line=line) for text, (rows, line) in self._remarks.items()]

    def declare(self, samples: Mapping[str, Any]) -> None:
        """The columns of a table, each with a value of the kind that all of its values have.

        Raises `TooManyColumnsError`.
        """
        for name, value in samples.items():
            self._merge(name, value, 0)

    def observe(self, row: Mapping[str, Any], line: int) -> None:
        """Learns from a row. Raises `TooManyColumnsError`."""
        deciding = self._rows.get((*row, *map(type, row.values())))
        if deciding is None:
            for name, value in row.items():
                self._merge(name, value, line)
            _remember(self._rows, (*row, *map(type, row.values())), row)
            return
        for name in deciding:
            value = row[name]
            if type(value) is int:
                if -EXACT <= value <= EXACT or (self.types[name] == Scalar.LONG and -LARGEST <= value < LARGEST):
                    continue
            elif self._holds_list(name, value) if type(value) is list else self._holds_object(name, value):
                continue
            self._merge(name, value, line)

    def remark(self, text: str, line: int) -> None:
        """Notes something of a row."""
        rows, first_line = self._remarks.get(text, (0, line))
        if rows or len(self._remarks) < MOST_COLUMNS:
            self._remarks[text] = rows + 1, first_line

    def fit(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with every column, each value of its column's type."""
        types, mixed = self.types, self._mixed
        return {name: fit(row.get(name), types[name]) if name in mixed else row.get(name) for name in types}

    @property
    def form(self) -> str:
        """What decides how `fit` makes a row, as text."""
        return json.dumps({"types": self.types, "mixed": sorted(self._mixed)})

    def dump(self) -> str:
        """The columns as text, for `parse`."""
        return json.dumps({"types": self.types, "mixed": sorted(self._mixed), "remarks": self._remarks})

    @classmethod
    def parse(cls, text: str) -> "Columns":
        """The columns that `dump` wrote."""
        columns = cls()
        columns.load(text)
        return columns

    def load(self, text: str) -> None:
        """Becomes what `dump` wrote."""
        known = json.loads(text)
        self.types = known["types"]
        self._mixed = set(known["mixed"])
        self._remarks = {name: (counted[0], counted[1]) for name, counted in known["remarks"].items()}
        self._rows, self._objects, self._elements = {}, {}, {}

    def _holds_list(self, name: str, value: list[Any]) -> bool:
        known = self._elements.get(name, NOTHING)
        return known.issuperset(map(type, value)) and (int not in known or all(map(_is_exact, value)))

    def _holds_object(self, name: str, value: dict[str, Any]) -> bool:
        deciding = self._objects.get((name, *value, *map(type, value.values())))
        return deciding is not None and all(_is_exact(value[key]) for key in deciding)

    def _merge(self, name: str, value: Any, line: int) -> None:
        new = type_of(value)
        known = self.types.get(name)
        if known is None:
            if len(self.types) >= MOST_COLUMNS:
                raise TooManyColumnsError
            known = self.types[name] = new
        merged = self.types[name] = merge(known, new)
        if merged != Scalar.TEXT:
            if merged == Scalar.FLOAT or not isinstance(merged, str):
                self._mixed.add(name)
        elif not isinstance(value, str | None) or known not in (Scalar.TEXT, Scalar.NULL):
            if known != Scalar.TEXT or name not in self._mixed:
                self.remark(f'"{printable(name)}" became text: {_why_text(known, new, value)}', line)
            self._mixed.add(name)
        if isinstance(value, list | dict):
            self._remember_nested(name, value)

    def _remember_nested(self, name: str, value: list[Any] | dict[str, Any]) -> None:
        """Remembers of which kinds a list's elements or an object's values are, where those are not nested again."""
        kinds = set(map(type, value.values() if isinstance(value, dict) else value))
        if not kinds.isdisjoint((list, dict)):
            return
        if isinstance(value, list):
            self._elements.setdefault(name, set()).update(kinds)
        else:
            _remember(self._objects, (name, *value, *map(type, value.values())), value)


def _remember(shapes: dict[Shape, tuple[str, ...]], shape: Shape, row: Mapping[str, Any]) -> None:
    if len(shapes) >= MOST_SHAPES:  # any choice of many keys: none comes often
        shapes.clear()
    shapes[shape] = tuple(name for name, value in row.items() if type(value) in DECIDING)


def _is_exact(value: Any) -> bool:
    return type(value) is not int or -EXACT <= value <= EXACT


def _why_text(known: Type, new: Type, value: Any) -> str:
    """Why a column's values have no other type in common."""
    if new == Scalar.TEXT and not isinstance(value, str):
        if isinstance(value, int):
            return "it has a whole number of more than 64 bits"
        return "it has nested values that loaders would not read alike"
    return f"it has {_describe(known)} and {_describe(new)}"


def _describe(known: Type) -> str:
    if isinstance(known, list):
        return "lists"
    return "objects" if isinstance(known, dict) else KINDS[Scalar(known)]


def type_of(value: Any, level: int = 0) -> Type:
    """The type of one value."""
    if value is None:
        return Scalar.NULL
    if isinstance(value, str):
        return Scalar.TEXT
    if isinstance(value, bool):
        return Scalar.BOOL
    if isinstance(value, float):
        return Scalar.FLOAT
    if isinstance(value, int):
        if -EXACT <= value <= EXACT:
            return Scalar.INT
        return Scalar.LONG if -LARGEST <= value < LARGEST else Scalar.TEXT
    if level >= DEEPEST_TYPED:
        return Scalar.TEXT
    return _type_of_list(value, level) if isinstance(value, list) else _type_of_object(value, level)


def _type_of_list(value: list[Any], level: int) -> Type:
    element: Type = Scalar.NULL
    for entry in value:
        element = merge(element, type_of(entry, level + 1))
    return [element]


def _type_of_object(value: Mapping[str, Any], level: int) -> Type:
    types = {name: type_of(entry, level + 1) for name, entry in value.items()}
    return types if _is_plain(types) else Scalar.TEXT


def merge(one: Type, other: Type) -> Type:
    """The type that holds what both hold; text, where there is no other."""
    if one == other or other == Scalar.NULL:
        return one
    if one == Scalar.NULL:
        return other
    if isinstance(one, list) and isinstance(other, list):
        return [merge(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict):
        merged = {name: merge(one.get(name, Scalar.NULL), other.get(name, Scalar.NULL)) for name in one | other}
        return merged if _is_plain(merged) else Scalar.TEXT
    if isinstance(one, str) and isinstance(other, str):
        pair = {one, other}
        if pair == {Scalar.INT, Scalar.LONG}:
            return Scalar.LONG
        if pair == {Scalar.INT, Scalar.FLOAT}:
            return Scalar.FLOAT
    return Scalar.TEXT


def _is_plain(names: Mapping[str, Any]) -> bool:
    """Whether an object of these keys is one for every loader: two keys that differ by case alone are one for some."""
    lower = {name.lower() for name in names}
    return len(lower) == len(names) <= MOST_KEYS and not any(name.endswith(FILE_NAME_ENDINGS) for name in lower)


def fit(value: Any, wanted: Type) -> Any:
    """The value as one of this type."""
    if value is None:
        return None
    if isinstance(wanted, list):
        return [fit(entry, wanted[0]) for entry in value]
    if isinstance(wanted, dict):
        return {name: fit(value.get(name), wanted[name]) for name in wanted}
    if wanted == Scalar.TEXT and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return float(value) if wanted == Scalar.FLOAT else value
