"""How the cases compare: heat maps of the mode pairs, every point of every round, predicted against measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from batchproc.bench.bench_json import Bench, BenchCase, BenchPrediction
from batchproc.bench.verdicts import LEAST_MARGIN
from batchproc.explain.words import count, share, significant
from batchproc.report.bench_charts import SpeedRow, speed_rows
from batchproc.report.bench_files import (
    WORDS,
    Group,
    Relation,
    from_to,
    groups_of,
    median_error,
    middle_of,
    points_of,
    relate,
    times,
)
from batchproc.report.svg import Label

MODES = ("serial", "thread", "process")
MOST_MAPS = 12
FULL_HEAT = math.log(4.0)  # a speed of 4 or 1/4 has the strongest tint
TINTS = (6, 40)  # per cent of the tone mixed into the page's ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a heat map: what stands in it, and its tint in per cent. `sign`: the verdict in a word."""

    name: str
    speed: str
    interval: str
    sign: str
    tone: str
    tint: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Download modes down, transform modes across; None where the bench has no such case."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoWidths:
    """A chart wide and narrow, with its sentence."""

    title: str
    sentence: str
    svgs: Mapping[str, Markup]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastView:
    """Predicted against measured: the charts, the sentence, the table."""

    sentence: str
    charts: Sequence[TwoWidths]
    rows: Sequence[tuple[str, str, str, str, str]]  # case, predicted, measured, error, because


def view_maps(bench: Bench) -> tuple[list[HeatMap], str]:
    """Against the baseline, and against the case that was named the favourite beforehand; and what is not shown."""
    whole = [case for case in bench.cases if not case.alone]
    settings = _settings(whole)
    references = list(dict.fromkeys([bench.baseline, bench.favourite or bench.baseline]))
    maps = [_map(bench, whole, varied, reference) for varied in settings for reference in references]
    left_out = len(maps) - MOST_MAPS
    note = f"{count(left_out, 'more map')} left out; the table of comparisons has every case." if left_out > 0 else ""
    return (maps[:MOST_MAPS] if whole else []), note


def view_points(bench: Bench) -> list[TwoWidths]:
    """A strip of points per group of cases."""
    return [_strip(bench, group, at) for at, group in enumerate(groups_of(bench))]


def view_forecast(bench: Bench) -> ForecastView | None:
    """None when nothing was predicted."""
    predictions = {row.case: row for row in bench.predictions if row.ratio}
    if not predictions:
        return None
    charts = [
        chart for at, group in enumerate(groups_of(bench)) if (chart := _forecast(bench, group, predictions, at))
    ]
    rows = [_forecast_row(row) for row in bench.predictions]
    return ForecastView(sentence=_forecast_sentence(bench), charts=charts, rows=rows)


def _settings(whole: Sequence[BenchCase]) -> list[Mapping[str, Any]]:
    """Every combination of varied values; a case that leaves a value out, as a serial stage does, is in all of them."""
    most = max((len(case.varied) for case in whole), default=0)
    found: list[Mapping[str, Any]] = []
    for case in whole:
        varied = case.varied
        if len(varied) == most and varied not in found:
            found.append(varied)
    return sorted(found, key=lambda varied: [str(value).rjust(12) for value in varied.values()])


def _map(bench: Bench, whole: Sequence[BenchCase], varied: Mapping[str, Any], reference: str) -> HeatMap:
    here = [case for case in whole if (case.varied).items() <= varied.items()]
    by_pair = {(str(case.download), str(case.transform)): case for case in here}
    downloads, columns = ([mode for mode in MODES if any(case.mode(stage) == mode for case in here)]
                          for stage in ("download", "transform"))  # fmt: skip
    setting = ", ".join(f"{key} = {value}" for key, value in varied.items())
    return HeatMap(
        caption=f"Speed against {reference}{f'; {setting}' if setting else ''}",
        columns=columns,
        rows=[(mode, [_cell(bench, by_pair.get((mode, other)), reference) for other in columns])
              for mode in downloads],
    )  # fmt: skip


def _cell(bench: Bench, case: BenchCase | None, reference: str) -> Cell | None:
    if case is None:
        return None
    name = case.name
    if name == reference:
        return Cell(name=name, speed="×\u00a01", interval="by definition", sign="reference", tone="quiet", tint=0)
    seen = relate(bench, name, reference)
    if seen is None:
        return Cell(name=name, speed="unknown", interval="", sign="not compared", tone="unknown", tint=0)
    strength = min(1.0, abs(math.log(seen.speed)) / FULL_HEAT)
    sign, tone = WORDS[seen.word]
    is_open = seen.word in ("tie", "undecided")
    tint = round((TINTS[0] + (TINTS[1] - TINTS[0]) * strength) / (2 if is_open else 1))
    return Cell(
        name=name,
        speed=times(seen.speed),
        interval=from_to(seen.interval) or "no interval",
        sign=sign,
        tone=tone if not is_open else "good" if seen.speed > 1 else "bad",
        tint=tint,
    )


