"""The charts of the bench and of the lab: rates of cases and rounds as points and bars, and curves over an axis."""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from msgspec import Struct

from batchproc.report.svg import (
    FONT_PX,
    NARROW_PX,
    Chart,
    Label,
    chart_text,
    in_our_style,
    name_above,
    one_plot,
    short_text,
    stand_in,
)

GUTTER_LETTERS = 42  # names up to this length stand beside their row where there is room
LETTER_PX = 6.6
SIDE_SHARE = 0.28  # of the axis: a side that is narrower is not named
LEAST_NUMBERED = 0.035  # share of the axis below which no number fits on a segment
TICK_PX = 46
TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0, 50.0)
KINDS = {  # how a round's point looks: marker, role, size in px
    "counted": ("o", "cpu", 5.0),
    "disturbed": ("D", "run_queue", 5.2),
    "set_aside": ("x", "quiet", 5.0),
}


class SpeedRow(Struct, frozen=True, kw_only=True):
    """A case on the log axis of speeds against a reference, 1 being as fast. Everything may be missing.

    `points` are (speed, kind of KINDS). The filled mark is what was measured with its interval, the hollow one what was
    predicted with its range. `note` stands at the right.
    """

    name: str
    note: str
    points: Sequence[tuple[float, str]] = ()
    middle: float | None = None
    interval: tuple[float, float] | None = None
    predicted: float | None = None
    predicted_range: tuple[float, float] | None = None

    @property
    def speeds(self) -> list[float]:
        """All that must be inside the axis."""
        singles = [value for value in (self.middle, self.predicted) if value is not None]
        return [*(speed for speed, _ in self.points), *singles, *(self.interval or ()), *(self.predicted_range or ())]


class BarRow(Struct, frozen=True, kw_only=True):
    """A bar of parts (number in the legend or 0 for none, value, role of the colour), and what stands behind it.

    `points` are single measurements, drawn over it.
    """

    name: str
    note: str
    parts: Sequence[tuple[int, float, str]]
    points: Sequence[float] = ()


@in_our_style
def speed_rows(
    label: Label, rows: Sequence[SpeedRow], *, margin: float, sides: tuple[str, str] = ("slower", "faster")
) -> Chart:
    """Rows of marks on one log axis, wide and narrow; `margin` is the ratio within which a difference is a tie.

    `sides` is what it means to be left and right of 1.
    """
    return label.charts(lambda width: _speed_rows(rows, margin, width, sides))


@in_our_style
def case_bars(label: Label, rows: Sequence[BarRow], unit: str) -> Chart:
    """A bar per case on one scale from 0."""
    figure, axes = one_plot(NARROW_PX, 30 + 38 * len(rows), left=4, right=10, top=4, bottom=26)
    longest = max((max([sum(value for _, value, _ in row.parts), *row.points]) for row in rows), default=0.0) or 1.0
    axes.set(xlim=(0, 1.04 * longest), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    for at, row in enumerate(rows):
        name_above(axes, at, row.name, row.note)
        left = 0.0
        for number, value, role in row.parts:
            axes.barh([at + 0.2], [value], left=left, height=0.42, color=stand_in(role), linewidth=0.8,
                      edgecolor=stand_in("page"))  # fmt: skip
            if number and value >= LEAST_NUMBERED * longest:
                ink = "ink" if role == "unstaffed" else "on_fill"
                axes.text(left + value / 2, at + 0.2, str(number), ha="center", va="center_baseline", weight="bold",
                          color=stand_in(ink), fontsize=FONT_PX - 1)  # fmt: skip
            left += value
        axes.plot(row.points, [at + 0.2] * len(row.points), linestyle="", marker="o", markersize=5, clip_on=False,
                  color=stand_in("ink"), markeredgecolor=stand_in("page"), markeredgewidth=0.8)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:g} {short_text(unit)}" if value else "0"))
    axes.grid(axis="x", color=stand_in("line"), linewidth=0.8)
    axes.set_axisbelow(True)
    return label.chart(figure)


