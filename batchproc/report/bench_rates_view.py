"""Rates against workers and other settings, and the ceilings that the calibration draws above them."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TypeAlias

from batchproc.bench.bench_json import Bench, BenchCase
from batchproc.explain.predict import JobModel, limits
from batchproc.explain.words import count, significant
from batchproc.record.explanation import Variant
from batchproc.report.account_view import CEILING_NAMES, Chart
from batchproc.report.bench_curves import Axis, Model, Trace, curve_chart
from batchproc.report.bench_files import whole_runs
from batchproc.report.canvas import Label

MOST_SWEEPS = 8
MOST_CEILINGS = 4
CURVE_POINTS = 25
NEAR = 1.1  # of the roof: a ceiling that stays above it everywhere is not drawn
STAGES = ("download", "transform")
MODES = {"thread": "threads, measured", "process": "processes, measured"}

CeilingRow: TypeAlias = tuple[str, str, Sequence[tuple[str, str]]]  # case, measured rate, (ceiling, rate) lowest first


def view_rates(bench: Bench) -> tuple[list[Chart], str]:
    """A chart per setting that was varied and mode pair, or else one per stage; and a note on what there is not."""
    found = list(_sweeps(bench))
    if not found:
        charts = [chart for stage in STAGES if (chart := _roof(bench, stage)) is not None]
        return charts, "" if charts else _not_varied(bench)
    left_out = len(found) - MOST_SWEEPS
    charts = [_sweep(bench, key, cases, at) for at, (key, cases) in enumerate(found[:MOST_SWEEPS])]
    return charts, f"{count(left_out, 'more chart')} left out." if left_out > 0 else ""


def view_case_ceilings(bench: Bench) -> list[CeilingRow]:
    """Of each whole case: its measured rate, and its ceilings by the calibration, lowest first."""
    rows: list[CeilingRow] = []
    for case in whole_runs(bench):
        found = sorted(_ceilings(bench, case).items(), key=lambda entry: entry[1])
        if found:
            rates = [(name, _rate(rate)) for name, rate in found[:MOST_CEILINGS]]
            rows.append((case.name, _rate(case.median_rate_per_second), rates))
    return rows


def _sweeps(bench: Bench) -> Iterator[tuple[str, list[BenchCase]]]:
    """Per key and per rest of the configuration: the cases that differ in that key alone, where there are several."""
    cases = whole_runs(bench)
    keys = dict.fromkeys(key for case in cases for key in case.varied)
    for key in keys:
        found: dict[tuple[object, ...], list[BenchCase]] = {}
        for case in cases:
            if case.numbers.get(key, -1) >= 0:
                others = (f"{one} = {case.varied[one]}" for one in sorted(case.varied) if one != key)
                found.setdefault((case.download, case.transform, *others), []).append(case)
        for several in found.values():
            if len(several) > 1:
                yield key, sorted(several, key=lambda case: float(case.numbers[key]))


def _sweep(bench: Bench, key: str, cases: Sequence[BenchCase], at: int) -> Chart:
    points = [(float(case.numbers[key]), rate) for case in cases for rate in case.rates_per_second]
    first, best = cases[0], max(cases, key=lambda case: case.median_rate_per_second)
    rest = {one: value for one, value in first.varied.items() if one != key}
    title = ", ".join([f"{first.download}+{first.transform}", *(f"{one} = {rest[one]}" for one in rest)])
    models = _ceiling_curves(bench, key, first, [float(case.numbers[key]) for case in cases])
    lowest = f"Lowest ceiling there: {_lowest_ceiling(bench, best)}." if models else "Its ceilings are not known."
    sentence = (f"{title}: {_rate(first.median_rate_per_second)} at {key} = {first.varied[key]}, best "
                f"{_rate(best.median_rate_per_second)} at {best.varied[key]}. {lowest}")  # fmt: skip
    traces = [Trace(name="measured, median", points=points, look=0)]
    label = Label(name=f"sweep-{at}", title=f"Rate against {key}: {title}", sentence=sentence)
    return _chart(label, key, traces, models)


def _roof(bench: Bench, stage: str) -> Chart | None:
    """What the modes of a stage reached with their workers, the other stage being as in the fastest case."""
    cases = _rivals(whole_runs(bench), stage)
    places = sorted({_workers(case, stage) for case in cases})
    if bench.calibration is None or len(places) < 2:
        return None
    best = max(cases, key=lambda case: case.median_rate_per_second)
    widest = max(cases, key=lambda case: (_workers(case, stage), case is best))
    traces = [Trace(name=name, points=_points(cases, stage, mode), look=at)
              for at, (mode, name) in enumerate(MODES.items())
              if any(case.mode(stage) == mode for case in cases)]  # fmt: skip
    rates = [f"{case.stages[stage].mode} with {case.stages[stage].workers}: "
             f"{_rate(median(case.rates_per_second))}" for case in reversed(cases)]  # fmt: skip
    other = next(each for each in STAGES if each != stage)
    sentence = (f"Whole runs by the mode and workers of {stage}, {other} in {best.mode(other)} mode: "
                f"{', '.join(rates)}. Lowest ceiling of the best: {_lowest_ceiling(bench, best)}.")  # fmt: skip
    label = Label(name=f"roof-{stage}", title=f"Rate against {stage} workers", sentence=sentence)
    return _chart(label, f"{stage} workers", traces, _ceiling_curves(bench, f"{stage}.workers", widest, places))


def _chart(label: Label, setting: str, traces: Sequence[Trace], models: Sequence[Model]) -> Chart:
    places = sorted({x for trace in traces for x, _ in trace.points})
    zero = min((x for x in places if x > 0), default=1.0) / 2  # the axis is logarithmic
    svg = curve_chart(label, Axis(name=setting, write=lambda n: f"{n:g}", ticks=places, zero=zero),
                      Axis(name="pictures per second", write=_rate), traces, models)  # fmt: skip
    return Chart(sentence=label.sentence, svg=svg)


def _rivals(cases: Sequence[BenchCase], stage: str) -> list[BenchCase]:
    """Of cases, the fastest first, those that differ from the first in this stage alone: one per mode."""
    if not cases or any(case.varied for case in cases):
        return []
    other = next(each for each in STAGES if each != stage)
    return [case for case in cases if case.mode(other) == cases[0].mode(other)]


def _points(cases: Sequence[BenchCase], stage: str, mode: str) -> list[tuple[float, float]]:
    """Every round of a mode, and of serial, which is its one worker."""
    return [(_workers(case, stage), rate) for case in cases if case.mode(stage) in ("serial", mode)
            for rate in case.rates_per_second if rate > 0]  # fmt: skip


def _workers(case: BenchCase, stage: str) -> float:
    return float(case.stages[stage].workers)


def _lowest_ceiling(bench: Bench, case: BenchCase) -> str:
    """Its name and rate; there must be a calibration."""
    found = _ceilings(bench, case)
    name = min(found, key=lambda each: found[each])
    return f"{name}, {_rate(found[name])}"


def _ceiling_curves(bench: Bench, key: str, case: BenchCase, places: Sequence[float]) -> list[Model]:
    """The ceilings of a case that are the lowest somewhere, or nearly so, as curves over a setting."""
    if key not in ("download.workers", "transform.workers", "download.per_host"):
        return []
    low, high = places[0], places[-1]
    found: dict[str, list[tuple[float, float]]] = {}
    for step in (low + (high - low) * at / (CURVE_POINTS - 1) for at in range(CURVE_POINTS)):
        for name, rate in _ceilings(bench, case, {key: step}).items():
            found.setdefault(name, []).append((step, rate))
    roof = max((min(rate for _, rate in column) for column in zip(*found.values(), strict=True)), default=0.0)
    near = {name: curve for name, curve in found.items() if min(rate for _, rate in curve) <= NEAR * roof}
    order = sorted(near, key=lambda each: min(rate for _, rate in near[each]))[:MOST_CEILINGS]
    return [Model(name=name, points=near[name], dashes=at) for at, name in enumerate(order)]


def _ceilings(bench: Bench, case: BenchCase, changed: Mapping[str, float] | None = None) -> dict[str, float]:
    """Name -> images per second at most, from the calibration; empty when there is none. `changed` wins."""
    model = bench.calibration
    if model is None:
        return {}
    numbers = case.numbers | dict(changed or {})
    workers = {stage: numbers.get(f"{stage}.workers", case.stages[stage].workers) for stage in STAGES}
    job = JobModel(
        download=model.download,
        transform=model.transform,
        items=bench.material.items,
        cores=model.cores,
        glue_seconds=model.glue_seconds,
        origin_cpu_seconds=model.origin_cpu_seconds,
        connections=numbers.get("download.per_host", bench.material.per_host),
    )
    # Between two numbers of workers a ceiling is a curve.
    variant = Variant(download=case.download, download_workers=workers["download"],  # type: ignore[arg-type]
                      transform=case.transform, transform_workers=workers["transform"])  # type: ignore[arg-type]  # fmt: skip
    return {_ceiling_name(limit.name, limit.stage): limit.rate_per_second for limit in limits(job, variant)
            if limit.rate_per_second < float("inf")}  # fmt: skip


def _ceiling_name(name: str, stage: str | None) -> str:
    words = CEILING_NAMES.get(name, name)
    if name == "workers":
        return f"workers of {stage}" if stage else "one thread for everything"
    return "all cores" if name == "cores" else words


def _not_varied(bench: Bench) -> str:
    cases = count(len(whole_runs(bench)), "case")
    return (f"Between those numbers nothing was measured: each of the {cases} ran with one number of workers. "
            '[bench] vary = {"transform.workers" = [1, 2, 4]} measures it.')  # fmt: skip


def _rate(value: float) -> str:
    return f"{significant(value)}/s"