def _strip(bench: Bench, group: Group, at: int) -> TwoWidths:
    rows = [_strip_row(bench, group, case.name) for case in group.cases]
    if group.again:
        points = points_of(bench, group.again, group.baseline)
        floor = bench.noise_floor
        rows.append(
            SpeedRow(
                name=group.again,
                note="noise floor",
                points=points,
                middle=middle_of(points),
                interval=floor.interval if floor else None,  # time of the baseline by that of its second run
            )
        )
    rows = [row for row in rows if row.points]
    sentence = _strip_sentence(group, rows)
    label = Label(name=f"points-{at}", title=f"{group.title}: every round", sentence=sentence)
    return TwoWidths(title=group.title, sentence=sentence, svgs=speed_rows(label, rows, margin=margin_of(bench)))


def _strip_row(bench: Bench, group: Group, name: str) -> SpeedRow:
    points = points_of(bench, name, group.baseline)
    seen = relate(bench, name, group.baseline)
    middle = middle_of(points)
    word = WORDS[seen.word][0][2:] if seen else "reference" if name == group.baseline else ""
    note = f"{times(middle)} {word}" if middle and name != group.baseline else word
    return SpeedRow(
        name=name,
        note=note,
        points=points if name != group.baseline else [],
        middle=middle,
        interval=seen.interval if seen else None,
    )


def _strip_sentence(group: Group, rows: Sequence[SpeedRow]) -> str:
    """Fastest and slowest by their medians, and how far single rounds of one case lie apart at most."""
    known = [row for row in rows if row.middle is not None and row.name != group.again]
    if not known:
        return f"{group.title}: nothing to compare with {group.baseline or 'a baseline'}."
    best, worst = (pick(known, key=lambda row: row.middle or 0.0) for pick in (max, min))
    spread = max(known, key=_spread)
    top = f"{times(best.middle or 0.0)} ({best.name})"
    text = f"{group.title}: from {times(worst.middle or 0.0)} ({worst.name}) to {top}"
    text = text if best is not worst else f"{group.title}: {top}"
    widest = f"; rounds of one case differ by up to {share(_spread(spread) - 1)} ({spread.name})"
    return f"{text}, {group.baseline} being ×\u00a01{widest if len(spread.points) > 1 else ''}."


def _spread(row: SpeedRow) -> float:
    speeds = [speed for speed, _ in row.points]
    return max(speeds) / min(speeds)


def margin_of(bench: Bench) -> float:
    """The ratio within which a difference is a tie."""
    return math.exp(bench.noise_floor.margin if bench.noise_floor else LEAST_MARGIN)


def _forecast(bench: Bench, group: Group, predictions: Mapping[str, BenchPrediction], at: int) -> TwoWidths | None:
    rows = []
    for case in group.cases:
        name = case.name
        row, seen = predictions.get(name), relate(bench, name, group.baseline)
        if row is not None and name != group.baseline:
            rows.append(_forecast_mark(name, row, seen))
    if not rows:
        return None
    outside = sum(not _covers(row) for row in rows)
    sentence = (f"{group.title}: {len(rows) - outside} of {count(len(rows), 'prediction')} within 10% of what was "
                "measured.")  # fmt: skip
    label = Label(name=f"forecast-{at}", title=f"{group.title}: predicted and measured", sentence=sentence)
    svgs = speed_rows(label, rows, margin=margin_of(bench))
    return TwoWidths(title=f"{group.title}, against {group.baseline}", sentence=sentence, svgs=svgs)


def _forecast_mark(name: str, row: BenchPrediction, seen: Relation | None) -> SpeedRow:
    error = row.speed_error
    spread = (1 / row.high, 1 / row.low) if row.low and row.high else None
    return SpeedRow(
        name=name,
        note="error unknown" if error is None else f"speed {signed(error)}",
        middle=seen.speed if seen else None,
        interval=seen.interval if seen else None,
        predicted=1 / row.ratio if row.ratio else None,
        predicted_range=spread,
    )


def _covers(row: SpeedRow) -> bool:
    return bool(row.middle and row.predicted and abs(math.log(row.middle / row.predicted)) <= math.log(1.1))


def _forecast_sentence(bench: Bench) -> str:
    error = median_error(bench)
    if error is None:
        return "What was predicted cannot be compared with anything yet."
    return (f"Written down before the first round; half of the predicted speeds are within {share(error)} of the "
            f"measured. {_favourites(bench)}")  # fmt: skip


def _favourites(bench: Bench) -> str:
    favourite, fastest = bench.favourite, bench.winner.fastest_median if bench.winner else ""
    if not favourite:
        return "No winner was predicted."
    same = "which also had the fastest median" if favourite == fastest else f"but {fastest} had the fastest median"
    return f"The predicted winner was {favourite}, {same}."


def _forecast_row(row: BenchPrediction) -> tuple[str, str, str, str, str]:
    rate, measured = row.rate_per_second, row.measured_rate_per_second
    return (
        row.case,
        "unknown" if not rate else f"{significant(rate)}/s",
        "unknown" if not measured else f"{significant(measured)}/s",
        "unknown" if (error := row.speed_error) is None else signed(error),
        row.because,
    )


def signed(error: float) -> str:
    """As `+12%` or `−3%`: of a predicted speed against the measured one."""
    return f"{'−' if error < 0 else '+'}{share(abs(error))}"
