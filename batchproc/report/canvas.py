"""What every chart begins with: a blank figure without pyplot's global state, sizes in CSS px, and a label."""

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from batchproc.report.palette import stand_in
from batchproc.report.svg import inline_svg

FONT_PX = 11.5
NARROW_PX = 380
WIDE_PX = 1040


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a chart is called: prefix of its ids, title, and the sentence that says what it shows."""

    name: str
    title: str
    sentence: str

    def svg(self, figure: Figure, variant: str = "") -> Markup:
        """The figure with this label."""
        name = f"{self.name}-{variant}" if variant else self.name
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
