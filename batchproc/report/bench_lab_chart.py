"""A chart of one experiment with its sentence and the table behind it; or the reason why there is none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from batchproc.report.bench_numbers import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class LabChart:
    """`svg` None: not measured, and the sentence says why. `rows`: a text per head. `noise`: how quiet it was."""

    title: str
    sentence: str
    svg: Markup | None = None
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    noise: str = ""


def not_measured(title: str, reason: str) -> LabChart:
    """In the place of a chart."""
    return LabChart(title=title, sentence=f"Not measured: {reason}.")


def with_ends(figure: Figure, write: Callable[[float], str]) -> str:
    """As `4.1 ms (4 ms to 4.3 ms)`: the median with its interval, or with the least and the most."""
    low, high = figure.ends
    return write(figure.value) if low == high else f"{write(figure.value)} ({write(low)} to {write(high)})"


def is_below(one: Figure, other: Figure) -> bool:
    """Whether a figure is the smaller one with its whole interval, or with all that was seen."""
    return one.ends[1] < other.ends[0]


def all_points(curve: Mapping[float, Figure]) -> list[tuple[float, float]]:
    """Every value of a curve as (x, y)."""
    return [(x, value) for x, figure in curve.items() for value in figure.values]


def table(
    places: Sequence[float],
    place: Callable[[float], str],
    columns: Sequence[tuple[Mapping[float, Figure], Callable[[float], str]]],
) -> list[list[str]]:
    """A row per place: its name, then each curve's figure there."""
    return [
        [place(x), *(with_ends(curve[x], write) if x in curve else "not measured" for curve, write in columns)]
        for x in places
    ]
