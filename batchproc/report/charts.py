"""The charts of a run's page, drawn from plain values. Each returns an SVG; no chart decides what it means.

What must stay readable on a phone comes in two widths, and the style sheet shows the one that fits.
"""

from collections.abc import Sequence

from msgspec import Struct

from batchproc.explain.mode_wording import StageRates
from batchproc.explain.words import significant
from batchproc.record.explanation import Ceiling
from batchproc.report.svg import LINE_PX, NARROW_PX, Chart, Key, Label, Plot, even_ticks, legend_px

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


class Curve(Struct, frozen=True, kw_only=True):
    """A figure over time. `dashes` make a line known without its colour."""

    name: str
    role: str
    values: Sequence[float]
    dashes: str = ""
    times: Sequence[float] = ()  # empty: those of the chart
    steps: bool = False


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


def account_bar(label: Label, parts: Sequence[BarPart]) -> Chart:
    """One bar of 100%; every part wide enough carries its number in the legend."""
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


def ink_on(role: str) -> str:
    """The colour of a number on a bar of this one."""
    return "ink" if role == "unstaffed" else "on_fill"


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


def timeline(label: Label, panels: Sequence[LanePanel], end: float) -> Chart:
    """Who worked when, a lane per worker, wide and narrow."""
    return label.charts(lambda width: _timeline(panels, end or 1.0, width))


def _timeline(panels: Sequence[LanePanel], end: float, width: int) -> Plot:
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


def curves(label: Label, times: Sequence[float], lines: Sequence[Curve], *, limit: tuple[float, str] | None = None,
           unit: str = "") -> Chart:  # fmt: skip
    """Figures over time with their names above. `limit`: a level that cannot be passed, and its name."""
    keys = [Key(name=line.name, role=line.role, dashes=line.dashes) for line in lines]
    level, name = limit or (0.0, "")
    levels = [Key(name=name, role="ink", width=1, dashes="1 3")] if limit else []
    high = 1.1 * max([level, *(value for line in lines for value in line.values)]) or 1.0
    longest, top = max(times, default=0.0) or 1.0, legend_px([*keys, *levels], NARROW_PX) + LINE_PX / 2
    plot = Plot((NARROW_PX, 160 + top), (46, 10, top, 24), (0, longest), (0, high))
    plot.ticks_y([(tick, f"{tick:g}{unit}") for tick in even_ticks(high, 4)], grid=True)
    plot.ticks_x([(tick, f"{tick:g} s") for tick in even_ticks(longest, 5)])
    for line, key in zip(lines, keys, strict=True):
        plot.line(list(zip(line.times or times, line.values, strict=False)), key, steps=line.steps)
    for key in levels:
        plot.rules(y=[level], role=key.role, width=key.width, dashes=key.dashes)
    plot.legend([*keys, *levels])
    return label.chart(plot)
