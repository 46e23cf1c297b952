"""The lab on the bench's page: each experiment's question, its curve, and its answer in words."""

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from statistics import median

from markupsafe import Markup
from msgspec import Struct

from batchproc.bench.bench_json import Bench
from batchproc.explain.run_model import QUIET
from batchproc.explain.words import SCALED, count, quantity, seconds, share, significant
from batchproc.lab.results import (
    Cell,
    Crossing,
    Judged,
    Number,
    Place,
    Result,
    ResultSeries,
    ResultTable,
    SeriesKind,
    read_claims,
    read_results,
    value_at,
)
from batchproc.report.bench_charts import (
    Axis,
    BarRow,
    Meeting,
    SpeedRow,
    case_bars,
    computed,
    curve_chart,
    measured,
    speed_rows,
)
from batchproc.report.bench_verdict import times
from batchproc.report.svg import Label, Line


def sentence_of(table: ResultTable) -> str:
    """What was measured, what models say of it, and where series cross."""
    told = [one for one in table.series if one.kind is SeriesKind.MAIN and one.cells] or list(table.series)
    models = [one for one in table.series if one.kind is SeriesKind.MODEL and one.cells]
    if all(isinstance(x, str) for x in table.places):
        parts = [_of_bars(told), *(f"by the model, {one.name}: {_listed(one)}" for one in models)]
    else:
        parts = ["; ".join(_of_curve(one, table) for one in told if one.curve), *_of_models(table, models)]
        parts += [part for each in table.crossings for part in _of_crossing(table, each)]
        parts.append(_of_models_met(table))
    return " ".join(f"{_begun(part)}." for part in parts if part)


def place(x: Place, unit: str, *, short: bool = False) -> str:
    """As `155 KB`, `8 threads`, or the place's name; `short` leaves out what is counted."""
    if isinstance(x, str):
        return x
    if unit == "bytes":
        return "0" if short and not x else quantity(x, unit)
    if short:
        return f"{x:,.0f}" if x >= 10 else significant(x)
    return quantity(float(significant(x).replace(",", "")), unit)


def figure(cell: Cell, unit: str) -> str:
    """As `4.1 ms (4 ms to 4.3 ms)`: the median with its interval, or with the least and the most."""
    write = times if unit == "x" else lambda value: quantity(value, unit)
    low, high = cell.ends
    if low == high:
        return write(cell.value)
    base = unit.partition("/")[0]
    bare = times if unit == "x" else lambda value: quantity(value, base if base in SCALED else "")
    return f"{write(cell.value)} ({bare(low)} to {bare(high)})"


def _of_bars(told: Sequence[ResultSeries]) -> str:
    if told[0].unit == "x":
        return "; ".join(f"{cell.x} {figure(cell, 'x')}, {_side(cell, told[0].sides)}" for cell in told[0].cells)
    if len(told) > 1:
        return "; ".join(f"{one.name}: {_listed(one)}" for one in told)
    return f"{_listed(told[0])}{_apart(told[0].cells)}"


def _listed(series: ResultSeries) -> str:
    return ", ".join(f"{cell.x} {figure(cell, series.unit)}" for cell in series.cells)


def _side(cell: Cell, sides: tuple[str, str]) -> str:
    """What the ratio means, where its whole interval says so."""
    low, high = cell.ends
    return sides[0] if high < 1 else sides[1] if low > 1 else "not told apart"


def _apart(cells: Sequence[Cell]) -> str:
    """How many times the first the second is, where both are above 0 and their intervals are apart."""
    if len(cells) < 2 or min(cells[0].value, cells[1].value) <= 0:
        return ""
    if not cells[0].is_below(cells[1]) and not cells[1].is_below(cells[0]):
        return f"; {cells[0].x} and {cells[1].x} are not told apart"
    small, large = sorted(cells[:2], key=lambda cell: cell.value)
    return f"; {large.x} is {significant(large.value / small.value)} times {small.x}"


