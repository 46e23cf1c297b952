"""The columns that a table has to have, and what is said where one is missing."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where a table has what: the URL, and the item's own id or nothing."""

    url: str
    id: str = ""


def nearest(column: str, columns: Iterable[str]) -> str:
    """The column that is most like this one, whatever its case, or nothing."""
    names = {name.lower(): name for name in columns}
    near = difflib.get_close_matches(column.lower(), names, 1)
    return names[near[0]] if near else ""
