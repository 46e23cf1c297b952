"""The charts of a run with what each says: modes, time breakdowns, ceilings, who worked when, the sampler's series.

What must stay readable on a phone comes in two widths, and the style sheet shows the one that fits. Time 0 is when the
sampler began to watch.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from batchproc.explain.mode_wording import StageRates
from batchproc.explain.words import CATEGORIES, seconds, share, significant, size, workers
from batchproc.record.explanation import Ceiling, Choice
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import StageRecord
from batchproc.report.run_files import Row, worker_order
from batchproc.report.svg import (
    LINE_PX,
    NARROW_PX,
    Chart,
    Label,
    LegendKey,
    Line,
    Plot,
    even_ticks,
    ink_on,
    legend_px,
    role_of,
)

CEILING_NAMES = {
    "workers": "workers",
    "cores": "cores",
    "gil": "Python's GIL",
    "pipe": "pipes",
    "network": "network",
    "per_host": "host limits",
    "source": "its supply",
}
LANE_PX = 9
FEW_LANES = 8
ROOMY_LANE_PX = 15
TITLE_PX = 24  # over a panel of lanes
LEAST_NUMBERED = 0.028  # share of a bar below which no number fits on it
SMALL = 0.0005  # shares below this are told together


class BarPart(Struct, frozen=True, kw_only=True):
    """A part of a whole: number and colour as in the bar, what it is, and how much. `role`: of its colour."""

    number: int
    words: str
    seconds: float
    share: float
    role: str


class Lane(Struct, frozen=True, kw_only=True):
    """One worker: when it was at work, and when it worked on what failed. Seconds."""

    name: str
    busy: Sequence[tuple[float, float]]
    failed: Sequence[float] = ()


class LanePanel(Struct, frozen=True, kw_only=True):
    """The workers of one stage."""

    title: str
    role: str
    lanes: Sequence[Lane]


def choice_of(record: RunRecord, name: str) -> Choice:
    """Why a stage ran in its mode."""
    unknown = f"Unknown: this run.json does not say why {name} ran in {record.stages[name].mode} mode."
    found = (choice for choice in record.choices if choice.stage == name)
    return next(found, Choice(stage=name, verdict=unknown))


def account_parts(stage: StageRecord) -> tuple[list[BarPart], str]:
    """The rows worth a line, and a phrase for the rest. A category that this program does not know keeps its name."""
    whole = stage.whole_seconds
    order = [*CATEGORIES, *(key for key in stage.account if key not in CATEGORIES)]
    rows: list[BarPart] = []
    tiny: list[str] = []
    for key in (one for one in order if one in stage.account):
        value, words = stage.account[key], CATEGORIES.get(key, key.replace("_", " "))
        part = value / whole if whole else 0.0
        if abs(part) < SMALL:
            tiny.append(words)
        else:
            rows.append(BarPart(number=len(rows) + 1, words=words, seconds=value, share=part, role=role_of(key)))
    return rows, "; ".join(tiny)


def gil_words(stage: StageRecord) -> str:
    """How long the workers waited for the GIL, and how that was found."""
    waited, error = stage.account.get("gil_wait"), stage.gil_error_seconds
    if stage.gil_method == "unknown" or waited is None:
        return "Waiting for the GIL: unknown; where there was any, it is part of a blocked category."
    margin = f" ± {seconds(error)}" if error else ""
    how = {"sampled": "sampled from outside the process", "residual": "what is left over in a stage without waits"}
    return f"Waiting for the GIL: {seconds(waited)}{margin}, {how.get(stage.gil_method, stage.gil_method)}."


def ceilings_chart(record: RunRecord, name: str) -> Chart | None:
    """The ceilings of a stage that the explanation found; None where no rate is known."""
    ceilings, measured = record.ceilings[name], record.measured_rate_per_second.get(name)
    if measured is None or all(one.rate_per_second is None for one in ceilings):
        return None
    sentence = _ceiling_sentence(name, ceilings, measured)
    label = Label(name=f"ceilings-{name}", title=f"Ceilings of {name}", sentence=sentence)
    return ceiling_bars(label, ceilings, measured)


def _ceiling_sentence(name: str, ceilings: Sequence[Ceiling], measured: float) -> str:
    """Which ceiling is reached, by the figures."""
    did = f"{name} did {significant(measured)} items/s"
    known = [(one.rate_per_second, one) for one in ceilings if one.rate_per_second]
    binding = [(rate, one) for rate, one in known if one.binds]
    if binding:
        told = " and ".join(f"{ceiling_name(one)} ({significant(rate)}/s)" for rate, one in binding)
        nearest = min(rate for rate, _ in binding)
        return f"{did}: {share(measured / nearest)} of the ceiling that binds, {told}."
    if not known:
        return f"{did}; none of its ceilings is known."
    rate, lowest = min(known, key=lambda pair: pair[0])
    return f"{did}; no ceiling binds, the lowest is {ceiling_name(lowest)} at {significant(rate)}/s."


def mode_bars(stage: StageRates) -> Chart:
    """How fast each mode is: measured ones filled, predicted ones pale, each with its interval."""
    rows, title = stage.rates, f"Modes of {stage.stage}"
    label = Label(name=f"rates-{stage.stage.split()[0]}", title=title, sentence=stage.sentence)
    ends = [end for row in rows for end in (row.rate, row.high) if end is not None]
    plot = Plot((NARROW_PX, 8 + 38 * len(rows)), (4, 10, 2, 4), (0, 1.02 * max(ends, default=1.0) or 1),
                (len(rows) - 0.5, -0.5))  # fmt: skip
    for at, row in enumerate(rows):
        plot.name_row(at, row.title, row.note, bold=bool(row.marks))
        if row.rate is not None:
            plot.bar((0, row.rate), at + 0.2, 0.42, "cpu" if row.is_measured else "starved")
        if row.low is not None and row.high is not None:
            plot.span((row.low, row.high), at + 0.2, "ink", 1.6)
    return label.chart(plot)


def account_chart(stage: StageRecord, name: str, parts: Sequence[BarPart]) -> Chart:
    """Where the time of a stage went, in one bar; every part wide enough carries its number in the legend."""
    largest = sorted(parts, key=lambda part: -part.share)[:3]
    told = ", ".join(f"{share(part.share)} {part.words}" for part in largest)
    sentence = f"Of the {seconds(stage.whole_seconds)} that {workers(stage)} had for {name}: {told}."
    sentence = sentence if parts else f"{name} had no worker-seconds to account for."
    label = Label(name=f"account-{name}", title=f"Where the time of {name} went", sentence=sentence)
    whole = max(1.0, sum(max(0.0, part.share) for part in parts))
    plot = Plot((NARROW_PX, 74), (4, 8, 2, 20), (0, whole), (-0.5, 0.5))
    left = 0.0
    for part in parts:
        right = left + max(0.0, part.share)
        plot.bar((left, right), 0, 1, part.role, edge=1.2)
        if part.share >= LEAST_NUMBERED:
            middle = plot.x((left + right) / 2)
            plot.write(str(part.number), middle, plot.y(0), ink_on(part.role), anchor="middle", bold=True)
        left = right
    plot.ticks_x([(tick, f"{tick:.0%}" if tick else "0") for tick in (0, 0.25, 0.5, 0.75, 1)])
    return label.chart(plot)


def ceiling_name(ceiling: Ceiling) -> str:
    """What people call it."""
    return CEILING_NAMES.get(ceiling.name, ceiling.name)


def ceiling_bars(label: Label, ceilings: Sequence[Ceiling], measured: float) -> Chart:
    """A bar per ceiling against the measured rate. Bars far beyond it are cut, and say so."""
    cut = 3.2 * max([measured, *(bar.rate_per_second or 0.0 for bar in ceilings if bar.binds)]) or 1.0
    plot = Plot((NARROW_PX, 46 + 26 * len(ceilings)), (100, 14, 24, 22), (0, cut), (len(ceilings) - 0.4, -0.6))
    plot.ticks_x([(tick, f"{tick:g}") for tick in even_ticks(cut, 4)])
    plot.ticks_y([(at, ceiling_name(bar)) for at, bar in enumerate(ceilings)])
    for at, bar in enumerate(ceilings):
        rate = bar.rate_per_second or 0.0
        plot.bar((0, min(rate, cut)), at, 0.62, "run_queue" if bar.binds else "starved")
    plot.rules(x=[measured], role="ink", width=1.6, dashes="6 3")
    for at, bar in enumerate(ceilings):
        rate = bar.rate_per_second or 0.0
        inside = rate > 0.55 * cut
        text = "unknown" if bar.rate_per_second is None else f"{significant(rate)}/s"
        text += f"{' – binds' if bar.binds else ''}{' →' if rate > cut else ''}"
        plot.write(text, plot.x(min(rate, cut)) + (-5 if inside else 5), plot.y(at), "on_fill" if inside else "ink",
                   anchor="end" if inside else "start", halo=not inside)  # fmt: skip
    anchor = "start" if measured < cut / 2 else "middle"
    plot.write(f"measured {significant(measured)}/s", plot.x(measured), plot.top - 9, anchor=anchor, bold=True)
    return label.chart(plot)


def _timeline(panels: Sequence[LanePanel], end: float, width: int) -> Plot:
    """A lane per worker."""
    heights = [max(2, len(panel.lanes)) * _lane_px(panel) for panel in panels]
    total = sum(heights) + TITLE_PX * (len(panels) + 1)
    plot, top = None, 2
    for panel, height in zip(panels, heights, strict=True):
        top += TITLE_PX
        lanes = max(2, len(panel.lanes))
        plot = Plot((width, total), (34, 12, top, total - top - height), (0, end), (lanes - 0.5, -0.5), on=plot)
        _draw_lanes(plot, panel)
        top += height
    assert plot is not None, "a timeline has a panel"
    plot.ticks_x([(tick, f"{tick:g} s") for tick in even_ticks(end, 8 if width > NARROW_PX else 4)])
    return plot


def _lane_px(panel: LanePanel) -> int:
    return ROOMY_LANE_PX if len(panel.lanes) <= FEW_LANES else LANE_PX


def _draw_lanes(plot: Plot, panel: LanePanel) -> None:
    plot.ground("panel")
    plot.write(panel.title, plot.left, plot.top - 10, bold=True)
    lanes = list(enumerate(panel.lanes))
    plot.ticks_y([(at, lane.name) for at, lane in lanes[:: 1 if len(lanes) <= FEW_LANES else 5]])
    busy = [((start, at), (stop, at)) for at, lane in lanes for start, stop in lane.busy]
    plot.strokes(busy, panel.role, _lane_px(panel) - 3)
    plot.strokes([((x, at - 0.6), (x, at + 0.6)) for at, lane in lanes for x in lane.failed], "bad", 2.6)


MOST_LANES = 40
BINS = 700  # a lane's resolution: idle time shorter than one bin is not seen
FAILED_TICKS = 150
WHOLE_SAMPLE = 0.98
POINTS = 60
MB = 1e6
DASHED, DOTTED = "6 3", "2 2.5"

Series = Mapping[str, Sequence[float | None]]


def view_timeline(record: RunRecord, attempts: Sequence[Row]) -> Chart | None:
    """None when there is no span."""
    zero = _zero(record, attempts)
    spans = [(span, row.get("outcome") in ("failed", "quarantined")) for row in attempts for span in row["spans"]]
    if not spans:
        return None
    end = max(float(span["ended"]) for span, _ in spans) - zero
    panels, notes = [], []
    for stage, most in _lane_room(spans).items():
        panel, left_out = _panel(stage, record, [entry for entry in spans if entry[0].get("stage") == stage], most,
                                 zero, end)  # fmt: skip
        panels.append(panel)
        if left_out:
            notes.append(f"{len(panel.lanes)} of {len(panel.lanes) + left_out} {stage} workers are shown.")
    kept = _kept_share(record, spans)
    if kept is not None and kept < WHOLE_SAMPLE:
        notes.append(f"Drawn from a sample of {share(kept)} of the attempts, so a gap need not be idle time.")
    sentence = _timeline_sentence(record, panels, end, is_whole=kept is not None and kept >= WHOLE_SAMPLE)
    notes.append("A tall red tick is a failed attempt’s end.")
    label = Label(name="timeline", title="Who worked when", sentence=sentence, note=" ".join(notes))
    return label.charts(lambda width: _timeline(panels, end or 1.0, width))


def view_series(record: RunRecord) -> list[Chart]:
    """Throughput, items inside, CPU, memory: each where the sampler saw it."""
    series = record.samples.series
    if len(series.get("t_seconds") or ()) < 3:
        return []
    charts = (_throughput(series), _inside(record, series), _cpu(record, series), _memory(record, series))
    return [chart for chart in charts if chart is not None]


def _zero(record: RunRecord, attempts: Sequence[Row]) -> float:
    """In the time of spans.jsonl, which counts from the observer's start."""
    watched, observed = record.samples.started, record.observer_started
    earliest = min((float(span["started"]) for row in attempts for span in row["spans"]), default=0.0)
    if watched is None or observed is None:
        return earliest
    return min(watched - observed, earliest)


