"""Rates against workers and other settings, and the ceilings that the calibration draws above them."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TypeAlias

from batchproc.explain.predict import JobModel, limits
from batchproc.explain.words import count, significant
from batchproc.record.explanation import StageModel, Variant
from batchproc.report.account_view import CEILING_NAMES, Chart
from batchproc.report.bench_curves import Axis, Model, Trace, curve_chart
from batchproc.report.bench_files import Facts, whole_runs
from batchproc.report.canvas import Label

MOST_SWEEPS = 8
MOST_CEILINGS = 4
CURVE_POINTS = 25
NEAR = 1.1  # of the roof: a ceiling that stays above it everywhere is not drawn
STAGES = ("download", "transform")
MODES = {"thread": "threads, measured", "process": "processes, measured"}

CeilingRow: TypeAlias = tuple[str, str, Sequence[tuple[str, str]]]  # case, measured rate, (ceiling, rate) lowest first


def view_rates(facts: Facts) -> tuple[list[Chart], str]:
    """A chart per setting that was varied and mode pair, or else one per stage; and a note on what there is not."""
    found = list(_sweeps(facts))
    if not found:
        charts = [chart for stage in STAGES if (chart := _roof(facts, stage)) is not None]
        return charts, "" if charts else _not_varied(facts)
    left_out = len(found) - MOST_SWEEPS
    charts = [_sweep(facts, key, cases, at) for at, (key, cases) in enumerate(found[:MOST_SWEEPS])]
    return charts, f"{count(left_out, 'more chart')} left out." if left_out > 0 else ""


def view_case_ceilings(facts: Facts) -> list[CeilingRow]:
    """Of each whole case: its measured rate, and its ceilings by the calibration, lowest first."""
    rows: list[CeilingRow] = []
    for case in whole_runs(facts):
        found = sorted(_ceilings(facts, case).items(), key=lambda entry: entry[1])
        if found:
            rates = [(name, _rate(rate)) for name, rate in found[:MOST_CEILINGS]]
            rows.append((str(case["name"]), _rate(case["median_rate_per_second"]), rates))
    return rows


def _sweeps(facts: Facts) -> Iterator[tuple[str, list[Facts]]]:
    """Per key and per rest of the configuration: the cases that differ in that key alone, where there are several."""
    cases = whole_runs(facts)
    keys = dict.fromkeys(key for case in cases for key in case.get("varied") or {})
    for key in keys:
        found: dict[tuple[object, ...], list[Facts]] = {}
        for case in cases:
            varied = dict(case.get("varied") or {})
            value = varied.pop(key, None)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                rest = (case["download"], case["transform"], *(f"{one} = {varied[one]}" for one in sorted(varied)))
                found.setdefault(rest, []).append(case)
        for several in found.values():
            if len(several) > 1:
                yield key, sorted(several, key=lambda case: float(case["varied"][key]))


def _sweep(facts: Facts, key: str, cases: Sequence[Facts], at: int) -> Chart:
    points = [(float(case["varied"][key]), rate) for case in cases for rate in case["rates_per_second"]]
    first, best = cases[0], max(cases, key=lambda case: float(case["median_rate_per_second"]))
    rest = {one: value for one, value in first["varied"].items() if one != key}
    title = ", ".join([f"{first['download']}+{first['transform']}", *(f"{one} = {rest[one]}" for one in rest)])
    models = _ceiling_curves(facts, key, first, [float(case["varied"][key]) for case in cases])
    lowest = f"Lowest ceiling there: {_lowest_ceiling(facts, best)}." if models else "Its ceilings are not known."
    sentence = (f"{title}: {_rate(first['median_rate_per_second'])} at {key} = {first['varied'][key]}, best "
                f"{_rate(best['median_rate_per_second'])} at {best['varied'][key]}. {lowest}")  # fmt: skip
    traces = [Trace(name="measured, median", points=points, look=0)]
    label = Label(name=f"sweep-{at}", title=f"Rate against {key}: {title}", sentence=sentence)
    return _chart(label, key, traces, models)


def _roof(facts: Facts, stage: str) -> Chart | None:
    """What the modes of a stage reached with their workers, the other stage being as in the fastest case."""
    cases = _rivals(whole_runs(facts), stage)
    places = sorted({_workers(case, stage) for case in cases})
    if not facts.get("calibration") or len(places) < 2:
        return None
    best = max(cases, key=lambda case: float(case["median_rate_per_second"]))
    widest = max(cases, key=lambda case: (_workers(case, stage), case is best))
    traces = [Trace(name=name, points=_points(cases, stage, mode), look=at)
              for at, (mode, name) in enumerate(MODES.items())
              if any(case[stage] == mode for case in cases)]  # fmt: skip
    rates = [f"{case['stages'][stage]['mode']} with {case['stages'][stage]['workers']}: "
             f"{_rate(median(case['rates_per_second']))}" for case in reversed(cases)]  # fmt: skip
    other = next(each for each in STAGES if each != stage)
    sentence = (f"Whole runs by the mode and workers of {stage}, {other} in {best[other]} mode: {', '.join(rates)}. "
                f"Lowest ceiling of the best: {_lowest_ceiling(facts, best)}.")  # fmt: skip
    label = Label(name=f"roof-{stage}", title=f"Rate against {stage} workers", sentence=sentence)
    return _chart(label, f"{stage} workers", traces, _ceiling_curves(facts, f"{stage}.workers", widest, places))


def _chart(label: Label, setting: str, traces: Sequence[Trace], models: Sequence[Model]) -> Chart:
    places = sorted({x for trace in traces for x, _ in trace.points})
    zero = min((x for x in places if x > 0), default=1.0) / 2  # the axis is logarithmic
    svg = curve_chart(label, Axis(name=setting, write=lambda n: f"{n:g}", ticks=places, zero=zero),
                      Axis(name="pictures per second", write=_rate), traces, models)  # fmt: skip
    return Chart(sentence=label.sentence, svg=svg)


def _rivals(cases: Sequence[Facts], stage: str) -> list[Facts]:
    """Of cases, the fastest first, those that differ from the first in this stage alone: one per mode."""
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


def _lowest_ceiling(facts: Facts, case: Facts) -> str:
    """Its name and rate; there must be a calibration."""
    found = _ceilings(facts, case)
    name = min(found, key=lambda each: found[each])
    return f"{name}, {_rate(found[name])}"


def _ceiling_curves(facts: Facts, key: str, case: Facts, places: Sequence[float]) -> list[Model]:
    """The ceilings of a case that are the lowest somewhere, or nearly so, as curves over a setting."""
    if key not in ("download.workers", "transform.workers", "download.per_host"):
        return []
    low, high = places[0], places[-1]
    found: dict[str, list[tuple[float, float]]] = {}
    for step in (low + (high - low) * at / (CURVE_POINTS - 1) for at in range(CURVE_POINTS)):
        for name, rate in _ceilings(facts, case, {key: step}).items():
            found.setdefault(name, []).append((step, rate))
    roof = max((min(rate for _, rate in column) for column in zip(*found.values(), strict=True)), default=0.0)
    near = {name: curve for name, curve in found.items() if min(rate for _, rate in curve) <= NEAR * roof}
    order = sorted(near, key=lambda each: min(rate for _, rate in near[each]))[:MOST_CEILINGS]
    return [Model(name=name, points=near[name], dashes=at) for at, name in enumerate(order)]


def _ceilings(facts: Facts, case: Facts, changed: Mapping[str, float] | None = None) -> dict[str, float]:
    """Name -> images per second at most, from the calibration; empty when there is none. `changed` wins."""
    calibration = facts.get("calibration")
    if not calibration:
        return {}
    values = {**(case.get("varied") or {}), **(changed or {})}
    workers = {stage: values.get(f"{stage}.workers", case["stages"][stage]["workers"]) for stage in STAGES}
    per_host = values.get("download.per_host", (facts.get("material") or {}).get("per_host"))
    job = JobModel(
        download=StageModel(**calibration["download"]),
        transform=StageModel(**calibration["transform"]),
        items=int((facts.get("material") or {}).get("items") or 1),
        cores=float(calibration["cores"]),
        glue_seconds=float(calibration["glue_seconds"]),
        origin_cpu_seconds=float(calibration["origin_cpu_seconds"]),
        connections=per_host,
    )
    variant = Variant(download=case["download"], download_workers=workers["download"], transform=case["transform"],
                      transform_workers=workers["transform"])  # fmt: skip
    return {_ceiling_name(limit.name, limit.stage): limit.rate_per_second for limit in limits(job, variant)
            if limit.rate_per_second < float("inf")}  # fmt: skip


def _ceiling_name(name: str, stage: str | None) -> str:
    words = CEILING_NAMES.get(name, name)
    if name == "workers":
        return f"workers of {stage}" if stage else "one thread for everything"
    return "all cores" if name == "cores" else words


def _not_varied(facts: Facts) -> str:
    cases = count(len(whole_runs(facts)), "case")
    return (f"Between those numbers nothing was measured: each of the {cases} ran with one number of workers. "
            '[bench] vary = {"transform.workers" = [1, 2, 4]} measures it.')  # fmt: skip


def _rate(value: float) -> str:
    return f"{significant(value)}/s"
