"""The laboratory's part of a bench's page: every experiment's table as a chart, a sentence and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from batchproc.bench.bench_json import Bench
from batchproc.explain.words import SCALED, count, quantity, seconds, share, significant
from batchproc.lab.models import value_at
from batchproc.lab.results import Cell, Judged, Kind, Number, Result, Series, Table, read_claims, read_results
from batchproc.report.bench_charts import BarRow, SpeedRow, case_bars, speed_rows
from batchproc.report.bench_curves import Axis, Meeting, Model, Trace, curve_chart
from batchproc.report.bench_files import times
from batchproc.report.canvas import Label
from batchproc.report.lab_words import figure, place, sentence_of
from batchproc.report.svg import chart_text

BUSY = 0.1  # of the machine, as in the rule for the rounds of a bench
TIE = 1.05
BYTE_TICKS = (0.0, 1e3, 1e4, 1e5, 1e6, 1e7)
BAR_UNITS = {"s": (1e3, "ms"), "bytes": (1e-6, "MB"), "share": (100.0, "%")}
OLD = "are not of the form that this version writes; the same command makes them again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabChart:
    """One experiment. `svg` None: there is nothing to draw; `rows`: a text per head; `noise`: how quiet it was."""

    title: str
    sentence: str
    svg: Markup | None = None
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    noise: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSection:
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


def _noise(result: Result, table: Table) -> str:
    """What else used the machine meanwhile, and the numbers that stand for the whole table."""
    others = result.others_cpu_share
    told = "What else used the machine is not known"
    if others is not None:
        told = f"Other programs used {share(others)} of the CPU"
        told += ": too much to read these figures closely" if others > BUSY else ""
    listed = [f"{name.removesuffix('_seconds').replace('_', ' ')} "
              f"{seconds(value) if name.endswith('_seconds') or '_seconds_' in name else quantity(value, '')}"
              for name, value in table.facts.items()]  # fmt: skip
    return f"{told}. {', '.join([f'Took {seconds(result.seconds)}', *listed])}."


def _draw(label: Label, table: Table) -> Markup | None:
    main = [one for one in table.series if one.kind is Kind.MAIN and one.cells]
    if not main:
        return None
    if not all(isinstance(x, str) for x in table.places):
        return _curves(label, table) if any(one.curve for one in main) else None
    if main[0].unit == "x":
        return speed_rows(label, [_speed_row(cell, main[0].sides) for cell in main[0].cells if cell.ends[0] > 0],
                          margin=TIE, sides=main[0].sides)["narrow"]  # fmt: skip
    factor, unit = BAR_UNITS.get(main[0].unit.partition("/")[0], (1.0, main[0].unit))
    rows = [
        BarRow(name=str(cell.x), note=quantity(cell.value, chart_text(main[0].unit)),
               parts=[(0, max(0.0, factor * cell.value), "cpu")], points=[factor * value for value in cell.values])
        for cell in main[0].cells
    ]  # fmt: skip
    return case_bars(label, rows, unit)


def _speed_row(cell: Cell, sides: tuple[str, str]) -> SpeedRow:
    low, high = cell.ends
    note = chart_text(sides[0] if high < 1 else sides[1] if low > 1 else "not told apart")
    return SpeedRow(name=str(cell.x), note=f"{times(cell.value)}, {note}", middle=cell.value, interval=(low, high),
                    points=[(value, "counted") for value in cell.values if value > 0])  # fmt: skip


def _curves(label: Label, table: Table) -> Markup:
    """Every value as a mark, medians joined, models dashed, and a ring where two series meet."""
    drawn = [one for one in table.series if one.kind in (Kind.MAIN, Kind.CONTROL) and one.curve]
    main = [one.name for one in drawn if one.kind is Kind.MAIN]
    looks = {one.name: main.index(one.name) if one.name in main else at - len(main) for at, one in enumerate(drawn)}
    traces = [Trace(name=one.name, points=_points(one), look=looks[one.name], is_control=one.kind is Kind.CONTROL)
              for one in drawn]  # fmt: skip
    models = [Model(name=one.name, points=list(one.curve.items()), dashes=at) for at, one in
              enumerate(one for one in table.series if one.kind is Kind.MODEL and one.curve)]  # fmt: skip
    y_unit = drawn[0].unit
    return curve_chart(label, _x_axis(table, models), Axis(name=table.y or y_unit, write=_writer(y_unit)), traces,
                       models, _meetings(table))  # fmt: skip


def _points(series: Series) -> list[tuple[float, float]]:
    return [(cell.x, value) for cell in series.cells if isinstance(cell.x, float) and cell.x >= 0
            for value in cell.values or (cell.value,) if value > 0]  # fmt: skip


def _meetings(table: Table) -> list[Meeting]:
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


def _x_axis(table: Table, models: Sequence[Model]) -> Axis:
    places = [x for x in table.places if isinstance(x, float) and x >= 0]
    positive = [x for x in places if x > 0]
    farthest = max([*places, *(x for model in models for x, _ in model.points)])
    ticks = places
    if table.x_unit == "bytes":
        ticks = [tick for tick in BYTE_TICKS if not tick or min(positive, default=0.0) <= tick <= farthest]
    elif farthest > places[-1]:
        ticks = [n for power in range(12) if (n := 4.0**power) <= farthest]
    return Axis(name=table.x, write=lambda x: place(x, table.x_unit, short=True), ticks=ticks,
                zero=min(positive, default=1.0) / 6)  # fmt: skip


def _writer(unit: str) -> Callable[[float], str]:
    """How a tick is written: the axis' name has what it is per."""
    base, _, each = chart_text(unit).partition("/")
    if base in SCALED:
        return SCALED[base]
    return (lambda value: f"{significant(value)}/{each}") if each else significant
