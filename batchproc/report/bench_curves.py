"""Draws a measured quantity against a setting: every point, what the model says, ceilings, and where two lines meet.

Series differ by mark as well as by colour, and predictions are dashed. No chart decides what it means.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup
from matplotlib.axes import Axes

from batchproc.report.canvas import FONT_PX, NARROW_PX, Label, one_plot
from batchproc.report.palette import stand_in
from batchproc.report.svg import chart_text, in_our_style

LOOKS = (("o", "cpu"), ("s", "gil_wait"), ("^", "network"), ("D", "ipc"), ("v", "run_queue"))
DASHES = ((0, (5, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (2, 1)))
LEGEND_PX = 16
MOST_TICKS = 7
TICK_STEPS = ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
ROOM = 0.05  # of the axis, beside the outermost marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A measured series: every value as (x, y), joined by its medians. `look` chooses mark and colour."""

    name: str
    points: Sequence[tuple[float, float]]
    look: int
    is_control: bool = False  # hollow marks, thin line


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A line that was computed, not measured. Without a name it is not in the legend."""

    name: str
    points: Sequence[tuple[float, float]]
    role: str = "ink"
    dashes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A place where two lines cross, with its words; `is_predicted` draws it hollow and dashed."""

    name: str
    x: float
    y: float
    is_predicted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A logarithmic axis: its name with the unit, and how a value of it is written. `zero`: where 0 stands."""

    name: str
    write: Callable[[float], str]
    zero: float | None = None
    ticks: Sequence[float] = ()  # empty: round numbers


@in_our_style
def curve_chart(
    label: Label, axis: Axis, height: Axis, traces: Sequence[Trace], models: Sequence[Model],
    meetings: Sequence[Meeting] = (),
) -> Markup:  # fmt: skip
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
    return label.svg(figure)


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
