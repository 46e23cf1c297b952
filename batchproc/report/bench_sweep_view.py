"""Rates against the settings that were varied, and the ceilings that the calibration draws above them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from batchproc.explain.predict import JobModel, StageModel, Variant, limits
from batchproc.explain.words import count, significant
from batchproc.report.account_view import CEILING_NAMES, Chart
from batchproc.report.bench_charts import SweepLine, sweep
from batchproc.report.bench_files import Facts, whole_runs
from batchproc.report.canvas import Label

MOST_SWEEPS = 8
MOST_CEILINGS = 4
CURVE_POINTS = 25
NEAR = 1.1  # of the roof: a ceiling that stays above it everywhere is not drawn
STAGES = ("download", "transform")

CeilingRow: TypeAlias = tuple[str, str, Sequence[tuple[str, str]]]  # case, measured rate, (ceiling, rate) lowest first


def view_sweeps(facts: Facts) -> tuple[list[Chart], int]:
    """Rates against each numeric setting that was varied, a chart per mode pair; and how many are left out."""
    found = list(_sweeps(facts))
    return [_sweep(facts, key, cases, at) for at, (key, cases) in enumerate(found[:MOST_SWEEPS])], max(
        0, len(found) - MOST_SWEEPS
    )


def view_case_ceilings(facts: Facts) -> list[CeilingRow]:
    """Of each whole case: its measured rate, and its ceilings by the calibration, lowest first."""
    rows: list[CeilingRow] = []
    for case in whole_runs(facts):
        found = sorted(_ceilings(facts, case).items(), key=lambda entry: entry[1])
        if found:
            told = [(name, f"{significant(rate)}/s") for name, rate in found[:MOST_CEILINGS]]
            rows.append((str(case["name"]), f"{significant(case['median_rate_per_second'])}/s", told))
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
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = (case["download"], case["transform"], *(f"{one} = {varied[one]}" for one in sorted(varied)))
                found.setdefault(rest, []).append(case)
        for several in found.values():
            if len(several) > 1:
                yield key, sorted(several, key=lambda case: float(case["varied"][key]))


def _sweep(facts: Facts, key: str, cases: Sequence[Facts], at: int) -> Chart:
    points = [(float(case["varied"][key]), rate) for case in cases for rate in case["rates_per_second"]]
    first, best = cases[0], max(cases, key=lambda case: float(case["median_rate_per_second"]))
    rest = {one: value for one, value in first["varied"].items() if one != key}
    pair = f"{first['download']}+{first['transform']}"
    title = ", ".join([pair, *(f"{one} = {value}" for one, value in rest.items())])
    sentence = (f"{title}: {significant(first['median_rate_per_second'])}/s at {key} = {first['varied'][key]}, best "
                f"{significant(best['median_rate_per_second'])}/s at {best['varied'][key]}.")  # fmt: skip
    low, high = (float(case["varied"][key]) for case in (cases[0], cases[-1]))
    ceilings = list(ceiling_curves(facts, key, cases[0], (low, high)))
    sentence += f" Lowest ceiling there: {lowest_ceiling(facts, best)}." if ceilings else " Its ceilings are not known."
    lines = [SweepLine(name="measured, median", points=points, is_ceiling=False), *ceilings]
    label = Label(name=f"sweep-{at}", title=f"Rate against {key}: {title}", sentence=sentence)
    return Chart(sentence=sentence, svg=sweep(label, lines, key))


def lowest_ceiling(facts: Facts, case: Facts) -> str:
    """Its name and rate; there must be a calibration."""
    found = _ceilings(facts, case)
    name = min(found, key=lambda each: found[each])
    return f"{name}, {significant(found[name])}/s"


def ceiling_curves(facts: Facts, key: str, case: Facts, ends: tuple[float, float]) -> Iterator[SweepLine]:
    """The ceilings of a case that are the lowest somewhere, or nearly so, as curves over a setting."""
    if key not in ("download.workers", "transform.workers", "download.per_host"):
        return
    low, high = ends
    steps = [low + (high - low) * at / (CURVE_POINTS - 1) for at in range(CURVE_POINTS)]
    found: dict[str, list[tuple[float, float]]] = {}
    for step in steps:
        for name, rate in _ceilings(facts, case, {key: step}).items():
            found.setdefault(name, []).append((step, rate))
    roof = max((min(rate for _, rate in column) for column in zip(*found.values(), strict=True)), default=0.0)
    near = {name: curve for name, curve in found.items() if min(rate for _, rate in curve) <= NEAR * roof}
    for name in sorted(near, key=lambda each: min(rate for _, rate in near[each]))[:MOST_CEILINGS]:
        yield SweepLine(name=name, points=near[name], is_ceiling=True)


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


def varied_note(facts: Facts) -> str:
    """What a bench without a sweep says of it."""
    cases = count(len(whole_runs(facts)), "case")
    return (f"Between those numbers nothing was measured: each of the {cases} ran with one number of workers. "
            '[bench] vary = {"transform.workers" = [1, 2, 4]} measures it.')  # fmt: skip