def _lane_room(spans: Sequence[tuple[Row, bool]]) -> dict[str, int]:
    """How many lanes each stage gets: all its workers, or an even part of `MOST_LANES` and what others leave over."""
    names: dict[str, set[str]] = {}
    for span, _ in spans:
        names.setdefault(str(span.get("stage")), set()).add(str(span.get("worker")))
    room = MOST_LANES
    lanes = {}
    for number, stage in enumerate(sorted(names, key=lambda name: len(names[name]))):
        lanes[stage] = min(len(names[stage]), room // (len(names) - number))
        room -= lanes[stage]
    return {stage: lanes[stage] for stage in sorted(names, key=lambda name: name != "download")}


def _panel(
    stage: str, record: RunRecord, spans: Sequence[tuple[Row, bool]], most: int, zero: float,
    end: float,
) -> tuple[LanePanel, int]:  # fmt: skip
    by_worker: dict[str, list[tuple[float, float, bool]]] = {}
    for span, failed in spans:
        times = float(span["started"]) - zero, float(span["ended"]) - zero, failed
        by_worker.setdefault(str(span.get("worker")), []).append(times)
    names = sorted(by_worker, key=worker_order)
    shown = [names[at * len(names) // most] for at in range(most)] if len(names) > most else names
    lanes = [_lane(name.rpartition("-")[2], by_worker[name], end) for name in shown]
    mode = record.stages[stage].mode if stage in record.stages else "unknown"
    title = f"{stage}, {mode} mode; each lane is one worker"
    role = "network" if stage == "download" else "cpu"
    return LanePanel(title=title, role=role, lanes=lanes), len(names) - len(lanes)


def _lane(name: str, spans: list[tuple[float, float, bool]], end: float) -> Lane:
    """Spans that lie closer together than a bin become one stroke."""
    bin_seconds = end / BINS
    busy: list[tuple[float, float]] = []
    for start, ended, _ in sorted(spans):
        stop = max(ended, start + bin_seconds / 2)
        if busy and start - busy[-1][1] < bin_seconds:
            busy[-1] = busy[-1][0], max(stop, busy[-1][1])
        else:
            busy.append((start, stop))
    failed = sorted(stop for _, stop, is_failed in spans if is_failed)
    every = max(1, len(failed) // FAILED_TICKS)
    return Lane(name=name, busy=busy, failed=failed[::every])


def _kept_share(record: RunRecord, spans: Sequence[tuple[Row, bool]]) -> float | None:
    """How much of all attempts the sample holds, by the spans of the first stage."""
    tasks = record.stages["download"].tasks if "download" in record.stages else 0
    return sum(span.get("stage") == "download" for span, _ in spans) / tasks if tasks else None


def _timeline_sentence(record: RunRecord, panels: Sequence[LanePanel], end: float, *, is_whole: bool) -> str:
    told = ", ".join(
        f"the {stage} workers were busy {share(record.stages[stage].load.busy)} of the time in which they could work"
        for panel in panels
        if (stage := panel.title.split(",")[0]) in record.stages
    )
    sentence = f"{told[:1].upper()}{told[1:]}." if told else f"{seconds(end)} of work."
    gap = _longest_gap(panels[-1], end) if is_whole and panels else None
    if gap is not None and gap[1] - gap[0] >= 0.05 * end:
        stage = panels[-1].title.split(",")[0]
        sentence += (f" For {seconds(gap[1] - gap[0])}, from {seconds(gap[0])} on, no {stage} worker had anything "
                     "to do.")  # fmt: skip
    return sentence


def _longest_gap(panel: LanePanel, end: float) -> tuple[float, float] | None:
    """The longest time in which no lane was busy."""
    strokes = sorted(span for lane in panel.lanes for span in lane.busy)
    gaps, reached = [], 0.0
    for start, stop in strokes:
        gaps.append((reached, start))
        reached = max(reached, stop)
    gaps.append((reached, end))
    return max(gaps, key=lambda gap: gap[1] - gap[0], default=None)


def _thinned(series: Series, *names: str) -> list[tuple[float, ...]]:
    """Rows of time and the named columns where all are known, at most about `POINTS` of them, ends included."""
    columns = [series.get("t_seconds") or (), *(series.get(name) or () for name in names)]
    if not all(columns):
        return []
    rows = [tuple(map(float, row)) for row in zip(*columns, strict=False) if None not in row]
    if not rows:
        return []
    step = rows[-1][0] / POINTS
    kept = rows[:1]
    for row in rows[1:-1]:
        if row[0] - kept[-1][0] >= step:
            kept.append(row)
    return [*kept, *rows[-1:]] if len(rows) > 1 else kept


def _rates(rows: Sequence[tuple[float, ...]], column: int) -> list[float]:
    """Growth per second between rows, a value for each but the last, which repeats."""
    rates = [(later[column] - earlier[column]) / (later[0] - earlier[0]) for earlier, later in pairwise(rows)
             if later[0] > earlier[0]]  # fmt: skip
    return [*rates, *rates[-1:]]


def curves(label: Label, lines: Sequence[Line], *, limit: tuple[float, str] | None = None, unit: str = "") -> Chart:
    """Figures over time with their names above. `limit`: a level that cannot be passed, and its name."""
    level, name = limit or (0.0, "")
    levels = [LegendKey(name=name, role="ink", width=1, dashes="1 3")] if limit else []
    keys = [*(key for key, _ in lines), *levels]
    high = 1.1 * max([level, *(value for _, points in lines for _, value in points)]) or 1.0
    longest, top = max(points[-1][0] for _, points in lines) or 1.0, legend_px(keys, NARROW_PX) + LINE_PX / 2
    plot = Plot((NARROW_PX, 160 + top), (46, 10, top, 24), (0, longest), (0, high))
    plot.ticks_y([(tick, f"{tick:g}{unit}") for tick in even_ticks(high, 4)], grid=True)
    plot.ticks_x([(tick, f"{tick:g} s") for tick in even_ticks(longest, 5)])
    for key, points in lines:
        plot.line(points, key)
    for key in levels:
        plot.rules(y=[level], role=key.role, width=key.width, dashes=key.dashes)
    plot.legend(keys)
    return label.chart(plot)


def _line(name: str, role: str, rows: Sequence[tuple[float, ...]], values: Sequence[float], dashes: str = "", *,
          steps: bool = False) -> Line:  # fmt: skip
    """Values at the times of the rows."""
    points = [(row[0], value) for row, value in zip(rows, values, strict=False)]
    return LegendKey(name=name, role=role, dashes=dashes, steps=steps), points


def _throughput(series: Series) -> Chart | None:
    rows = _thinned(series, "transform_out_total")
    rates = _rates(rows, 1)
    if len(rates) < 3 or len(rates) != len(rows):
        return None
    end, total = rows[-1]
    best = max(range(len(rates)), key=rates.__getitem__)
    sentence = (
        f"{significant(total / end)} attempts/s left the pipeline on average, failed ones included, "
        f"at most {significant(rates[best])}/s at {seconds(rows[best][0])}"
    )
    tail = (end - next((row[0] for row in rows if row[1] >= 0.9 * total), end)) / end
    sentence += f"; the last tenth took {share(tail)} of the time." if tail > 0.2 else "."
    label = Label(name="throughput", title="Throughput", sentence=sentence)
    return curves(label, [_line("attempts finished per second", "cpu", rows, rates, steps=True)])


def _inside(record: RunRecord, series: Series) -> Chart | None:
    rows = _thinned(series, "download_in_total", "download_out_total", "transform_out_total")
    if len(rows) < 3:
        return None
    download, transform = [row[1] - row[2] for row in rows], [row[2] - row[3] for row in rows]
    lines = [_line("in download", "network", rows, download), _line("in transform", "cpu", rows, transform, DASHED)]
    means, peaks = record.samples.gauge_means, record.samples.gauge_peaks
    waiting = _thinned(series, "waiting")
    if waiting and max(row[1] for row in waiting) <= 8 * max([1.0, *download, *transform]):
        lines.append(_line("waiting to start", "starved", waiting, [row[1] for row in waiting], DOTTED))
    sentence = "How many items were inside a stage is unknown."
    if {"download_in_total", "download_out_total", "transform_out_total"} <= set(means):
        inside = means["download_in_total"] - means["download_out_total"]
        beyond = means["download_out_total"] - means["transform_out_total"]
        sentence = (f"On average {significant(max(0.0, inside))} items were inside download and "
                    f"{significant(max(0.0, beyond))} inside transform, queues included")  # fmt: skip
        sentence += f"; at most {peaks['waiting']:,.0f} waited to start." if "waiting" in peaks else "."
    return curves(Label(name="inside", title="Items in flight", sentence=sentence), lines)


def _cpu(record: RunRecord, series: Series) -> Chart | None:
    rows = _thinned(series, "cpu_seconds_total")
    if len(rows) < 3:
        return None
    lines = [_line("this run", "cpu", rows, _rates(rows, 1), steps=True)]
    cores, watched = float(record.host.cores), rows[-1][0] - rows[0][0]
    used = (rows[-1][1] - rows[0][1]) / watched
    sentence = f"This run used {significant(used)} of {cores:g} cores on average"
    beside = _thinned(series, "cpu_seconds_total", "origin_cpu_seconds_total", "machine_busy_seconds_total")
    if len(beside) >= 3:
        ours, served, whole = (_rates(beside, column) for column in (1, 2, 3))
        others = [max(0.0, all_of - own - origin) for own, origin, all_of in zip(ours, served, whole, strict=True)]
        lines.append(_line("others", "run_queue", beside, others, DASHED, steps=True))
        if beside[-1][2] > 0:
            lines.append(_line("demo server", "starved", beside, served, DOTTED, steps=True))
        grown = [last - first for first, last in zip(beside[0], beside[-1], strict=True)]
        sentence += f"; other programs took {significant(max(0.0, grown[3] - grown[1] - grown[2]) / watched)}"
    label = Label(name="cpu", title="Cores in use", sentence=f"{sentence}.")
    return curves(label, lines, limit=(cores, "all cores") if cores else None)


def _memory(record: RunRecord, series: Series) -> Chart | None:
    found = [("memory (PSS)", "cpu", _thinned(series, "pss_bytes"), ""),
             ("images in flight", "run_queue", held := _thinned(series, "held_bytes"), DASHED)]  # fmt: skip
    lines = [_line(name, role, rows, [row[1] / MB for row in rows], dashes)
             for name, role, rows, dashes in found if len(rows) >= 2]  # fmt: skip
    if not lines:
        return None
    sentence = f"All processes of the run together held at most {size(record.memory.peak_pss_bytes)} of memory"
    if len(held) >= 2:
        sentence += f"; up to {size(max(row[1] for row in held))} were images on their way"
    return curves(Label(name="memory", title="Memory", sentence=f"{sentence}."), lines, unit=" MB")