def _speed_rows(rows: Sequence[SpeedRow], margin: float, width: int, sides: tuple[str, str]) -> Any:
    longest = max((len(short_text(row.name)) for row in rows), default=0)
    beside = width > NARROW_PX and longest <= GUTTER_LETTERS
    gutter, note = (round(LETTER_PX * longest) + 14, 150) if beside else (8, 12)
    row_px = 25 if beside else 36
    figure, axes = one_plot(width, 48 + row_px * len(rows), left=gutter, right=note, top=20, bottom=28)
    low, high = _extent(rows, margin)
    axes.set(xlim=(math.log(low), math.log(high)), ylim=(len(rows) - 0.5, -0.5), yticks=[])
    axes.axvspan(-math.log(margin), math.log(margin), color=stand_in("unstaffed"), linewidth=0)
    axes.axvline(0, color=stand_in("quiet"), linewidth=1)
    _name_sides(axes, sides, (low, high))
    for at, row in enumerate(rows):
        axes.axhline(at + 0.5, color=stand_in("line"), linewidth=0.6)
        if beside:
            _name_beside(axes, at, row)
        else:
            name_above(axes, at, row.name, row.note)
        _draw_marks(axes, at if beside else at + 0.2, row)
    ticks = _ticks(low, high, width - gutter - note)
    axes.set_xticks([math.log(tick) for tick in ticks])
    axes.set_xticklabels([f"× {tick:g}" for tick in ticks])
    axes.grid(axis="x", color=stand_in("line"), linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def _name_sides(axes: Axes, sides: tuple[str, str], ends: tuple[float, float]) -> None:
    """What lies left and right of 1, above the rows, where there is room for it."""
    names = (f"\u2190 {short_text(sides[0])}", f"{short_text(sides[1])} \u2192")
    for name, shift, ha, end in zip(names, (-6, 6), ("right", "left"), ends, strict=True):
        if abs(math.log(end)) > SIDE_SHARE * math.log(ends[1] / ends[0]):
            axes.annotate(name, (0, 1), xycoords=("data", "axes fraction"), xytext=(shift, 5), ha=ha,
                          textcoords="offset points", color=stand_in("quiet"), fontsize=FONT_PX)  # fmt: skip


def _draw_marks(axes: Axes, y: float, row: SpeedRow) -> None:
    """The prediction below, then interval and middle, then every point."""
    if row.predicted_range is not None:
        _span(axes, y, row.predicted_range, role="startup", width=2.0)
    if row.interval is not None:
        _span(axes, y, row.interval, role="ink", width=2.0)
    for kind, (marker, role, size) in KINDS.items():
        speeds = [math.log(speed) for speed, of in row.points if of == kind]
        if speeds:
            edge = stand_in(role if marker == "x" else "page")
            axes.plot(speeds, [y] * len(speeds), linestyle="", marker=marker, markersize=size, color=stand_in(role),
                      markeredgecolor=edge, markeredgewidth=1.4 if marker == "x" else 0.6, clip_on=False)  # fmt: skip
    if row.middle is not None:
        _middle_mark(axes, y, row, math.log(row.middle))
    if row.predicted is not None:
        axes.plot([math.log(row.predicted)], [y], linestyle="", marker="D", markersize=7, color=stand_in("page"),
                  markeredgecolor=stand_in("startup"), markeredgewidth=2, clip_on=False)  # fmt: skip


def _middle_mark(axes: Axes, y: float, row: SpeedRow, x: float) -> None:
    """A tall tick among points, a dot where it stands alone."""
    marker, size = ("|", 17.0) if row.points else ("o", 8.0)
    axes.plot([x], [y], linestyle="", marker=marker, markersize=size, markeredgewidth=2.4 if row.points else 0.6,
              color=stand_in("ink"), clip_on=False)  # fmt: skip


def _span(axes: Axes, y: float, ends: tuple[float, float], *, role: str, width: float) -> None:
    axes.plot([math.log(end) for end in ends], [y, y], color=stand_in(role), linewidth=width, solid_capstyle="butt",
              marker="|", markersize=8, markeredgewidth=1.6)  # fmt: skip


def _name_beside(axes: Axes, at: int, row: SpeedRow) -> None:
    write = partial(axes.annotate, xycoords=("axes fraction", "data"), textcoords="offset points",
                    va="center_baseline", fontsize=FONT_PX, color=stand_in("ink"))  # fmt: skip
    write(short_text(row.name), (0, at), xytext=(-10, 0), ha="right")
    write(row.note, (1, at), xytext=(12, 0), ha="left")


def _extent(rows: Sequence[SpeedRow], margin: float) -> tuple[float, float]:
    """The ends of the axis: all marks, the margin, and a little room."""
    speeds = [1 / margin, margin, *(speed for row in rows for speed in row.speeds)]
    low, high = min(speeds), max(speeds)
    room = (high / low) ** 0.04
    return low / room, high * room


def _ticks(low: float, high: float, width_px: float) -> list[float]:
    """Round speeds inside the ends, never closer than a label is wide; 1 is always among them."""
    px_of: Callable[[float], float] = lambda speed: width_px * math.log(speed / low) / math.log(high / low)  # noqa: E731
    kept = [1.0]
    for tick in sorted(TICKS, key=lambda value: abs(math.log(value))):
        if low <= tick <= high and all(abs(px_of(tick) - px_of(other)) >= TICK_PX for other in kept):
            kept.append(tick)
    return sorted(kept)


LOOKS = (("o", "cpu"), ("s", "gil_wait"), ("^", "network"), ("D", "ipc"), ("v", "run_queue"))
DASHES = ((0, (5, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (2, 1)))
LEGEND_PX = 16
MOST_TICKS = 7
TICK_STEPS = ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
ROOM = 0.05  # of the axis, beside the outermost marks


class Trace(Struct, frozen=True, kw_only=True):
    """A measured series: every value as (x, y), joined by its medians. `look` chooses mark and colour."""

    name: str
    points: Sequence[tuple[float, float]]
    look: int
    is_control: bool = False  # hollow marks, thin line


class Model(Struct, frozen=True, kw_only=True):
    """A line that was computed, not measured. Without a name it is not in the legend."""

    name: str
    points: Sequence[tuple[float, float]]
    role: str = "ink"
    dashes: int = 0


class Meeting(Struct, frozen=True, kw_only=True):
    """A place where two lines cross, with its words; `is_predicted` draws it hollow and dashed."""

    name: str
    x: float
    y: float
    is_predicted: bool = False


class Axis(Struct, frozen=True, kw_only=True):
    """A logarithmic axis: its name with the unit, and how a value of it is written. `zero`: where 0 stands."""

    name: str
    write: Callable[[float], str]
    zero: float | None = None
    ticks: Sequence[float] = ()  # empty: round numbers


@in_our_style
def curve_chart(
    label: Label, axis: Axis, height: Axis, traces: Sequence[Trace], models: Sequence[Model],
    meetings: Sequence[Meeting] = (),
) -> Chart:  # fmt: skip
    """The whole chart, `NARROW_PX` wide, which fits a phone and half a page."""
    named = len(traces) + sum(bool(model.name) for model in models)
    top = LEGEND_PX * -(-named // 2) + (38 if meetings else 26)
    figure, axes = one_plot(NARROW_PX, 224 + top, left=52, right=16, top=top, bottom=42)
    place = _placer(axis)
    for model in models:
        axes.plot([place(x) for x, _ in model.points], [math.log(y) for _, y in model.points],
                  color=stand_in(model.role), linewidth=1.4, linestyle=DASHES[model.dashes % len(DASHES)],
                  label=chart_text(model.name) if model.name else "_")  # fmt: skip
    for trace in traces:
        _draw_trace(axes, trace, place)
    for number, meeting in enumerate(sorted(meetings, key=lambda one: one.x)):
        _draw_meeting(axes, meeting, place, number)
    _set_axes(axes, axis, height, traces, models, meetings)
    _draw_legend(axes, models)
    return label.chart(figure)


def _draw_legend(axes: Axes, models: Sequence[Model]) -> None:
    """Above the plot; what was measured comes first."""
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda at: names[at] in {model.name for model in models})
    axes.legend([handles[at] for at in order], [names[at] for at in order], loc="upper left", bbox_to_anchor=(0, 1),
                bbox_transform=axes.figure.transFigure, ncols=2, frameon=False, fontsize=FONT_PX,
                labelcolor=stand_in("ink"), handlelength=2.4, columnspacing=1.2, handletextpad=0.5, borderaxespad=0,
                borderpad=0)  # fmt: skip


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, at most `MOST_TICKS` of the finest steps that do; ends 0 < low <= high."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in TICK_STEPS:
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) <= MOST_TICKS:
            return found
    return found[:: -(-len(found) // MOST_TICKS)]


def _placer(axis: Axis) -> Callable[[float], float]:
    """Where a value stands on its axis; 0 has a place of its own."""
    return lambda value: math.log(value) if value > 0 or axis.zero is None else math.log(axis.zero)


def _draw_trace(axes: Axes, trace: Trace, place: Callable[[float], float]) -> None:
    """A thin bar from the least to the most, every point, and a line through the medians."""
    marker, role = LOOKS[trace.look % len(LOOKS)]
    by_x: dict[float, list[float]] = {}
    for x, y in trace.points:
        by_x.setdefault(x, []).append(y)
    for x, values in by_x.items():
        axes.plot([place(x)] * 2, [math.log(min(values)), math.log(max(values))], color=stand_in(role), linewidth=1)
    axes.plot([place(x) for x, _ in trace.points], [math.log(y) for _, y in trace.points], linestyle="",
              marker=marker, markersize=3.6, color=stand_in("page" if trace.is_control else role),
              markeredgecolor=stand_in(role if trace.is_control else "page"), markeredgewidth=0.9 if trace.is_control
              else 0.4)  # fmt: skip
    middles = sorted((place(x), math.log(median(values))) for x, values in by_x.items())
    axes.plot([x for x, _ in middles], [y for _, y in middles], color=stand_in(role), marker=marker, markersize=5.6,
              markerfacecolor=stand_in("page" if trace.is_control else role), markeredgecolor=stand_in(role),
              linewidth=1 if trace.is_control else 2, label=chart_text(trace.name))  # fmt: skip


def _draw_meeting(axes: Axes, meeting: Meeting, place: Callable[[float], float], number: int) -> None:
    """A ring where the lines cross, a line down to the axis, and the words above the plot or inside it."""
    x, y = place(meeting.x), math.log(meeting.y)
    axes.axvline(x, color=stand_in("quiet"), linewidth=1, linestyle=":" if meeting.is_predicted else "-", zorder=0.5)
    axes.plot([x], [y], linestyle="", marker="o", markersize=11, markerfacecolor="none", markeredgewidth=1.6,
              markeredgecolor=stand_in("ink"), clip_on=False)  # fmt: skip
    axes.annotate(chart_text(meeting.name), (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 3 - 13 * number),
                  textcoords="offset points", ha="center", va="bottom", fontsize=FONT_PX, color=stand_in("ink"),
                  bbox={"facecolor": stand_in("page"), "linewidth": 0, "pad": 0.6}, zorder=6)  # fmt: skip


def _set_axes(axes: Axes, axis: Axis, height: Axis, traces: Sequence[Trace], models: Sequence[Model],
              meetings: Sequence[Meeting]) -> None:  # fmt: skip
    points = [point for trace in traces for point in trace.points]
    points += [point for model in models for point in model.points]
    points += [(meeting.x, meeting.y) for meeting in meetings]
    place = _placer(axis)
    across = [place(x) for x, _ in points]
    up = [math.log(y) for _, y in points]
    axes.set(xlim=_padded(across), ylim=_padded(up))
    lowest = min((x for x, _ in points if x > 0), default=1.0)
    ticks = list(axis.ticks) or round_ticks(lowest, max([lowest, *(x for x, _ in points)]))
    axes.set_xticks([place(tick) for tick in ticks])
    axes.set_xticklabels([_bare(axis.write(tick)) for tick in ticks])
    steps = round_ticks(math.exp(min(up)), math.exp(max(up)))
    axes.set_yticks([math.log(step) for step in steps])
    axes.set_yticklabels([_bare(height.write(step)) for step in steps])
    axes.set_xlabel(chart_text(axis.name), color=stand_in("quiet"), fontsize=FONT_PX, labelpad=2)
    above = 22 if meetings else 8
    axes.annotate(chart_text(height.name), (0, 1), xycoords="axes fraction", xytext=(-50, above),
                  textcoords="offset points", fontsize=FONT_PX, color=stand_in("quiet"), ha="left")  # fmt: skip
    axes.grid(color=stand_in("line"), linewidth=0.8)
    axes.set_axisbelow(True)


def _bare(text: str) -> str:
    """A tick is exact: `30 ms`, not `30.0 ms`."""
    return re.sub(r"\.0(?!\d)", "", text)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    room = ROOM * (max(values) - min(values)) or 0.5
    return min(values) - room, max(values) + room