def _of_curve(series: ResultSeries, table: ResultTable) -> str:
    """The ends of a curve, and its highest or lowest point where that is neither."""
    curve = series.curve
    first, last = min(curve), max(curve)
    turns = [x for x in (max(curve, key=lambda x: curve[x]), min(curve, key=lambda x: curve[x])) if first < x < last]
    places = [first, *turns[:1], last] if last > first else [first]
    listed = ", ".join(f"{quantity(curve[x], series.unit)} at {place(x, table.x_unit)}" for x in places)
    return f"{series.name}: {listed}"


def _of_models(table: ResultTable, models: Sequence[ResultSeries]) -> Iterator[str]:
    """How far predictions are off, and how much of the lowest ceiling was reached."""
    off, ceilings = [], {}
    for model in models:
        seen = table.find(model.predicts) if model.predicts else None
        if seen is not None:
            off += [abs(value / seen.curve[x] - 1) for x, value in model.curve.items() if x in seen.curve]
        elif model.curve and len(set(model.curve.values())) == 1:
            ceilings[model.name] = next(iter(model.curve.values()))
    if off:
        yield f"what was predicted is off by {share(median(off))} (median)"
    if ceilings:
        unit = models[-1].unit
        best = max(value for one in table.series if one.kind is SeriesKind.MAIN for value in one.curve.values())
        listed = ", ".join(f"{name} {quantity(value, unit)}" for name, value in ceilings.items())
        lowest = min(ceilings.values())
        reached = f"; {share(best / lowest)} of the lowest was reached" if best != lowest else ""
        yield f"ceilings: {listed}{reached}"


def _of_crossing(table: ResultTable, each: Crossing) -> Iterator[str]:
    first, second = table.find(each.first), table.find(each.second)
    if first is None or second is None or not first.curve or not second.curve or first.kind is SeriesKind.MODEL:
        return
    by_model = place(round(each.predicted), table.x_unit) if each.predicted else "nowhere"
    where = " and ".join(place(x, table.x_unit) for x in each.measured)
    if len(each.measured) > 1:
        text = f"{first.name} and {second.name} cross at {where}, so where is not decided"
    elif each.measured:
        text = f"{first.name} and {second.name} cross at {where}"
    else:
        last = max(first.curve)
        text = f"{first.name} and {second.name} do not cross up to {place(last, table.x_unit)}"
    yield f"{text} (predicted: {by_model})" if each.is_predicted else f"{text} (not predicted)"
    yield _certainty(table, first, second)


def _of_models_met(table: ResultTable) -> str:
    """Where models meet, which nobody measured."""
    met = [f"{each.first} meets {each.second} at {place(round(each.predicted), table.x_unit)}"
           for each in table.crossings
           if each.predicted and (first := table.find(each.first)) and first.kind is SeriesKind.MODEL]  # fmt: skip
    return f"by the model {', '.join(met)}" if met else ""


def _certainty(table: ResultTable, first: ResultSeries, second: ResultSeries) -> str:
    """Where the second is below the first with its whole interval, from the one end on and from the other."""
    places = [x for x in table.places if first.at(x) and second.at(x)]
    word = "ahead" if first.unit.partition("/")[0] == "s" else "below"

    def is_below(one: ResultSeries, other: ResultSeries, x: Place) -> bool:
        mine, theirs = one.at(x), other.at(x)
        return mine is not None and theirs is not None and mine.is_below(theirs)

    found = []
    for one, other in ((first, second), (second, first)):
        begin = list(takewhile(lambda x: is_below(one, other, x), places))  # noqa: B023 - used at once
        end = list(takewhile(lambda x: is_below(one, other, x), reversed(places)))  # noqa: B023
        if len(begin) == len(places):
            found.append(f"{one.name} {word} everywhere")
        else:
            found += [f"{one.name} {word} up to {place(begin[-1], table.x_unit)}"] if begin else []
            found += [f"{one.name} {word} from {place(end[-1], table.x_unit)} on"] if end else []
    return f"with whole intervals: {', '.join(found) or 'neither ' + word}"


