"""Keys of features that are not built yet: accepted at the value that means "off", refused with the reason elsewhere.

Whoever builds one of them deletes its line from `NOT_YET`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """One key: which values are accepted meanwhile, and the sentence for the others."""

    allows: Callable[[object], bool]
    reason: str


def _only(off: object, feature: str) -> NotYet:
    shown = str(off).lower() if isinstance(off, bool) else f'"{off}"'
    return NotYet(allows=lambda value: value == off, reason=f"must be {shown}: {feature} not built yet.")


NOT_YET: Mapping[str, NotYet] = {
    "job.input": NotYet(
        allows=lambda value: not str(value).lower().endswith((".parquet", ".parquet.gz")),
        reason="parquet lists are not built yet; export the list as .csv or .jsonl.",
    ),
    "download.keep_originals": _only(False, "storing the originals is"),
    "output.layout": _only("files", "tar shards are"),
}


def find_not_yet(tables: Mapping[str, object]) -> Iterator[tuple[Loc, object, str]]:
    """Yields where, the value and the reason for each key that asks for something not built yet.

    `tables` is the config before validation, so that these problems are reported together with all others.
    """
    for key, entry in NOT_YET.items():
        table_name, name = key.split(".")
        table = tables.get(table_name)
        if isinstance(table, Mapping) and name in table and not entry.allows(table[name]):
            yield (table_name, name), table[name], entry.reason
