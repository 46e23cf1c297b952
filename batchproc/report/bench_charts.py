"""The charts of the bench and of the lab: rates of cases and rounds as points and bars, and curves over an axis."""

import math
import re
from collections.abc import Callable, Sequence
from statistics import median

from msgspec import Struct

from batchproc.report.svg import (
    LINE_PX,
    NARROW_PX,
    Chart,
    Label,
    LegendKey,
    Line,
    Plot,
    Point,
    even_ticks,
    ink_on,
    legend_px,
    letters_px,
    short_text,
)

GUTTER_LETTERS = 42  # names up to this length stand beside their row where there is room
SIDE_SHARE = 0.28  # of the axis: a side that is narrower is not named
LEAST_NUMBERED = 0.035  # share of the axis below which no number fits on a segment
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


def speed_rows(
    label: Label, rows: Sequence[SpeedRow], *, margin: float, sides: tuple[str, str] = ("slower", "faster")
) -> Chart:
    """Rows of marks on one log axis, wide and narrow; `margin` is the ratio within which a difference is a tie.

    `sides` is what it means to be left and right of 1.
    """
    return label.charts(lambda width: _speed_rows(rows, margin, width, sides))


def case_bars(label: Label, rows: Sequence[BarRow], unit: str) -> Chart:
    """A bar per case on one scale from 0."""
    longest = max((max([sum(value for _, value, _ in row.parts), *row.points]) for row in rows), default=0.0) or 1.0
    plot = Plot((NARROW_PX, 30 + 38 * len(rows)), (4, 10, 4, 26), (0, 1.04 * longest), (len(rows) - 0.5, -0.5))
    ticks = even_ticks(1.04 * longest, 4)
    plot.ticks_x([(tick, f"{tick:g} {short_text(unit)}" if tick else "0") for tick in ticks], grid=True)
    for at, row in enumerate(rows):
        plot.name_row(at, row.name, row.note)
        left = 0.0
        for number, value, role in row.parts:
            plot.bar((left, left + value), at + 0.2, 0.42, role, edge=0.8)
            if number and value >= LEAST_NUMBERED * longest:
                plot.write(str(number), plot.x(left + value / 2), plot.y(at + 0.2), ink_on(role), anchor="middle",
                           bold=True)  # fmt: skip
            left += value
        plot.marks([(value, at + 0.2) for value in row.points], "o", 5, "ink", width=0.8)
    return label.chart(plot)


def _speed_rows(rows: Sequence[SpeedRow], margin: float, width: int, sides: tuple[str, str]) -> Plot:
    longest = max((len(short_text(row.name)) for row in rows), default=0)
    beside = width > NARROW_PX and longest <= GUTTER_LETTERS
    left, right = (round(letters_px("x" * longest)) + 14, 150) if beside else (8, 12)
    size = width, 48 + (25 if beside else 36) * len(rows)
    ends = _extent(rows, margin)
    plot = Plot(size, (left, right, 20, 28), ends, (len(rows) - 0.5, -0.5), place=(math.log, float))
    plot.ground("unstaffed", (1 / margin, margin))
    inside = sorted((tick for tick in TICKS if ends[0] <= tick <= ends[1]), key=lambda tick: abs(math.log(tick)))
    plot.ticks_x([(tick, f"× {tick:g}") for tick in inside], grid=True)
    plot.rules(x=[1], role="quiet", width=1)
    plot.rules(y=[at + 0.5 for at in range(len(rows))], width=0.6)
    for side, end, shift, anchor in zip(sides, ends, (-6, 6), ("end", "start"), strict=True):
        if abs(math.log(end)) > SIDE_SHARE * math.log(ends[1] / ends[0]):
            words = f"{short_text(side)} →" if end > 1 else f"← {short_text(side)}"
            plot.write(words, plot.x(1) + shift, plot.top - 9, "quiet", anchor=anchor)
    for at, row in enumerate(rows):
        if beside:
            plot.write(short_text(row.name), plot.left - 10, plot.y(at), anchor="end")
            plot.write(row.note, plot.right + 12, plot.y(at))
        else:
            plot.name_row(at, row.name, row.note)
        _draw_marks(plot, at if beside else at + 0.2, row)
    return plot


def _draw_marks(plot: Plot, y: float, row: SpeedRow) -> None:
    """The prediction below, then interval and middle, then every point. The middle is a tall tick among points."""
    for ends, role in ((row.predicted_range, "startup"), (row.interval, "ink")):
        if ends is not None:
            plot.span(ends, y, role, 2)
    for kind, (shape, role, size) in KINDS.items():
        edge, width = (role, 1.4) if shape == "x" else ("page", 0.6)
        plot.marks([(speed, y) for speed, of in row.points if of == kind], shape, size, role, edge=edge, width=width)
    if row.middle is not None:
        shape, size, edge, width = ("|", 17.0, "ink", 2.4) if row.points else ("o", 8.0, "page", 0.6)
        plot.marks([(row.middle, y)], shape, size, "ink", edge=edge, width=width)
    if row.predicted is not None:
        plot.marks([(row.predicted, y)], "D", 7, "page", edge="startup", width=2)