def _begun(text: str) -> str:
    """With a capital where it begins with a word; a formula stays as it is."""
    word = text.partition(" ")[0].rstrip(",:;")
    return text[0].upper() + text[1:] if word.isalpha() and (len(word) > 1 or word == "a") else text


TIE = 1.05
BYTE_TICKS = (0.0, 1e3, 1e4, 1e5, 1e6, 1e7)
BAR_UNITS = {"s": (1e3, "ms"), "bytes": (1e-6, "MB"), "share": (100.0, "%")}
OLD = "are not of the form that this version writes; the same command makes them again"


class LabChart(Struct, frozen=True, kw_only=True):
    """One experiment. `svg` None: there is nothing to draw; `rows`: a text per head; `noise`: how quiet it was."""

    title: str
    sentence: str
    svg: Markup | None = None
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    noise: str = ""


class LabSection(Struct, frozen=True, kw_only=True):
    """What stands under the two headings of the laboratory. `notes`: what of the file could not be read."""

    charts: Sequence[LabChart]
    claims: Sequence[Judged]
    results: Sequence[Result]
    notes: Sequence[str]


def view_lab(bench: Bench) -> LabSection:
    """From the keys `experiments` and `claims` of bench.json; empty when none were made."""
    results, bad_results = read_results(bench.experiments)
    claims, bad_claims = read_claims(bench.claims)
    notes = [f"{count(number, noun)} of this file {OLD}"
             for number, noun in ((bad_results, "experiment"), (bad_claims, "claim")) if number]  # fmt: skip
    charts = [_view(one, at) for at, one in enumerate(results)]
    return LabSection(charts=charts, claims=claims, results=results, notes=notes)


def rounds_made_again(results: Sequence[Result]) -> int:
    """How many rounds were disturbed so much that they were made again."""
    return round(sum(one.table.facts.get("rounds_made_again", 0) for one in results if one.table))


def number_name(number: Number) -> str:
    """What a claim's figure is, as `threads gain, MedianFilter`."""
    where = "" if number.x is None else f", {place(number.x, number.x_unit)}"
    return f"{number.name.replace('_', ' ')}{where}"


def number_figure(number: Number) -> str:
    """Its value with its interval."""
    return figure(Cell(x="", value=number.value, low=number.low, high=number.high), number.unit)


def _view(result: Result, at: int) -> LabChart:
    table = result.table
    if table is None or not any(one.cells for one in table.series):
        why = result.failure or "this system does not tell it"
        return LabChart(title=result.question, sentence=f"Not measured: {why}.")
    sentence = sentence_of(table)
    label = Label(name=f"lab-{at}", title=result.question, sentence=sentence)
    shown = [one for one in table.series if one.cells]
    return LabChart(
        title=result.question,
        sentence=sentence,
        svg=_draw(label, table),
        heads=[table.x, *(one.name for one in shown)],
        rows=[[place(x, table.x_unit), *(figure(cell, one.unit) if (cell := one.at(x)) else "–" for one in shown)]
              for x in table.places],
        noise=_noise(result, table),
    )  # fmt: skip


def _noise(result: Result, table: ResultTable) -> str:
    """What else used the machine meanwhile, and the numbers that stand for the whole table."""
    others = result.others_cpu_share
    told = "What else used the machine is not known"
    if others is not None:
        told = f"Other programs used {share(others)} of the CPU"
        told += ": too much to read these figures closely" if others > QUIET else ""
    listed = [f"{name.removesuffix('_seconds').replace('_', ' ')} "
              f"{seconds(value) if name.endswith('_seconds') or '_seconds_' in name else quantity(value, '')}"
              for name, value in table.facts.items()]  # fmt: skip
    return f"{told}. {', '.join([f'Took {seconds(result.seconds)}', *listed])}."


