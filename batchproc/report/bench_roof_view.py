"""The roofline of each stage: what its modes reached with their workers, under the ceilings of the calibration."""

from collections.abc import Sequence
from statistics import median

from batchproc.explain.words import significant
from batchproc.report.account_view import Chart
from batchproc.report.bench_curves import Axis, Model, Trace, curve_chart
from batchproc.report.bench_files import Facts, whole_runs
from batchproc.report.bench_sweep_view import STAGES, ceiling_curves, lowest_ceiling
from batchproc.report.canvas import Label

MODES = ("thread", "process")
NAMES = {"thread": "threads, measured", "process": "processes, measured"}


def view_roofs(facts: Facts) -> list[Chart]:
    """A chart per stage that ran with several numbers of workers, the other stage being as in the fastest case."""
    return [chart for stage in STAGES if (chart := _view(facts, stage)) is not None]


def _view(facts: Facts, stage: str) -> Chart | None:
    if not facts.get("calibration"):
        return None
    cases = find_rivals(whole_runs(facts), stage)
    places = sorted({_workers(case, stage) for case in cases})
    best = max(cases, key=lambda case: float(case["median_rate_per_second"]), default=None)
    if best is None or len(places) < 2:
        return None
    traces = [Trace(name=NAMES[mode], points=_points(cases, stage, mode), look=at)
              for at, mode in enumerate(MODES) if any(case[stage] == mode for case in cases)]  # fmt: skip
    widest = max(cases, key=lambda case: (_workers(case, stage), case is best))
    models = [Model(name=line.name, points=line.points, dashes=at) for at, line in
              enumerate(ceiling_curves(facts, f"{stage}.workers", widest, (places[0], places[-1])))]  # fmt: skip
    sentence = _sentence(facts, stage, cases, best)
    title = f"Rate against {stage} workers"
    svg = curve_chart(Label(name=f"roof-{stage}", title=title, sentence=sentence),
                      Axis(name=f"{stage} workers", write=lambda n: f"{n:g}", ticks=places),
                      Axis(name="pictures per second", write=lambda rate: f"{significant(rate)}/s"),
                      traces, models)  # fmt: skip
    return Chart(sentence=sentence, svg=svg)


def find_rivals(cases: Sequence[Facts], stage: str) -> list[Facts]:
    """Of cases, the fastest first, those that differ from the first in this stage alone; one per mode, serial last.

    Empty where numbers of workers were varied: those have charts of their own.
    """
    if not cases or any(case.get("varied") for case in cases):
        return []
    other = next(each for each in STAGES if each != stage)
    return [case for case in cases if case[other] == cases[0][other]]


def _points(cases: Sequence[Facts], stage: str, mode: str) -> list[tuple[float, float]]:
    """Every round of a mode, and of serial, which is its one worker."""
    return [(_workers(case, stage), rate) for case in cases if case[stage] in ("serial", mode)
            for rate in case["rates_per_second"] if rate > 0]  # fmt: skip


def _workers(case: Facts, stage: str) -> float:
    return float(case["stages"][stage]["workers"])


def _sentence(facts: Facts, stage: str, cases: Sequence[Facts], best: Facts) -> str:
    told = [f"{case['stages'][stage]['mode']} with {case['stages'][stage]['workers']}: "
            f"{significant(median(case['rates_per_second']))}/s" for case in reversed(cases)]  # fmt: skip
    other = next(each for each in STAGES if each != stage)
    return (f"Whole runs by the mode and workers of {stage}, {other} in {best[other]} mode: {', '.join(told)}. Lowest "
            f"ceiling of the best: {lowest_ceiling(facts, best)}.")  # fmt: skip
