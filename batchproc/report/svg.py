"""Charts as inline SVG: a plot to draw on by value, its label for those who do not see it, and the colours.

A chart names no colour but the variables of page.css, each by its role there, and tells nothing by colour alone. It has
no id but those of its title and its description. Text stays text, in the page's own font; how wide it is is estimated.
The same values give the same characters. Sizes in px.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from math import floor, log10

from markupsafe import Markup, escape
from msgspec import Struct

from batchproc.explain.words import CATEGORIES
from batchproc.redact import printable, redact_text

FONT_PX = 11.5
LETTER_PX = 6.5  # on average, a little more than in any usual font
MOST_LETTERS = 58  # across a narrow chart
NARROW_PX = 380
WIDE_PX = 1040
LINE_PX = 16  # of a legend
KEY_PX = 24  # the sample before a name in a legend
TICK_GAP_PX = 12
STEPS = (1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0)
SHAPES = {  # of marks, around their middle, by half their size `r` and their size `d`
    "o": "m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0z",
    "s": "m-{r}-{r}h{d}v{d}h-{d}z",
    "D": "m0-{d}l{d} {d}-{d} {d}-{d}-{d}z",
    "^": "m-{r} {r}h{d}l-{r}-{d}z",
    "v": "m-{r}-{r}h{d}l-{r} {d}z",
    "x": "m-{r}-{r}l{d} {d}m0-{d}l-{d} {d}",
    "|": "m0-{r}v{d}",
}
Point = tuple[float, float]
Line = tuple["LegendKey", Sequence[Point]]


class Chart(Struct, frozen=True, kw_only=True):
    """An SVG with its title and the sentence that says what it shows. `narrow`: another for a phone. `note`: beside."""

    title: str
    sentence: str
    svg: Markup
    narrow: Markup | None = None
    note: str = ""


class LegendKey(Struct, frozen=True, kw_only=True):
    """How a series is drawn, and its name in the legend. `hollow`: its marks are empty; `steps`: values hold on."""

    name: str
    role: str
    width: float = 1.8
    dashes: str = ""
    shape: str = ""
    hollow: bool = False
    steps: bool = False


class Plot:
    """A drawing of `size`, and on it a plot that leaves these margins: left, right, top, bottom.

    Bars, lines, marks and rules are placed by value, texts by px; what is drawn later lies on top. `x`, `y`: the values
    at left and right, at bottom and top; `place` makes an axis other than linear. `on`: one more plot on its drawing.
    """

    def __init__(
        self, size: tuple[float, float], margins: tuple[float, float, float, float], x: Point, y: Point, *,
        place: tuple[Callable[[float], float], Callable[[float], float]] = (float, float), on: "Plot | None" = None,
    ) -> None:  # fmt: skip
        self.width, self.height = size
        self.left, self.right = margins[0], self.width - margins[1]
        self.top, self.bottom = margins[2], self.height - margins[3]
        self._place_x, self._place_y = place
        self._x, self._y = tuple(map(place[0], x)), tuple(map(place[1], y))
        self._marks: list[str] = [] if on is None else on._marks

    def x(self, value: float) -> float:
        """Where a value stands, in px from the left."""
        low, high = self._x
        return self.left + (self.right - self.left) * (self._place_x(value) - low) / (high - low)

    def y(self, value: float) -> float:
        """Where a value stands, in px from the top."""
        low, high = self._y
        return self.bottom - (self.bottom - self.top) * (self._place_y(value) - low) / (high - low)

    def bar(self, ends: Point, at: float, height: float, role: str, *, edge: float = 0) -> None:
        """A horizontal bar around `at`; `edge`: a line of the page's colour around it."""
        (left, right), (top, bottom) = map(self.x, ends), sorted((self.y(at - height / 2), self.y(at + height / 2)))
        self._rectangle(left, right, top, bottom, role, edge)

    def ground(self, role: str, ends: Point | None = None) -> None:
        """The ground of the plot, or of a part of it from value to value."""
        left, right = (self.left, self.right) if ends is None else map(self.x, ends)
        self._rectangle(left, right, self.top, self.bottom, role)

    def line(self, points: Sequence[Point], key: LegendKey) -> None:
        """A line through points; in steps each value holds until the next."""
        placed = [(self.x(x), self.y(y)) for x, y in points]
        if key.steps:
            placed = [placed[0], *chain.from_iterable(((to[0], at[1]), to) for at, to in pairwise(placed))]
        self._stroke("M" + "L".join(f"{_px(x)} {_px(y)}" for x, y in placed), key.role, key.width, key.dashes)

    def strokes(self, spans: Iterable[tuple[Point, Point]], role: str, width: float) -> None:
        """Many short lines of one colour, from point to point."""
        ends = [[f"{_px(self.x(x))} {_px(self.y(y))}" for x, y in span] for span in spans]
        if ends:
            self._stroke("".join(f"M{start}L{end}" for start, end in ends), role, width)

    def span(self, ends: Point, at: float, role: str, width: float) -> None:
        """An interval, with a tick at each end."""
        left, right = map(self.x, ends)
        y = self.y(at)
        self._stroke(f"M{_px(left)} {_px(y)}H{_px(right)}" + "".join(
            f"M{_px(end)} {_px(y - 4)}v8" for end in (left, right)), role, width)  # fmt: skip

    def rules(self, x: Iterable[float] = (), y: Iterable[float] = (), role: str = "line", width: float = 0.8,
              dashes: str = "") -> None:  # fmt: skip
        """Lines through the whole plot, at values."""
        across = "".join(f"M{_px(self.x(at))} {_px(self.top)}V{_px(self.bottom)}" for at in x)
        along = "".join(f"M{_px(self.left)} {_px(self.y(at))}H{_px(self.right)}" for at in y)
        if across or along:
            self._stroke(across + along, role, width, dashes)

    def marks(self, points: Iterable[Point], shape: str, size: float, role: str, *, edge: str = "page",
              width: float = 0.6) -> None:  # fmt: skip
        """A mark at each point; `edge` is the colour of its outline. A role of "none" leaves it open."""
        self._draw_marks([(self.x(x), self.y(y)) for x, y in points], shape, size, role, edge, width)

    def write(self, words: str, x: float, y: float, role: str = "ink", *, anchor: str = "start", bold: bool = False,
              halo: bool = False) -> None:  # fmt: skip
        """Text around the height `y`; `halo` keeps what lies below it off the letters."""
        more: dict[str, str | float] = {} if anchor == "start" else {"text_anchor": anchor}
        more |= {"font_weight": "bold"} if bold else {}
        more |= {"stroke": _colour("page"), "stroke_width": 4, "paint_order": "stroke"} if halo else {}
        self._draw("text", chart_text(words), x=x, y=y + 0.35 * FONT_PX, fill=_colour(role), **more)

    def name_row(self, at: float, name: str, note: str, *, bold: bool = False) -> None:
        """The name at the left, the note at the right, over the marks of the row `at`."""
        y = self.y(at - 0.24)
        self.write(short_text(name, MOST_LETTERS - len(note) - 2), self.left, y, bold=bold, halo=True)
        self.write(note, self.right, y, "quiet", anchor="end", halo=True)

    def ticks_x(self, ticks: Sequence[tuple[float, str]], *, grid: bool = False) -> None:
        """Values under the plot, the first ones first: one that has no room beside them is left out."""
        taken: list[Point] = []
        for value, words in ticks:
            room, at = letters_px(words), self.x(value)
            left = max(0.0, min(at - room / 2, self.width - room))
            if all(left > end + TICK_GAP_PX or left + room < start - TICK_GAP_PX for start, end in taken):
                taken.append((left, left + room))
                anchor = "start" if left > at - room / 2 else "end" if left < at - room / 2 else "middle"
                edge = {"start": left, "end": left + room}.get(anchor, at)
                self.write(words, edge, self.bottom + 11, "quiet", anchor=anchor)
                self.rules(x=[value] if grid else ())

    def ticks_y(self, ticks: Sequence[tuple[float, str]], *, grid: bool = False) -> None:
        """Values left of the plot."""
        self.rules(y=[value for value, _ in ticks] if grid else ())
        for value, words in ticks:
            self.write(words, self.left - 5, self.y(value), "quiet", anchor="end")

    def legend(self, keys: Sequence[LegendKey]) -> None:
        """Lines and marks with their names, over the plot from the top of the drawing on; `legend_px` is their room."""
        for row, placed in enumerate(_legend_rows(keys, self.width)):
            y = LINE_PX * (row + 0.5)
            for left, key in placed:
                self._stroke(f"M{_px(left)} {_px(y)}h18", key.role, key.width, key.dashes)
                if key.shape:
                    role = "page" if key.hollow else key.role
                    self._draw_marks([(left + 9, y)], key.shape, 5.6, role, key.role, 1)
                self.write(key.name, left + KEY_PX, y)

    def svg(self, name: str, title: str, sentence: str) -> Markup:
        """The drawing as an element that scales, with its alternative text. `name` makes its ids unique."""
        told = "".join(f'<{tag} id="{name}-{tag}">{escape(printable(redact_text(text)))}</{tag}>'
                       for tag, text in (("title", title), ("desc", sentence)))  # fmt: skip
        return Markup(
            f'<svg viewBox="0 0 {_px(self.width)} {_px(self.height)}" role="img" focusable="false" '
            f'aria-labelledby="{name}-title {name}-desc" font-size="{FONT_PX}">{told}{"".join(self._marks)}</svg>'
        )

    def _draw_marks(
        self, places: Sequence[Point], shape: str, size: float, role: str, edge: str, width: float
    ) -> None:
        r = size / 2
        drawn = SHAPES[shape].format(r=_px(r), d=_px(size if shape != "D" else 1.3 * r))
        marks = "".join(f'<path d="M{_px(x)} {_px(y)}{drawn}"/>' for x, y in places)
        if marks:
            self._draw("g", Markup(marks), fill=_colour(role), stroke=_colour(edge), stroke_width=width)

    def _rectangle(
        self, left: float, right: float, top: float, bottom: float, role: str, edge: float = 0.0
    ) -> None:
        more: dict[str, str | float] = {"stroke": _colour("page"), "stroke_width": edge} if edge else {}
        self._draw("rect", x=left, y=top, width=right - left, height=bottom - top, fill=_colour(role), **more)

    def _stroke(self, path: str, role: str, width: float, dashes: str = "") -> None:
        more: dict[str, str | float] = {"stroke_dasharray": dashes} if dashes else {}
        self._draw("path", d=path, fill="none", stroke=_colour(role), stroke_width=width, **more)

    def _draw(self, tag: str, content: str = "", /, **attributes: str | float) -> None:
        written = "".join(f' {name.replace("_", "-")}="{value if isinstance(value, str) else _px(value)}"'
                          for name, value in attributes.items())  # fmt: skip
        self._marks.append(f"<{tag}{written}>{escape(content)}</{tag}>")


