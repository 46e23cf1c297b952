"""What models say of the measured tables: where curves cross, the GIL-held fraction, ceilings, what a start repays."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

from msgspec.structs import replace

from batchproc.explain.predict import held_fraction
from batchproc.lab.results import Cell, Crossing, ResultSeries, ResultTable, SeriesKind, computed

MANY_CORES = 1000  # beyond that, no number of cores is in sight
NEAR = 3.0  # times the cores' ceiling: a higher one is not shown


def add_predictions(tables: Mapping[str, ResultTable]) -> dict[str, ResultTable]:
    """The tables, those that others predict with what they predict."""
    found = dict(tables)
    if "job_size" in found:
        found["job_size"] = _predict_job_size(found["job_size"], found.get("startup"), found.get("steps"))
    if "workers" in found:
        found["workers"] = _add_ceilings(found["workers"], found.get("steps"))
    return found


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


def items_that_repay(start_seconds: float, gain_seconds: float) -> float | None:
    """N* = start cost / gain per item; None when nothing is gained per item."""
    return start_seconds / gain_seconds if gain_seconds > 0 else None


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


def _add_ceilings(table: ResultTable, steps: ResultTable | None) -> ResultTable:
    """n/c, what the cores allow, and 1/(phi c) by the largest phi that the steps' table allows."""
    cores, cpu_seconds = table.facts["cores"], table.facts["cpu_seconds_per_item"]
    unit, places = table.series[0].unit, [x for x in table.places if isinstance(x, float)]
    roof = cores / cpu_seconds
    models = [computed("n/c", unit, {n: n / cpu_seconds for n in places if n < cores} | {cores: roof}),
              computed("all cores", unit, dict.fromkeys(places, roof))]  # fmt: skip
    held = steps.find("GIL-held fraction") if steps else None
    phi = held.cells[0].ends[1] if held else 0.0  # the first step is the one whose workers were counted
    if phi > 0 and 1 / (phi * cpu_seconds) < NEAR * roof:
        models.append(computed("the GIL, lowest", unit, dict.fromkeys(places, 1 / (phi * cpu_seconds))))
    return replace(table, series=(*table.series, *models))


def _predict_job_size(table: ResultTable, startup: ResultTable | None, steps: ResultTable | None) -> ResultTable:
    """Start and time per item, from experiments that know nothing of whole jobs; unchanged without them."""
    lines = {mode: line for mode in ("thread", "process") if (line := _job_line(mode, startup, steps)) is not None}
    if len(lines) < 2:
        return table
    (thread_start, thread_item), (process_start, process_item) = lines["thread"], lines["process"]
    repaid = items_that_repay(process_start - thread_start, thread_item - process_item)
    places = [x for x in table.places if isinstance(x, float)]
    names = {"thread": "threads", "process": "processes"}
    models = [
        computed(f"{names[mode]}, predicted", "s", {n: start + n * item for n in places}, predicts=names[mode])
        for mode, (start, item) in lines.items()
    ]
    met = tuple(replace(each, predicted=repaid, is_predicted=True) for each in table.crossings)
    return replace(table, series=(*table.series, *models), crossings=met)


def _job_line(mode: str, startup: ResultTable | None, steps: ResultTable | None) -> tuple[float, float] | None:
    """Seconds until the workers of a mode are ready, and then per item of a loop in Python."""
    plural = {"thread": "threads", "process": "processes"}[mode]
    ready = _value(startup, "ready after", f"a {mode}")
    serial, gain = _value(steps, "serial", "a loop in Python"), _value(steps, f"{plural} gain", "a loop in Python")
    return None if ready is None or serial is None or not gain else (ready, serial / gain)


def _value(table: ResultTable | None, name: str, x: str) -> float | None:
    series = table.find(name) if table else None
    cell = series.at(x) if series else None
    return cell.value if cell else None
