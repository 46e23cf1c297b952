"""Charts as SVG for the page: a blank figure to draw on, the figure made fit for HTML with its label, and the colours.

No outside reference, unique ids, colours of the style sheet. Deterministic: the same figure gives the same text. The
result carries no namespace, since it stands inside HTML. Sizes in CSS px.

Every fill keeps 4.5 : 1 against the number printed on it and against the page (WCAG 2.2, 1.4.3 and 1.4.11), in both
themes; hues follow Okabe and Ito, darkened or lightened until they do. Nothing is told by colour alone.
"""

import re
from collections.abc import Callable
from functools import partial, wraps
from io import StringIO
from typing import ParamSpec, TypeVar
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from msgspec import Struct

from batchproc.explain.words import CATEGORIES
from batchproc.redact import printable, redact_text

_COLOUR = re.compile(r"#c0ff[0-9a-f]{2}")
_NUMBER = re.compile(r"-?\d+\.\d+")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_NO_TURN = re.compile(r"rotate\(-?0 [^)]*\)")
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "batchproc", "text.parse_math": False}
P = ParamSpec("P")
T = TypeVar("T")


def in_our_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Draws with the chart library's own defaults: a user's matplotlibrc does not reach the page."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with style.context(["default", _SETTINGS]):
            return draw(*args, **kwargs)

    return drawn


def chart_text(text: str) -> str:
    """Text from outside for a chart: secrets hidden, and ASCII alone, for which every font has the glyphs."""
    return printable(redact_text(text)).encode("ascii", "backslashreplace").decode()


def inline_svg(figure: Figure, *, name: str, title: str, description: str) -> Markup:
    """The figure as an `<svg>` element that scales, with its alternative text. `name` makes its ids unique."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata=_NO_METADATA)
    root = ElementTree.fromstring(file.getvalue())
    _drop_namespaces(root)
    _tidy(root, name)
    _describe(root, name, title, description)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _drop_namespaces(root: ElementTree.Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in [key for key in element.attrib if "}" in key]:
            element.set(key.rpartition("}")[2], element.attrib.pop(key))


def _tidy(root: ElementTree.Element, name: str) -> None:
    """Short numbers, our colours, the page's font, and only the ids that something refers to."""
    used = set(re.findall(r"#([A-Za-z][\w.]*)", " ".join(_references(root))))
    colours = stand_ins()
    for element in root.iter():
        mark = element.get("id")
        if mark is not None:
            if mark in used:
                element.set("id", f"{name}-{mark}")
            else:
                del element.attrib["id"]
        for key, value in element.attrib.items():
            if key in ("href", "clip-path"):
                element.set(key, value.replace("#", f"#{name}-"))
            elif key != "id":
                element.set(key, _COLOUR.sub(lambda match: colours[match[0]], _short(value)))
        if _NO_TURN.fullmatch(element.get("transform", "")):
            del element.attrib["transform"]
        element.tail = None
        if not (element.text or "").strip():
            element.text = None
    for parent in root.iter():
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)


def _references(root: ElementTree.Element) -> list[str]:
    return [element.get(key, "") for element in root.iter() for key in ("href", "clip-path")]


def _short(value: str) -> str:
    text = _NUMBER.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value)
    return re.sub(r"\s*\n\s*", "", _FONT.sub("", text))


def _describe(root: ElementTree.Element, name: str, title: str, description: str) -> None:
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    root.set("focusable", "false")
    for at, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, id=f"{name}-{tag}")
        element.text = printable(redact_text(text))
        root.insert(at, element)


FONT_PX = 11.5
MOST_LETTERS = 58  # across a narrow chart
NARROW_PX = 380
WIDE_PX = 1040


class Chart(Struct, frozen=True, kw_only=True):
    """An SVG with its title and the sentence that says what it shows. `narrow`: another for a phone. `note`: beside."""

    title: str
    sentence: str
    svg: Markup
    narrow: Markup | None = None
    note: str = ""


class Label(Struct, frozen=True, kw_only=True):
    """What a chart is called: prefix of its ids, title, and the sentence that says what it shows."""

    name: str
    title: str
    sentence: str
    note: str = ""

    def chart(self, figure: Figure) -> Chart:
        """The figure with this label."""
        return Chart(title=self.title, sentence=self.sentence, note=self.note, svg=self._svg(figure, self.name))

    def charts(self, draw: Callable[[int], Figure]) -> Chart:
        """The figure in both widths, of which the style sheet shows the one that fits."""
        wide, narrow = (
            self._svg(draw(width), f"{self.name}-{name}") for name, width in (("wide", WIDE_PX), ("narrow", NARROW_PX))
        )
        return Chart(title=self.title, sentence=self.sentence, note=self.note, svg=wide, narrow=narrow)

    def _svg(self, figure: Figure, name: str) -> Markup:
        return inline_svg(figure, name=name, title=self.title, description=self.sentence)