class Label(Struct, frozen=True, kw_only=True):
    """What a chart is called: prefix of its ids, title, and the sentence that says what it shows."""

    name: str
    title: str
    sentence: str
    note: str = ""

    def chart(self, plot: Plot) -> Chart:
        """The drawing with this label."""
        svg = plot.svg(self.name, self.title, self.sentence)
        return Chart(title=self.title, sentence=self.sentence, note=self.note, svg=svg)

    def charts(self, draw: Callable[[int], Plot]) -> Chart:
        """The drawing in both widths, of which the style sheet shows the one that fits."""
        wide, narrow = (
            draw(width).svg(f"{self.name}-{name}", self.title, self.sentence)
            for name, width in (("wide", WIDE_PX), ("narrow", NARROW_PX))
        )
        return Chart(title=self.title, sentence=self.sentence, note=self.note, svg=wide, narrow=narrow)


def even_ticks(high: float, most: int) -> list[float]:
    """Round numbers from 0 to `high`, at even steps, at most `most` of them above 0."""
    decade = 10.0 ** floor(log10(high / most))
    step = next(step * decade for step in STEPS if high / (step * decade) <= most)
    return [number * step for number in range(floor(high / step) + 1)]


def legend_px(keys: Sequence[LegendKey], width: float) -> float:
    """How high a legend is on a drawing of this width."""
    return LINE_PX * len(_legend_rows(keys, width))