def _extent(rows: Sequence[SpeedRow], margin: float) -> tuple[float, float]:
    """The ends of the axis: all marks, the margin, and a little room."""
    speeds = [1 / margin, margin, *(speed for row in rows for speed in row.speeds)]
    low, high = min(speeds), max(speeds)
    room = (high / low) ** 0.04
    return low / room, high * room


LOOKS = (("o", "cpu"), ("s", "gil_wait"), ("^", "network"), ("D", "ipc"), ("v", "run_queue"))
DASHES = ("7 3", "1.5 2.2", "8 3 1.5 3", "3 1.5")
MOST_TICKS = 7
TICK_STEPS = ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
ROOM = 0.05  # of the axis, beside the outermost marks


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


def measured(name: str, points: Sequence[Point], look: int, *, is_control: bool = False) -> Line:
    """A series with all its values; `look` chooses mark and colour, a control has hollow marks."""
    shape, role = LOOKS[look % len(LOOKS)]
    return LegendKey(name=name, role=role, shape=shape, width=1 if is_control else 2, hollow=is_control), points


def computed(name: str, points: Sequence[Point], number: int) -> Line:
    """A line that nobody measured."""
    return LegendKey(name=name, role="ink", width=1.4, dashes=DASHES[number % len(DASHES)]), points


def curve_chart(
    label: Label, axis: Axis, height: Axis, lines: Sequence[Line], meetings: Sequence[Meeting] = ()
) -> Chart:
    """The whole chart, `NARROW_PX` wide, which fits a phone and half a page. What was measured lies on top."""
    keys = [key for key, _ in lines]
    top = legend_px(keys, NARROW_PX) + 10 + LINE_PX * (1 + len(meetings))
    points = [*(point for _, of in lines for point in of), *((meeting.x, meeting.y) for meeting in meetings)]
    plot = _axes(top, axis, height, points)
    plot.write(height.name, 2, plot.top - 10 - LINE_PX * len(meetings), "quiet")
    for key, of in sorted(lines, key=lambda line: bool(line[0].shape)):
        if key.shape:
            _draw_measured(plot, of, key)
        else:
            plot.line(of, key)
    for number, meeting in enumerate(sorted(meetings, key=lambda one: one.x)):
        _draw_meeting(plot, meeting, number)
    plot.legend(keys)
    return label.chart(plot)


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, at most `MOST_TICKS` of the finest steps that do; ends 0 < low <= high."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in TICK_STEPS:
        found = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(found) <= MOST_TICKS:
            return found
    return found[:: -(-len(found) // MOST_TICKS)]


def _draw_measured(plot: Plot, points: Sequence[Point], key: LegendKey) -> None:
    """A thin bar from the least to the most, every point, and a line through the medians."""
    by_x: dict[float, list[float]] = {}
    for x, y in points:
        by_x.setdefault(x, []).append(y)
    plot.strokes([((x, min(values)), (x, max(values))) for x, values in by_x.items()], key.role, 1)
    fill, edge, width = ("page", key.role, 0.9) if key.hollow else (key.role, "page", 0.4)
    plot.marks(points, key.shape, 3.6, fill, edge=edge, width=width)
    middles = [(x, median(by_x[x])) for x in sorted(by_x)]
    plot.line(middles, key)
    plot.marks(middles, key.shape, 5.6, fill, edge=key.role, width=1)


def _draw_meeting(plot: Plot, meeting: Meeting, number: int) -> None:
    """A ring where the lines cross, a line down to the axis, and the words above the plot, on a line of their own."""
    plot.rules(x=[meeting.x], role="quiet", width=1, dashes="2 2.5" if meeting.is_predicted else "")
    plot.marks([(meeting.x, meeting.y)], "o", 11, "none", edge="ink", width=1.6)
    room = letters_px(meeting.name) / 2
    middle = min(max(plot.x(meeting.x), room), plot.width - room)
    plot.write(meeting.name, middle, plot.top - 8 - LINE_PX * number, anchor="middle", halo=True)


def _axes(top: float, axis: Axis, height: Axis, points: Sequence[Point]) -> Plot:
    across, up = [x for x, _ in points], [y for _, y in points]
    place: Callable[[float], float] = lambda x: math.log(x if x > 0 else axis.zero or x)  # noqa: E731
    plot = Plot((NARROW_PX, 224 + top), (52, 16, top, 42), _padded(list(map(place, across))),
                _padded(list(map(math.log, up))), place=(place, math.log))  # fmt: skip
    lowest = min((x for x in across if x > 0), default=1.0)
    ticks = axis.ticks or round_ticks(lowest, max(lowest, *across))
    plot.ticks_x([(tick, _bare(axis.write(tick))) for tick in ticks], grid=True)
    plot.ticks_y([(tick, _bare(height.write(tick))) for tick in round_ticks(min(up), max(up))], grid=True)
    plot.write(axis.name, (plot.left + plot.right) / 2, plot.height - 8, "quiet", anchor="middle")
    return plot


def _bare(text: str) -> str:
    """A tick is exact: `30 ms`, not `30.0 ms`."""
    return re.sub(r"\.0(?!\d)", "", text)


def _padded(logarithms: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis."""
    room = ROOM * (max(logarithms) - min(logarithms)) or 0.5
    return math.exp(min(logarithms) - room), math.exp(max(logarithms) + room)
