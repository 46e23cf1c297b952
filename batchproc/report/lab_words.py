"""An experiment's table in one or a few sentences, whatever it is about."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from statistics import median

from batchproc.explain.words import SCALED, quantity, share, significant
from batchproc.lab.results import Cell, Crossing, Kind, Place, Series, Table
from batchproc.report.bench_files import times


def sentence_of(table: Table) -> str:
    """What was measured, what models say of it, and where series cross."""
    told = [one for one in table.series if one.kind is Kind.MAIN and one.cells] or list(table.series)
    models = [one for one in table.series if one.kind is Kind.MODEL and one.cells]
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


def _of_bars(told: Sequence[Series]) -> str:
    if told[0].unit == "x":
        return "; ".join(f"{cell.x} {figure(cell, 'x')}, {_side(cell, told[0].sides)}" for cell in told[0].cells)
    if len(told) > 1:
        return "; ".join(f"{one.name}: {_listed(one)}" for one in told)
    return f"{_listed(told[0])}{_apart(told[0].cells)}"


def _listed(series: Series) -> str:
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


def _of_curve(series: Series, table: Table) -> str:
    """The ends of a curve, and its highest or lowest point where that is neither."""
    curve = series.curve
    first, last = min(curve), max(curve)
    turns = [x for x in (max(curve, key=lambda x: curve[x]), min(curve, key=lambda x: curve[x])) if first < x < last]
    places = [first, *turns[:1], last] if last > first else [first]
    listed = ", ".join(f"{quantity(curve[x], series.unit)} at {place(x, table.x_unit)}" for x in places)
    return f"{series.name}: {listed}"


def _of_models(table: Table, models: Sequence[Series]) -> Iterator[str]:
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
        best = max(value for one in table.series if one.kind is Kind.MAIN for value in one.curve.values())
        listed = ", ".join(f"{name} {quantity(value, unit)}" for name, value in ceilings.items())
        lowest = min(ceilings.values())
        reached = f"; {share(best / lowest)} of the lowest was reached" if best != lowest else ""
        yield f"ceilings: {listed}{reached}"


def _of_crossing(table: Table, each: Crossing) -> Iterator[str]:
    first, second = table.find(each.first), table.find(each.second)
    if first is None or second is None or not first.curve or not second.curve or first.kind is Kind.MODEL:
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


def _of_models_met(table: Table) -> str:
    """Where models meet, which nobody measured."""
    met = [f"{each.first} meets {each.second} at {place(round(each.predicted), table.x_unit)}"
           for each in table.crossings
           if each.predicted and (first := table.find(each.first)) and first.kind is Kind.MODEL]  # fmt: skip
    return f"by the model {', '.join(met)}" if met else ""


def _certainty(table: Table, first: Series, second: Series) -> str:
    """Where the second is below the first with its whole interval, from the one end on and from the other."""
    places = [x for x in table.places if first.at(x) and second.at(x)]
    word = "ahead" if first.unit.partition("/")[0] == "s" else "below"

    def is_below(one: Series, other: Series, x: Place) -> bool:
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
