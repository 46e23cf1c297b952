"""What experiments give, one shape for all: places down, series across, each cell a median with its spread.

And what models say of it: where curves cross, the GIL-held fraction, ceilings. bench.json keeps the tables and the
judged claims, which are checked when they are read.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct, convert, field

from batchproc.bench.verdicts import log_ratios, median_interval
from batchproc.explain.predict import held_fraction

MANY_CORES = 1000  # beyond that, no number of cores is in sight
T = TypeVar("T")
Place: TypeAlias = float | str  # on an axis, or by its name
X = TypeVar("X", bound=Place)


class SeriesKind(StrEnum):
    """What the page does with a series; all of them stand in its table."""

    MAIN = "main"  # drawn, and told in the sentence
    CONTROL = "control"  # drawn faintly
    MODEL = "model"  # computed from other measurements: drawn dashed, and told
    FIGURE = "figure"  # in the table alone


class Cell(Struct, frozen=True, kw_only=True):
    """A median of interleaved repeats, and every one of them.

    `low` and `high` are the exact 95% interval of the median, or the range that a model leaves open; None where there
    are too few values for one, or it is a count.
    """

    x: Place
    value: float
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; where there is none, the least and the most that were seen."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return min(self.values, default=self.value), max(self.values, default=self.value)

    def is_below(self, other: "Cell") -> bool:
        """Whether it is the smaller one with its whole interval, or with all that was seen."""
        return self.ends[1] < other.ends[0]


class ResultSeries(Struct, frozen=True, kw_only=True):
    """One quantity in its unit (`s/item`, `bytes`, `share`; `x` is a ratio), at one or more places.

    `predicts` names the series that a model is about; `sides` is what it means for a ratio to be below and above 1.
    """

    name: str
    unit: str
    cells: tuple[Cell, ...]
    kind: SeriesKind = SeriesKind.MAIN
    predicts: str = ""
    sides: tuple[str, str] = ("slower", "faster")

    def at(self, x: Place) -> Cell | None:
        """The cell of a place."""
        return next((cell for cell in self.cells if cell.x == x), None)

    @property
    def curve(self) -> dict[float, float]:
        """The medians above 0 along the axis; empty where places have names."""
        found = {cell.x: cell.value for cell in self.cells if isinstance(cell.x, float | int) and cell.value > 0}
        return dict(sorted(found.items()))


class Crossing(Struct, frozen=True, kw_only=True):
    """Where two series change their order: measured, and predicted from other measurements, None for nowhere."""

    first: str
    second: str
    measured: tuple[float, ...] = ()
    predicted: float | None = None
    is_predicted: bool = False


class ResultTable(Struct, frozen=True, kw_only=True):
    """What an experiment gives. `x` and `y` name the axes, `x_unit` is the unit of places that are numbers.

    `facts` are single numbers that stand for the whole table; their names end in the unit.
    """

    x: str
    series: tuple[ResultSeries, ...]
    x_unit: str = ""
    y: str = ""
    crossings: tuple[Crossing, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)

    def find(self, name: str) -> ResultSeries | None:
        """The series of that name."""
        return next((one for one in self.series if one.name == name), None)

    @property
    def places(self) -> list[Place]:
        """Where something was measured, in order."""
        seen = dict.fromkeys(cell.x for one in self.series if one.kind is not SeriesKind.MODEL for cell in one.cells)
        return list(seen) if any(isinstance(x, str) for x in seen) else sorted(seen, key=float)


class Result(Struct, frozen=True, kw_only=True):
    """An element of `experiments`: the table, or why there is none. `seconds` is how long it took."""

    name: str
    question: str
    table: ResultTable | None
    failure: str | None
    seconds: float
    others_cpu_share: float | None


class ClaimVerdict(StrEnum):
    """What the measurement says to a statement."""

    HOLDS = "holds"
    HERE_NOT_THERE = "holds_here_not_there"
    REFUTED = "refuted"
    NOT_MEASURED = "not_measured"


class Number(Struct, frozen=True, kw_only=True):
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


class Judged(Struct, frozen=True, kw_only=True):
    """An element of `claims`."""

    id: int
    statement: str
    verdict: ClaimVerdict
    meaning: str
    numbers: tuple[Number, ...] = ()
    needs: tuple[str, ...] = ()


class NotMeasured(Exception):
    """A claim cannot be judged; the text says why."""


class Measurements(Struct, kw_only=True):
    """Tables by experiment; remembers in `used` which cells were asked for. `failures`: experiments without one."""

    tables: Mapping[str, ResultTable]
    failures: Mapping[str, str] = field(default_factory=dict)
    used: list[Number] = field(default_factory=list)

    def find(self, experiment: str, series: str, x: Place) -> Number | None:
        """The figure of a series at a place; None when the experiment did not give it."""
        table = self.tables.get(experiment)
        found = table.find(series) if table else None
        cell = found.at(x) if found else None
        if table is None or found is None or cell is None:
            return None
        return self._use(Number(
            name=series, unit=found.unit, experiment=experiment, x=cell.x, x_unit=table.x_unit,
            value=cell.value, low=cell.low, high=cell.high, values=cell.values,
        ))  # fmt: skip

    def need(self, experiment: str, series: str, x: Place) -> Number:
        """The figure; raises `NotMeasured` when it is not there."""
        found = self.find(experiment, series, x)
        if found is None:
            raise NotMeasured(f"the experiment {experiment} gave no {series}: {self._why(experiment)}")
        return found

    def need_fact(self, experiment: str, name: str) -> Number:
        """A single number that stands for the whole table; raises `NotMeasured` when it is not there."""
        table = self.tables.get(experiment)
        if table is None or name not in table.facts:
            raise NotMeasured(f"the experiment {experiment} gave no {name}: {self._why(experiment)}")
        value = table.facts[name]
        return self._use(Number(name=name, unit="", experiment=experiment, value=value, values=(value,)))

    def _use(self, number: Number) -> Number:
        if number not in self.used:
            self.used.append(number)
        return number

    def _why(self, experiment: str) -> str:
        silent = "this system does not tell" if experiment in self.tables else "it was not made"
        return self.failures.get(experiment, silent)


def read_results(entries: object) -> tuple[list[Result], int]:
    """The experiments of bench.json, and how many entries are not of this form, as those of older versions."""
    return _read(Result, entries)


def read_claims(entries: object) -> tuple[list[Judged], int]:
    """The claims of bench.json, and how many entries are none."""
    return _read(Judged, entries)


def _read(kind: type[T], entries: object) -> tuple[list[T], int]:
    listed: Sequence[Any] = entries if isinstance(entries, list | tuple) else ()
    found: list[T] = []
    for entry in listed:
        with suppress(ValueError):
            json.dumps(entry, allow_nan=False)  # nothing was measured that is not a finite number
            found.append(convert(entry, kind))
    return found, len(listed) - len(found)


def measured(
    name: str, unit: str, values: Mapping[X, Sequence[float]], kind: SeriesKind = SeriesKind.MAIN, *, per: int = 1
) -> ResultSeries:
    """The repeats at each place, divided by `per`; a place without any is left out."""
    return ResultSeries(name=name, unit=unit, kind=kind, cells=tuple(
        _cell(x, [each / per for each in several]) for x, several in values.items() if several
    ))  # fmt: skip


def gained(
    name: str,
    seconds: Mapping[X, tuple[Sequence[float], Sequence[float]]],
    kind: SeriesKind = SeriesKind.FIGURE,
    sides: tuple[str, str] = ("slower", "faster"),
) -> ResultSeries:
    """How many times as fast as the second of each pair: the median of the rounds' ratios, so that drifts cancel."""
    cells = []
    for x, (own, against) in seconds.items():
        logs = _cell(x, [-each for each in log_ratios(own, against)])
        cells.append(Cell(
            x=x,
            value=math.exp(logs.value),
            low=None if logs.low is None else math.exp(logs.low),
            high=None if logs.high is None else math.exp(logs.high),
            values=tuple(map(math.exp, logs.values)),
        ))  # fmt: skip
    return ResultSeries(name=name, unit="x", kind=kind, cells=tuple(cells), sides=sides)