def _draw(label: Label, table: ResultTable) -> Markup | None:
    main = [one for one in table.series if one.kind is SeriesKind.MAIN and one.cells]
    if not main:
        return None
    if not all(isinstance(x, str) for x in table.places):
        return _curves(label, table) if any(one.curve for one in main) else None
    if main[0].unit == "x":
        return speed_rows(label, [_speed_row(cell, main[0].sides) for cell in main[0].cells if cell.ends[0] > 0],
                          margin=TIE, sides=main[0].sides).narrow  # fmt: skip
    factor, unit = BAR_UNITS.get(main[0].unit.partition("/")[0], (1.0, main[0].unit))
    rows = [
        BarRow(name=str(cell.x), note=quantity(cell.value, main[0].unit),
               parts=[(0, max(0.0, factor * cell.value), "cpu")], points=[factor * value for value in cell.values])
        for cell in main[0].cells
    ]  # fmt: skip
    return case_bars(label, rows, unit).svg


def _speed_row(cell: Cell, sides: tuple[str, str]) -> SpeedRow:
    return SpeedRow(name=str(cell.x), note=f"{times(cell.value)}, {_side(cell, sides)}", middle=cell.value,
                    interval=cell.ends, points=[(value, "counted") for value in cell.values if value > 0])  # fmt: skip


def _curves(label: Label, table: ResultTable) -> Markup:
    """Every value as a mark, medians joined, models dashed, and a ring where two series meet."""
    drawn = [one for one in table.series if one.kind in (SeriesKind.MAIN, SeriesKind.CONTROL) and one.curve]
    main = [one.name for one in drawn if one.kind is SeriesKind.MAIN]
    looks = {one.name: main.index(one.name) if one.name in main else at - len(main) for at, one in enumerate(drawn)}
    traces = [measured(one.name, _points(one), looks[one.name], is_control=one.kind is SeriesKind.CONTROL)
              for one in drawn]  # fmt: skip
    models = [computed(one.name, list(one.curve.items()), at) for at, one in
              enumerate(one for one in table.series if one.kind is SeriesKind.MODEL and one.curve)]  # fmt: skip
    y_unit = drawn[0].unit
    return curve_chart(label, _x_axis(table, models), Axis(name=table.y or y_unit, write=_writer(y_unit)),
                       [*traces, *models], _meetings(table)).svg  # fmt: skip


def _points(series: ResultSeries) -> list[tuple[float, float]]:
    return [(cell.x, value) for cell in series.cells if isinstance(cell.x, float) and cell.x >= 0
            for value in cell.values or (cell.value,) if value > 0]  # fmt: skip


def _meetings(table: ResultTable) -> list[Meeting]:
    """The crossings that lie inside what was drawn; each on the first of its two series."""
    found = []
    for each in table.crossings:
        first = table.find(each.first)
        if first is None or not first.curve:
            continue
        marks = [("measured", x) for x in each.measured] + [("predicted", each.predicted or 0.0)]
        for word, x in marks:
            if min(first.curve) <= x <= max(first.curve) and x > 0:
                name = f"{word} {place(x, table.x_unit, short=True)}"
                found.append(Meeting(name=name, x=x, y=value_at(first.curve, x), is_predicted=word == "predicted"))
    return found


def _x_axis(table: ResultTable, models: Sequence[Line]) -> Axis:
    places = [x for x in table.places if isinstance(x, float) and x >= 0]
    positive = [x for x in places if x > 0]
    farthest = max([*places, *(x for _, points in models for x, _ in points)])
    ticks = places
    if table.x_unit == "bytes":
        ticks = [tick for tick in BYTE_TICKS if not tick or min(positive, default=0.0) <= tick <= farthest]
    elif farthest > places[-1]:
        ticks = [n for power in range(12) if (n := 4.0**power) <= farthest]
    return Axis(name=table.x, write=lambda x: place(x, table.x_unit, short=True), ticks=ticks,
                zero=min(positive, default=1.0) / 6)  # fmt: skip


def _writer(unit: str) -> Callable[[float], str]:
    """How a tick is written: the axis' name has what it is per."""
    base, _, each = unit.partition("/")
    if base in SCALED:
        return SCALED[base]
    return (lambda value: f"{significant(value)}/{each}") if each else significant
