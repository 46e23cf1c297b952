"""What bench.json keeps of the laboratory: tables and judged claims, checked when they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from batchproc.lab.table import Place, Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An element of `experiments`: the table, or why there is none. `seconds` is how long it took."""

    name: str
    question: str
    table: Table | None
    failure: str | None
    seconds: float
    others_cpu_share: float | None


class Verdict(StrEnum):
    """What the measurement says to a statement."""

    HOLDS = "holds"
    HERE_NOT_THERE = "holds_here_not_there"
    REFUTED = "refuted"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One figure that a claim was judged by: the cell of an experiment's table, with its series and place."""

    name: str
    value: float
    unit: str
    experiment: str = ""
    x: Place | None = None
    x_unit: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An element of `claims`."""

    id: int
    statement: str
    verdict: Verdict
    meaning: str
    numbers: tuple[Number, ...] = ()
    needs: tuple[str, ...] = ()


_FINITE = ConfigDict(allow_inf_nan=False)
TABLES = TypeAdapter(tuple[Table], config=_FINITE)
_RESULTS = TypeAdapter(tuple[Result], config=_FINITE)
_JUDGED = TypeAdapter(tuple[Judged], config=_FINITE)


def read_results(entries: object) -> tuple[list[Result], int]:
    """The experiments of bench.json, and how many entries are not of this form, as those of older versions."""
    return _read(_RESULTS, entries)


def read_claims(entries: object) -> tuple[list[Judged], int]:
    """The claims of bench.json, and how many entries are none."""
    return _read(_JUDGED, entries)


def _read(adapter: TypeAdapter[tuple[T]], entries: object) -> tuple[list[T], int]:
    listed: Sequence[Any] = entries if isinstance(entries, list | tuple) else ()
    found: list[T] = []
    for entry in listed:
        try:
            found += adapter.validate_python((entry,))
        except ValidationError:
            continue
    return found, len(listed) - len(found)