def counted(name: str, unit: str, values: Mapping[X, float], kind: SeriesKind = SeriesKind.FIGURE) -> ResultSeries:
    """Figures that are exact, or have no repeats."""
    cells = tuple(Cell(x=x, value=float(n)) for x, n in values.items())
    return ResultSeries(name=name, unit=unit, kind=kind, cells=cells)


def computed(name: str, unit: str, values: Mapping[X, float], predicts: str = "") -> ResultSeries:
    """What a model says."""
    cells = tuple(Cell(x=x, value=float(value)) for x, value in values.items())
    return ResultSeries(name=name, unit=unit, kind=SeriesKind.MODEL, cells=cells, predicts=predicts)


def _cell(x: Place, values: Sequence[float]) -> Cell:
    interval = median_interval(values)
    return Cell(
        x=x,
        value=median(values),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        values=tuple(values),
    )


def crossings(first: Mapping[float, float], second: Mapping[float, float]) -> tuple[float, ...]:
    """All places where the two change their order, between two common places by a straight line in log-log."""
    gaps = [(x, math.log(second[x] / first[x])) for x in sorted(set(first) & set(second)) if x > 0]
    found = []
    for (low, before), (high, after) in pairwise(gaps):
        if (before < 0) != (after < 0):
            part = before / (before - after)
            found.append(math.exp(math.log(low) + part * (math.log(high) - math.log(low))))
    return tuple(found)


