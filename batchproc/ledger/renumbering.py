"""The order of the items in a ledger that was made anew: that of the old one, as far as the manifests show it.

A job's items stand in the order in which its lists brought them, and the list may have been reordered since, or have
got new lines in its middle. Both manifests are in the old order: where one of them contradicts the list, it wins.
"""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from batchproc.ledger.schema import touch, transaction


def renumber(connection: sqlite3.Connection, made: Sequence[int], left: Sequence[int]) -> bool:
    """Gives the items new ids when `made` or `left`, each without repetition, are not in their order; says whether."""
    if _is_ascending(made) and _is_ascending(left):
        return False
    named = {*made, *left}
    first = set(made)
    second = [item for item in left if item not in first]
    with transaction(connection):
        rest = [item for (item,) in connection.execute("SELECT id FROM item ORDER BY id") if item not in named]
        # `merge` takes the smallest head: each sequence keeps its order, and the list decides between them.
        order = heapq.merge(made, second, rest)
        _apply(connection, order)
        touch(connection)
    return True


def _apply(connection: sqlite3.Connection, order: Iterable[int]) -> None:
    connection.execute("CREATE TEMP TABLE place (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
    connection.executemany("INSERT INTO place VALUES (?, ?)", _numbered(order))
    connection.execute("UPDATE item SET id = -(SELECT new FROM place WHERE old = id)")  # no id may come twice meanwhile
    connection.execute("UPDATE item SET id = -id")
    connection.execute("UPDATE listed_row SET item = -(SELECT new FROM place WHERE old = item)")
    connection.execute("UPDATE listed_row SET item = -item")
    connection.execute("DROP TABLE place")
    connection.execute("DELETE FROM manifest_block")


def _numbered(order: Iterable[int]) -> Iterator[tuple[int, int]]:
    return ((old, new) for new, old in enumerate(order, start=1))


def _is_ascending(items: Sequence[int]) -> bool:
    return all(first < second for first, second in pairwise(items))
