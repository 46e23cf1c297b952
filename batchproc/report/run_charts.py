"""The charts of a run with what each says: time breakdowns, ceilings, who worked when, the sampler's series.

Time 0 is when the sampler began to watch.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from batchproc.explain.words import CATEGORIES, seconds, share, significant, size, workers
from batchproc.record.explanation import Ceiling, Choice
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import StageRecord
from batchproc.report.charts import (
    BarPart,
    Curve,
    Lane,
    LanePanel,
    account_bar,
    ceiling_bars,
    ceiling_name,
    curves,
    timeline,
)
from batchproc.report.run_files import Row
from batchproc.report.svg import Chart, Label, role_of

SMALL = 0.0005  # shares below this are told together


class StageView(Struct, frozen=True, kw_only=True):
    """One stage: its record, and what is made of it. `tiny`: the buckets that are too small for a row."""

    name: str
    stage: StageRecord
    choice: Choice
    chart: Chart
    rows: Sequence[BarPart]
    tiny: str


class CeilingView(Struct, frozen=True, kw_only=True):
    """The ceilings of one stage."""

    name: str
    chart: Chart | None
    ceilings: Sequence[Ceiling]


def view_stages(record: RunRecord) -> list[StageView]:
    """Every stage of the run, in its order."""
    choices = {choice.stage: choice for choice in record.choices}
    return [_view_stage(name, stage, choices.get(name)) for name, stage in record.stages.items()]


def view_ceilings(record: RunRecord) -> list[CeilingView]:
    """The ceilings that the explanation found, stage by stage."""
    rates = record.measured_rate_per_second
    return [
        _view_ceilings(name, record.ceilings[name], rates.get(name))
        for name in record.stages if record.ceilings.get(name)
    ]  # fmt: skip


def _view_stage(name: str, stage: StageRecord, choice: Choice | None) -> StageView:
    rows, tiny = _parts_of(stage)
    sentence = _account_sentence(name, stage, rows)
    label = Label(name=f"account-{name}", title=f"Where the time of {name} went", sentence=sentence)
    unknown = f"Unknown: this run.json does not say why {name} ran in {stage.mode} mode."
    return StageView(
        name=name,
        stage=stage,
        choice=choice or Choice(stage=name, verdict=unknown),
        chart=account_bar(label, rows),
        rows=rows,
        tiny=tiny,
    )


def _parts_of(stage: StageRecord) -> tuple[list[BarPart], str]:
    """The rows worth a line, and a phrase for the rest. A bucket that this program does not know keeps its name."""
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


def _account_sentence(name: str, stage: StageRecord, rows: Sequence[BarPart]) -> str:
    if not rows:
        return f"{name} had no worker-seconds to account for."
    largest = sorted(rows, key=lambda row: -row.share)[:3]
    told = ", ".join(f"{share(row.share)} {row.words}" for row in largest)
    return f"Of the {seconds(stage.whole_seconds)} that {workers(stage)} had for {name}: {told}."


def gil_words(stage: StageRecord) -> str:
    """How long the workers waited for the GIL, and how that was found."""
    waited, error = stage.account.get("gil_wait"), stage.gil_error_seconds
    if stage.gil_method == "unknown" or waited is None:
        return "Waiting for the GIL: unknown; where there was any, it is part of a blocked bucket."
    margin = f" ± {seconds(error)}" if error else ""
    how = {"sampled": "sampled from outside the process", "residual": "what is left over in a stage without waits"}
    return f"Waiting for the GIL: {seconds(waited)}{margin}, {how.get(stage.gil_method, stage.gil_method)}."


def _view_ceilings(name: str, ceilings: Sequence[Ceiling], measured: float | None) -> CeilingView:
    sentence = _ceiling_sentence(name, ceilings, measured)
    label = Label(name=f"ceilings-{name}", title=f"Ceilings of {name}", sentence=sentence)
    is_known = measured is not None and any(one.rate_per_second is not None for one in ceilings)
    chart = ceiling_bars(label, ceilings, measured or 0.0) if is_known else None
    return CeilingView(name=name, chart=chart, ceilings=ceilings)


def _ceiling_sentence(name: str, ceilings: Sequence[Ceiling], measured: float | None) -> str:
    """Which ceiling is reached, by the figures."""
    if measured is None:
        return f"The rate of {name} is unknown."
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


MOST_LANES = 40
BINS = 700  # a lane's resolution: idle time shorter than one bin is not seen
FAILED_TICKS = 150
WHOLE_SAMPLE = 0.98
POINTS = 60
MB = 1e6

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
    return timeline(label, panels, end)


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
    names = sorted(by_worker, key=_worker_order)
    shown = [names[at * len(names) // most] for at in range(most)] if len(names) > most else names
    lanes = [_lane(name.rpartition("-")[2], by_worker[name], end) for name in shown]
    mode = record.stages[stage].mode if stage in record.stages else "unknown"
    title = f"{stage}, {mode} mode; each lane is one worker"
    role = "network" if stage == "download" else "cpu"
    return LanePanel(title=title, role=role, lanes=lanes), len(names) - len(lanes)


def _worker_order(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("-")
    return (stem, int(number)) if re.fullmatch(r"(?a:\d{1,9})", number) else (name, 0)


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


def _throughput(series: Series) -> Chart | None:
    rows = _thinned(series, "transform_out_total")
    rates = _rates(rows, 1)
    if len(rates) < 3 or len(rates) != len(rows):
        return None
    times, total = [row[0] for row in rows], rows[-1][1]
    best = max(range(len(rates)), key=rates.__getitem__)
    sentence = (
        f"{significant(total / times[-1])} attempts/s left the line on average, failed ones included, "
        f"at most {significant(rates[best])}/s at {seconds(times[best])}"
    )
    late = next((row[0] for row in rows if row[1] >= 0.9 * total), times[-1])
    tail = (times[-1] - late) / times[-1]
    sentence += f"; the last tenth took {share(tail)} of the time." if tail > 0.2 else "."
    label = Label(name="throughput", title="Throughput", sentence=sentence)
    line = Curve(name="attempts finished per second", role="cpu", values=rates, steps=True)
    return curves(label, times, [line])


def _inside(record: RunRecord, series: Series) -> Chart | None:
    rows = _thinned(series, "download_in_total", "download_out_total", "transform_out_total")
    if len(rows) < 3:
        return None
    times = [row[0] for row in rows]
    download, transform = [row[1] - row[2] for row in rows], [row[2] - row[3] for row in rows]
    lines = [
        Curve(name="in download", role="network", values=download),
        Curve(name="in transform", role="cpu", values=transform, dashes="6 3"),
    ]
    means, peaks = record.samples.gauge_means, record.samples.gauge_peaks
    waiting = _thinned(series, "waiting")
    if waiting and max(row[1] for row in waiting) <= 8 * max([1.0, *download, *transform]):
        lines.append(Curve(name="waiting to start", role="starved", values=[row[1] for row in waiting], dashes="2 2.5",
                           times=[row[0] for row in waiting]))  # fmt: skip
    sentence = "How many items were inside a stage is unknown."
    if {"download_in_total", "download_out_total", "transform_out_total"} <= set(means):
        inside = means["download_in_total"] - means["download_out_total"]
        beyond = means["download_out_total"] - means["transform_out_total"]
        sentence = (f"On average {significant(max(0.0, inside))} items were inside download and "
                    f"{significant(max(0.0, beyond))} inside transform, queues included")  # fmt: skip
        sentence += f"; at most {peaks['waiting']:,.0f} waited to start." if "waiting" in peaks else "."
    label = Label(name="inside", title="Items in flight", sentence=sentence)
    return curves(label, times, lines)


def _cpu(record: RunRecord, series: Series) -> Chart | None:
    rows = _thinned(series, "cpu_seconds_total")
    if len(rows) < 3:
        return None
    times = [row[0] for row in rows]
    lines = [Curve(name="this run", role="cpu", values=_rates(rows, 1), steps=True)]
    cores = float(record.host.cores)
    used = (rows[-1][1] - rows[0][1]) / (times[-1] - times[0])
    sentence = f"This run used {significant(used)} of {cores:g} cores on average"
    beside = _thinned(series, "cpu_seconds_total", "origin_cpu_seconds_total", "machine_busy_seconds_total")
    if len(beside) >= 3:
        others = [max(0.0, whole - ours - served) for whole, ours, served in
                  zip(_rates(beside, 3), _rates(beside, 1), _rates(beside, 2), strict=True)]  # fmt: skip
        lines.append(Curve(name="others", role="run_queue", values=others, dashes="6 3", steps=True,
                           times=[row[0] for row in beside]))  # fmt: skip
        if beside[-1][2] > 0:
            lines.append(Curve(name="demo server", role="starved", values=_rates(beside, 2), dashes="2 2.5", steps=True,
                               times=[row[0] for row in beside]))  # fmt: skip
        growth = [beside[-1][column] - beside[0][column] for column in (1, 2, 3)]
        other = max(0.0, growth[2] - growth[0] - growth[1]) / (times[-1] - times[0])
        sentence += f"; other programs took {significant(other)}"
    label = Label(name="cpu", title="Cores in use", sentence=f"{sentence}.")
    limit = (cores, "all cores") if cores else None
    return curves(label, times, lines, limit=limit)


def _memory(record: RunRecord, series: Series) -> Chart | None:
    rows, held = _thinned(series, "pss_bytes"), _thinned(series, "held_bytes")
    lines = []
    if len(rows) >= 2:
        lines.append(Curve(name="memory (PSS)", role="cpu", values=[row[1] / MB for row in rows],
                           times=[row[0] for row in rows]))  # fmt: skip
    if len(held) >= 2:
        lines.append(Curve(name="images in flight", role="run_queue", values=[row[1] / MB for row in held],
                           dashes="6 3", times=[row[0] for row in held]))  # fmt: skip
    if not lines:
        return None
    sentence = f"All processes of the run together held at most {size(record.memory.peak_pss_bytes)} of memory"
    if len(held) >= 2:
        sentence += f"; up to {size(max(row[1] for row in held))} were images on their way"
    label = Label(name="memory", title="Memory", sentence=f"{sentence}.")
    times = [row[0] for row in max((rows, held), key=len)]
    return curves(label, times, lines, unit=" MB")