def value_at(curve: Mapping[float, float], x: float) -> float:
    """A curve of at least one point at a place, by straight lines; beyond its ends it is as at the end."""
    places = sorted(curve)
    if x <= places[0]:
        return curve[places[0]]
    for low, high in pairwise(places):
        if x <= high:
            return curve[low] + (curve[high] - curve[low]) * (x - low) / (high - low)
    return curve[places[-1]]


def payload_that_eats(gain_seconds: float, extra: Mapping[float, float]) -> float | None:
    """The payload in bytes whose hand-over costs what processes gain per item. `extra`: payload -> seconds.

    `extra` is what a hand-over to a process costs beyond one without payload. None when it is never so much.
    """
    if gain_seconds <= 0:
        return 0.0
    for low, high in pairwise(sorted(extra)):
        if extra[low] < gain_seconds <= extra[high]:
            return low + (high - low) * (gain_seconds - extra[low]) / (extra[high] - extra[low])
    return None


def waiting_models(
    rates: Mapping[float, ResultSeries], most_workers: float
) -> tuple[list[ResultSeries], list[Crossing]]:
    """Per wait in ms > 0 the line n/(W + c) from the rate of one worker, up to the rate without a wait; their meetings.

    By Little's law n = rate (W + c) workers reach a rate. `rates` must have the wait 0.
    """
    roof = max(rates[0.0].curve.values())
    ceiling = computed("best without a wait", rates[0.0].unit, {1.0: roof, most_workers: roof})
    models, meetings = [], []
    for wait, series in rates.items():
        if wait <= 0:
            continue
        one = series.curve[1.0]
        fill = roof / one
        line = {n: n * one for n in (*series.curve, min(fill, most_workers)) if 1 < n <= fill}
        models.append(computed(f"n/(W + c), {series.name}", series.unit, line, predicts=series.name))
        meetings.append(Crossing(first=models[-1].name, second=ceiling.name, predicted=fill, is_predicted=True))
    return [*models, ceiling], meetings


def gil_models(against: ResultSeries, workers: int) -> Iterator[ResultSeries]:
    """The GIL-held fraction phi of each step from the speed of threads against processes, and the cores 1/phi.

    Threads keep at most 1/phi cores busy, processes all of them, so processes overtake beyond 1/phi cores.
    """
    if workers < 2:
        return
    held = []
    for cell in against.cells:
        low, high = cell.ends
        phi = held_fraction(high, workers)[0], held_fraction(low, workers)[1]
        held.append(Cell(x=cell.x, value=(phi[0] + phi[1]) / 2, low=phi[0], high=phi[1]))
    yield ResultSeries(name="GIL-held fraction", unit="share", kind=SeriesKind.MODEL, cells=tuple(held))
    for word, end in (("earliest", 1), ("latest", 0)):
        cores = {cell.x: 1 / cell.ends[end] for cell in held if cell.ends[end] * MANY_CORES > 1}
        yield computed(f"processes win beyond, at the {word}", "cores", cores)