def one_plot(width: int, height: int, *, left: int, right: int, top: int, bottom: int) -> tuple[Figure, Axes]:
    """A figure with one plot that leaves these margins."""
    figure = blank(width, height)
    return figure, plot_in(figure, (left, bottom, width - left - right, height - top - bottom), (width, height))


def blank(width: int, height: int) -> Figure:
    """A figure without anything on it, and without a ground of its own."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    return figure


def plot_in(figure: Figure, box: tuple[float, float, float, float], size: tuple[int, int]) -> Axes:
    """Axes in `box` = left, bottom, width, height in px of a figure of `size`, without frame or tick marks."""
    width, height = size
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=FONT_PX, labelcolor=stand_in("quiet"), pad=5)
    return axes


def name_above(axes: Axes, at: int, name: str, note: str, *, weight: str = "normal") -> None:
    """The name at the left, the note at the right, over the row's marks."""
    write = partial(axes.annotate, xycoords=("axes fraction", "data"), xytext=(0, 0), textcoords="offset points",
                    va="center_baseline", fontsize=FONT_PX,
                    bbox={"facecolor": stand_in("page"), "linewidth": 0, "pad": 0.8})  # fmt: skip
    room = MOST_LETTERS - len(note) - 2
    write(short_text(name, room), (0, at - 0.24), ha="left", color=stand_in("ink"), weight=weight)
    write(note, (1, at - 0.24), ha="right", color=stand_in("quiet"))


def short_text(name: str, most: int = MOST_LETTERS) -> str:
    """A name for a chart, cut after its secrets are gone: half a secret is not known as one."""
    text = chart_text(name)
    return text if len(text) <= most else f"{text[: most - 3]}..."


THEMES = ("light", "dark")

# role -> (light, dark); a chart names roles, the style sheet gives each its colour
ROLES: dict[str, tuple[str, str]] = {
    "page": ("#ffffff", "#14171c"),
    "panel": ("#f6f7f9", "#1c2027"),
    "line": ("#d9dde3", "#343a44"),
    "ink": ("#16181d", "#eceef2"),
    "quiet": ("#575f6b", "#a7afbb"),
    "link": ("#0b5fa5", "#7dbcf5"),
    "good": ("#146c43", "#5fd0a0"),
    "bad": ("#a8200d", "#ff9a85"),
    "unknown": ("#6b4b00", "#e6c063"),
    "on_fill": ("#ffffff", "#14171c"),
    "cpu": ("#0b5fa5", "#5aa9f0"),
    "gil_held": ("#123a63", "#a9d4ff"),
    "gil_wait": ("#b93a0c", "#ff9466"),
    "run_queue": ("#855a00", "#e8b84a"),
    "network": ("#00735c", "#35c29a"),
    "blocked": ("#3f6f8f", "#86b3cf"),
    "output_blocked": ("#a03a7c", "#ec93cb"),
    "starved": ("#69727e", "#97a0ad"),
    "retry_wait": ("#5b6b2f", "#b5c77a"),
    "pause_wait": ("#8a3b52", "#e79ab0"),
    "ipc": ("#6b3fb0", "#b79bf2"),
    "startup": ("#7a4f2a", "#cfa57a"),
    "unstaffed": ("#dfe3e8", "#343a44"),
    "unexplained": ("#16181d", "#f2f4f7"),
}

# categories of a time breakdown that have another one's colour
_SHARED = {"cpu_gil_free": "cpu", "cpu_gil_held": "gil_held", "disk_or_lock": "blocked"}
_SENTINEL = "#c0ff{:02x}"
_NUMBERS = {role: number for number, role in enumerate(ROLES)}


def role_of(category: str) -> str:
    """The role of a category's colour; that of what is unexplained, where this program does not know it."""
    return _SHARED.get(category) or (category if category in CATEGORIES else "unexplained")


def stand_in(role: str) -> str:
    """A colour that the chart library can draw with until `inline_svg` puts the role's CSS variable in its place."""
    return _SENTINEL.format(_NUMBERS[role])


def stand_ins() -> dict[str, str]:
    """Stand-in colour -> CSS reference."""
    return {stand_in(role): css_reference(role) for role in ROLES}


def css_reference(role: str) -> str:
    """As `var(--cpu)`."""
    return f"var(--{role.replace('_', '-')})"


def css_variables(theme: str) -> str:
    """The declarations of one theme."""
    at = THEMES.index(theme)
    return "".join(f"--{role.replace('_', '-')}:{pair[at]};" for role, pair in ROLES.items())
