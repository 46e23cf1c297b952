"""Figures over time in constant memory: when the table is full, neighbours are merged and it grows half as fast."""

from collections.abc import Mapping
from typing import TypeAlias

Row: TypeAlias = Mapping[str, float | None]
CAPACITY = 600
TIME = "t_seconds"


class Series:
    """Rows of named figures, oldest first. Not thread-safe.

    How two rows become one depends on the name: `…_total` and the time keep the later value, so rates between rows stay
    exact; `…_bytes` keeps the larger, so peaks survive; everything else is averaged, weighted by the rows behind it.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._rows: list[dict[str, float | None]] = []
        self._weights: list[int] = []
        self._stride = 1  # looks behind one full row
        self._open: tuple[dict[str, float | None], int] | None = None

    def add(self, row: Row) -> None:
        """Adds one look; looks are collected until they make a row as long as the others."""
        merged = (dict(row), 1) if self._open is None else merge(self._open, (dict(row), 1))
        if merged[1] < self._stride:
            self._open = merged
            return
        self._open = None
        self._append(merged)

    def _append(self, merged: tuple[dict[str, float | None], int]) -> None:
        self._rows.append(merged[0])
        self._weights.append(merged[1])
        if len(self._rows) >= self._capacity:
            self._halve()

    def _halve(self) -> None:
        """The first row stays as it is: it is the start of the run."""
        pairs = list(zip(self._rows, self._weights, strict=True))
        halved = pairs[:1]
        for index in range(1, len(pairs), 2):
            pair = pairs[index : index + 2]
            halved.append(pair[0] if len(pair) == 1 else merge(pair[0], pair[1]))
        self._rows = [row for row, _ in halved]
        self._weights = [weight for _, weight in halved]
        self._stride *= 2

    def columns(self) -> dict[str, list[float | None]]:
        """Every figure as a list, all of one length, the unfinished row included."""
        rows = [*self._rows, self._open[0]] if self._open else self._rows
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name) for row in rows] for name in names}

    def __len__(self) -> int:
        return len(self._rows) + (self._open is not None)


def merge(
    earlier: tuple[dict[str, float | None], int], later: tuple[dict[str, float | None], int]
) -> tuple[dict[str, float | None], int]:
    """Two rows with their weights as one."""
    names = dict.fromkeys([*earlier[0], *later[0]])
    weights = earlier[1], later[1]
    merged = {name: _join(name, earlier[0].get(name), later[0].get(name), weights) for name in names}
    return merged, sum(weights)


def _join(name: str, earlier: float | None, later: float | None, weights: tuple[int, int]) -> float | None:
    if earlier is None or later is None:
        return earlier if later is None else later
    if name == TIME or name.endswith("_total"):
        return later

    if name.endswith("_bytes"):
        return max(earlier, later)
    return (earlier * weights[0] + later * weights[1]) / sum(weights)