def _legend_rows(keys: Sequence[LegendKey], width: float) -> list[list[tuple[float, LegendKey]]]:
    """Each key with its left end; a key that does not fit begins a row."""
    rows: list[list[tuple[float, LegendKey]]] = []
    left = width
    for key in keys:
        room = KEY_PX + letters_px(key.name)
        if left + room > width:
            rows.append([])
            left = 0.0
        rows[-1].append((left, key))
        left += room + 12
    return rows


def letters_px(words: str) -> float:
    """About how wide a text is."""
    return LETTER_PX * len(words)


def chart_text(text: str) -> str:
    """Text from outside for a chart: on one line, its secrets hidden."""
    return printable(redact_text(text))


def short_text(name: str, most: int = MOST_LETTERS) -> str:
    """A name for a chart, cut after its secrets are gone: half a secret is not known as one."""
    text = chart_text(name)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _px(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"  # + 0.0: no negative zero


def _colour(role: str) -> str:
    return "none" if role == "none" else css_reference(role)


# categories of a time breakdown that have another one's colour
_SHARED = {"cpu_gil_free": "cpu", "cpu_gil_held": "gil_held", "disk_or_lock": "blocked"}
def role_of(category: str) -> str:
    """The role of a category's colour; that of what is unexplained, where this program does not know it."""
    return _SHARED.get(category) or (category if category in CATEGORIES else "unexplained")


def ink_on(role: str) -> str:
    """The colour of a number on a bar of this one."""
    return "ink" if role == "unstaffed" else "on_fill"


def css_reference(role: str) -> str:
    """As `var(--cpu)`."""
    return f"var(--{role.replace('_', '-')})"
