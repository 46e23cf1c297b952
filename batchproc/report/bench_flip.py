"""The flip chart: for which steps threads beat processes here, and on how many cores each of them would flip.

phi is the share of a step's CPU that holds the GIL. Threads keep at most 1/phi cores busy, processes all of them, so
processes overtake beyond P* = 1/phi cores.
"""

from dataclasses import dataclass

from batchproc.explain.words import cores, count
from batchproc.report.bench_charts import SpeedRow, speed_rows
from batchproc.report.bench_files import times
from batchproc.report.bench_lab_chart import LabChart, with_ends
from batchproc.report.bench_numbers import Figure, Lab, Missing
from batchproc.report.canvas import Label

TITLE = "Threads against processes, step by step"
STEPS = {"blur": "GaussianBlur", "median": "MedianFilter", "python": "a loop in Python"}
TIE = 1.05
HALVINGS = 40
MANY_CORES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A step: threads' speed against processes', phi as a range, and the cores beyond which processes win.

    `first` and `last`: the range of P*; `last` None when phi may be 0, so that no number of cores is known to do it.
    """

    step: str
    speed: Figure
    phi: tuple[float, float]

    @property
    def first(self) -> float | None:
        """The fewest cores at which it may flip."""
        return 1 / self.phi[1] if self.phi[1] * MANY_CORES > 1 else None

    @property
    def last(self) -> float | None:
        """The cores at which it will have flipped."""
        return 1 / self.phi[0] if self.phi[0] * MANY_CORES > 1 else None


def view_flip(lab: Lab) -> LabChart:
    """Raises `Missing`."""
    workers = round(lab.one("steps", "cores").value)
    if workers < 2:
        raise Missing("one usable core: nothing runs side by side, so the GIL holds nobody back")
    flips = find_flips(lab, workers)
    rows = [SpeedRow(name=flip.step, note=f"flips {_beyond(flip)}", middle=flip.speed.value,
                     points=[(speed, "counted") for speed in flip.speed.values], interval=_interval(flip.speed))
            for flip in flips]  # fmt: skip
    sentence = _sentence(flips, workers)
    label = Label(name="flip", title=TITLE, sentence=sentence)
    svgs = speed_rows(label, rows, margin=TIE, sides=("processes faster", "threads faster"))
    return LabChart(title=TITLE, sentence=sentence, svg=svgs["narrow"],
                    heads=["step", "threads against processes", "share of CPU that holds the GIL", "flips"],
                    rows=[[flip.step, with_ends(flip.speed, times), _phi(flip), _beyond(flip)]
                          for flip in flips])  # fmt: skip


def find_flips(lab: Lab, workers: int) -> list[Flip]:
    """Each step that was measured, from the one that holds the GIL least. Raises `Missing` when there is none."""
    found = []
    for step, name in STEPS.items():
        speed = lab.one("steps", f"{step}.threads_against_processes")
        low, high = speed.ends
        phi = gil_share(high, workers)[0], gil_share(low, workers)[1]
        found.append(Flip(step=name, speed=speed, phi=phi))
    return sorted(found, key=lambda flip: -flip.speed.value)


def gil_share(ratio: float, workers: int) -> tuple[float, float]:
    """phi from the threads' speed against as many processes, 0 to 1: least (convoy) and most (random arrivals).

    A convoy makes each thread wait for a whole turn of every other: speed n/(1 + (n-1) phi). With random arrivals the
    threads are customers of one server, the GIL: exact mean value analysis. For two threads and S2 = 2 ratio this
    gives phi between 2/S2 - 1 and sqrt(2/S2 - 1).
    """
    if ratio >= 1:
        return 0.0, 0.0
    convoy = min(1.0, (1 / ratio - 1) / (workers - 1))
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _queueing_speed(middle, workers) / workers > ratio else (low, middle)
    return convoy, max(convoy, (low + high) / 2)


def _queueing_speed(phi: float, workers: int) -> float:
    """Speed of n threads against one, by mean value analysis of one server and n customers."""
    waiting = speed = 0.0
    for customers in range(1, workers + 1):
        inside = phi * (1 + waiting)
        speed = customers / (1 - phi + inside)
        waiting = speed * inside
    return speed


def _interval(figure: Figure) -> tuple[float, float] | None:
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)


def _phi(flip: Flip) -> str:
    low, high = (round(100 * end) for end in flip.phi)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _beyond(flip: Flip) -> str:
    if flip.first is None:
        return "at no number of cores in sight"
    if flip.last is None:
        return f"beyond {flip.first:.2g} cores at the earliest"
    first, last = f"{flip.first:.2g}", f"{flip.last:.2g}"
    if first == last:
        return f"beyond {first} core{'' if first == '1' else 's'}"
    return f"beyond {first} to {last} cores"


def _winner(flip: Flip) -> str:
    """Who wins here, where the whole interval says so."""
    low, high = flip.speed.ends
    return "processes win" if high < 1 else "threads win" if low > 1 else "not told apart"


def _sentence(flips: list[Flip], workers: int) -> str:
    told = "; ".join(f"{flip.step} {with_ends(flip.speed, times)}, {_winner(flip)}" for flip in flips)
    later = "; ".join(f"{flip.step} holds the GIL for {_phi(flip)} of its CPU and flips {_beyond(flip)}"
                      for flip in flips)  # fmt: skip
    return (f"The speed of {count(workers, 'thread')} against as many processes on {cores(workers)}: {told}. By the "
            f"model 1/φ, {later}.")  # fmt: skip
