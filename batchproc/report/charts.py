"""The charts of the page, drawn from plain values. Each returns an SVG; no chart decides what it means.

Text stays text. What must stay readable on a phone comes in two widths, and the style sheet shows the one that fits.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator
from msgspec import Struct

from batchproc.explain.mode_wording import StageRates
from batchproc.explain.words import significant
from batchproc.record.explanation import Ceiling
from batchproc.report.svg import (
    FONT_PX,
    NARROW_PX,
    Chart,
    Label,
    blank,
    chart_text,
    in_our_style,
    name_above,
    one_plot,
    plot_in,
    stand_in,
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
    """A figure over time. `dashes` is a dash style of the chart library, so that colour is not alone."""

    name: str
    role: str
    values: Sequence[float]
    dashes: str = "-"
    times: Sequence[float] = ()  # empty: those of the chart
    steps: bool = False


@in_our_style
def mode_bars(stage: StageRates) -> Chart:
    """How fast each mode is: measured ones filled, predicted ones pale, each with its interval."""
    rows, title = stage.rates, f"Modes of {stage.stage}"
    label = Label(name=f"rates-{stage.stage.split()[0]}", title=title, sentence=stage.sentence)
    figure, axes = one_plot(NARROW_PX, 8 + 38 * len(rows), left=4, right=10, top=2, bottom=4)
    ends = [end for row in rows for end in (row.rate, row.high) if end is not None]
    axes.set(xlim=(0, 1.02 * max(ends, default=1.0)), ylim=(len(rows) - 0.5, -0.5), xticks=[], yticks=[])
    for at, row in enumerate(rows):
        role = "cpu" if row.is_measured else "starved"
        name_above(axes, at, row.title, row.note, weight="bold" if row.marks else "normal")
        if row.rate is not None:
            axes.barh([at + 0.2], [row.rate], height=0.42, color=stand_in(role), linewidth=0)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [at + 0.2] * 2, color=stand_in("ink"), linewidth=1.6, marker="|",
                      markersize=9, markeredgewidth=1.6)  # fmt: skip
    return label.chart(figure)


@in_our_style
def account_bar(label: Label, parts: Sequence[BarPart]) -> Chart:
    """One bar of 100%; every part wide enough carries its number in the legend."""
    figure, axes = one_plot(NARROW_PX, 74, left=4, right=8, top=2, bottom=20)
    left = 0.0
    for part in parts:
        axes.barh([0], [max(0.0, part.share)], left=left, height=1, color=stand_in(part.role), linewidth=1.2,
                  edgecolor=stand_in("page"))  # fmt: skip
        if part.share >= LEAST_NUMBERED:
            ink = "ink" if part.role == "unstaffed" else "on_fill"
            axes.text(left + part.share / 2, 0, str(part.number), ha="center", va="center", weight="bold",
                      color=stand_in(ink), fontsize=FONT_PX)  # fmt: skip
        left += max(0.0, part.share)
    axes.set(xlim=(0, max(1.0, left)), ylim=(-0.5, 0.5), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0", "25%", "50%", "75%", "100%"])
    first, *_, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    return label.chart(figure)


def ceiling_name(ceiling: Ceiling) -> str:
    """What people call it."""
    return CEILING_NAMES.get(ceiling.name, ceiling.name)


@in_our_style
def ceiling_bars(label: Label, ceilings: Sequence[Ceiling], measured: float) -> Chart:
    """A bar per ceiling against the measured rate. Bars far beyond it are cut, and say so."""
    figure, axes = one_plot(NARROW_PX, 46 + 26 * len(ceilings), left=100, right=14, top=24, bottom=22)
    cut = 3.2 * max([measured, *(bar.rate_per_second or 0.0 for bar in ceilings if bar.binds)]) or 1.0
    for at, bar in enumerate(reversed(ceilings)):
        rate = min(bar.rate_per_second or 0.0, cut)
        axes.barh([at], [rate], height=0.62, color=stand_in("run_queue" if bar.binds else "starved"))
        _name_bar(axes, at, bar, cut)
    axes.axvline(measured, color=stand_in("ink"), linewidth=1.6, linestyle="--")
    axes.annotate(f"measured {significant(measured)}/s", (measured, 1), xycoords=("data", "axes fraction"),
                  xytext=(0, 4), textcoords="offset points", ha="left" if measured < cut / 2 else "center",
                  color=stand_in("ink"), fontsize=FONT_PX, weight="bold")  # fmt: skip
    axes.set(xlim=(0, cut), ylim=(-0.6, len(ceilings) - 0.4), yticks=range(len(ceilings)))
    axes.set_yticklabels([chart_text(ceiling_name(bar)) for bar in reversed(ceilings)])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    return label.chart(figure)


def _name_bar(axes: Axes, at: int, bar: Ceiling, cut: float) -> None:
    text = "unknown" if bar.rate_per_second is None else f"{significant(bar.rate_per_second)}/s"
    text += " – binds" if bar.binds else ""
    rate = bar.rate_per_second or 0.0
    if rate > cut:
        text += " →"
    inside = rate > 0.55 * cut
    axes.annotate(text, (min(rate, cut), at), xytext=(-5 if inside else 5, 0), textcoords="offset points",
                  ha="right" if inside else "left", va="center_baseline", fontsize=FONT_PX,
                  color=stand_in("on_fill" if inside else "ink"))  # fmt: skip


@in_our_style
def timeline(label: Label, panels: Sequence[LanePanel], end: float) -> Chart:
    """Who worked when, a lane per worker, wide and narrow."""
    return label.charts(lambda width: _timeline(panels, end, width))


def _timeline(panels: Sequence[LanePanel], end: float, width: int) -> Figure:
    heights = [max(2, len(panel.lanes)) * _lane_px(panel) for panel in panels]
    total = sum(heights) + 24 * len(panels) + 24
    figure = blank(width, total)
    top = total
    for panel, height in zip(panels, heights, strict=True):
        top -= 24 + height
        axes = plot_in(figure, (34, top + 24 - 2, width - 46, height), (width, total))
        _draw_lanes(axes, panel, end)
        last = panel is panels[-1]
        axes.tick_params(labelbottom=last)
        axes.xaxis.set_major_locator(MaxNLocator(8 if width > NARROW_PX else 4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:g} s"))
    return figure


def _lane_px(panel: LanePanel) -> int:
    return ROOMY_LANE_PX if len(panel.lanes) <= FEW_LANES else LANE_PX


def _draw_lanes(axes: Axes, panel: LanePanel, end: float) -> None:
    strokes: list[tuple[float, float]] = []
    for at, lane in enumerate(panel.lanes):
        strokes += [(x, at) for span in lane.busy for x in span]
    if strokes:
        path = Path(strokes, [Path.MOVETO, Path.LINETO] * (len(strokes) // 2))
        axes.add_patch(PathPatch(path, fill=False, edgecolor=stand_in(panel.role), linewidth=_lane_px(panel) - 3,
                                 capstyle="butt"))  # fmt: skip
    failed = [(x, at + side) for at, lane in enumerate(panel.lanes) for x in lane.failed for side in (-0.6, 0.6)]
    if failed:
        path = Path(failed, [Path.MOVETO, Path.LINETO] * (len(failed) // 2))
        axes.add_patch(PathPatch(path, fill=False, edgecolor=stand_in("bad"), linewidth=2.6))
    axes.set(xlim=(0, end or 1), ylim=(max(2, len(panel.lanes)) - 0.5, -0.5))
    every = 1 if len(panel.lanes) <= FEW_LANES else 5
    axes.set_yticks(range(0, len(panel.lanes), every))
    axes.set_yticklabels([chart_text(lane.name) for lane in panel.lanes[::every]])
    axes.set_title(chart_text(panel.title), loc="left", fontsize=FONT_PX, weight="bold", color=stand_in("ink"), pad=5)
    axes.set_facecolor(stand_in("panel"))
    axes.patch.set_visible(True)


@in_our_style
def curves(label: Label, times: Sequence[float], lines: Sequence[Curve], *, limit: tuple[float, str] | None = None,
           unit: str = "") -> Chart:  # fmt: skip
    """Figures over time with their names above. `limit`: a level that cannot be passed, and its name."""
    figure, axes = one_plot(NARROW_PX, 190, left=40, right=10, top=30, bottom=24)
    highest = 0.0
    for line in lines:
        at = line.times or times
        axes.plot(at, line.values, color=stand_in(line.role), linestyle=line.dashes, linewidth=1.8, label=line.name,
                  drawstyle="steps-post" if line.steps else "default")  # fmt: skip
        highest = max([highest, *line.values])
    if limit is not None:
        axes.axhline(limit[0], color=stand_in("ink"), linewidth=1, linestyle=":", label=limit[1])
        highest = max(highest, limit[0])
    axes.set(xlim=(0, max(times, default=0.0) or 1), ylim=(0, 1.1 * highest or 1))
    axes.grid(axis="y", color=stand_in("line"), linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:g} s"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:g}{unit}"))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.98), bbox_transform=figure.transFigure, ncols=4, frameon=False,
                fontsize=FONT_PX, labelcolor=stand_in("ink"), handlelength=1.5, columnspacing=1.0, handletextpad=0.4,
                borderaxespad=0.2, borderpad=0)  # fmt: skip
    return label.chart(figure)
