"""A measured number: the median of interleaved repeats with its exact interval, and every value behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from batchproc.bench.statistics import log_ratios, median_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One figure of an experiment. `x` places it in a sweep: figures of one name make a curve.

    `low` and `high` are the exact 95 % interval of the median; None for too few values, or for a count.
    """

    name: str
    value: float
    unit: str
    x: float | None = None
    x_unit: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """An element of an experiment's `numbers` in bench.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Number":
        """What `to_json` wrote."""
        return cls(**{**facts, "values": tuple(facts["values"])})


def repeated(name: str, values: Sequence[float], unit: str, *, x: float | None = None, x_unit: str = "") -> Number:
    """The median of repeats with its interval."""
    interval = median_interval(values)
    return Number(
        name=name,
        value=median(values),
        unit=unit,
        x=x,
        x_unit=x_unit,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        values=tuple(values),
    )


def gain(
    name: str, seconds: Sequence[float], against: Sequence[float], *, x: float | None = None, x_unit: str = ""
) -> Number:
    """How many times as fast as `against`: the median of the rounds' own ratios, so that slow drifts cancel."""
    logs = [-each for each in log_ratios(seconds, against)]
    interval = median_interval(logs)
    return Number(
        name=name,
        value=math.exp(median(logs)),
        unit="x",
        x=x,
        x_unit=x_unit,
        low=math.exp(interval.low) if interval else None,
        high=math.exp(interval.high) if interval else None,
        values=tuple(map(math.exp, logs)),
    )


def counted(name: str, value: float, unit: str) -> Number:
    """A figure that is exact, or has no repeats."""
    return Number(name=name, value=float(value), unit=unit, values=(float(value),))
