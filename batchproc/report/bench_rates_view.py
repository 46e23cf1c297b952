"""A bench's figures on its page: rates against ceilings and models, and what an image costs in each mode."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.bench.bench_json import Bench, BenchCase
from batchproc.explain.predict import limits
from batchproc.explain.words import CATEGORIES, count, per_second, seconds, share, size
from batchproc.record.explanation import ExecutionPlan
from batchproc.record.run_parts import STAGES
from batchproc.redact import redact_text
from batchproc.report.bench_charts import Axis, BarRow, case_bars, computed, curve_chart, measured
from batchproc.report.bench_verdict import groups_of, whole_runs
from batchproc.report.run_charts import CEILING_NAMES
from batchproc.report.svg import Chart, Label, Line, role_of

MOST_SWEEPS = 8
MOST_CEILINGS = 4
CURVE_POINTS = 25
NEAR = 1.1  # of the roof: a ceiling that stays above it everywhere is not drawn
MODES = {"thread": "threads, measured", "process": "processes, measured"}

CeilingRow: TypeAlias = tuple[str, float, Sequence[tuple[str, float]]]  # case, rate, (ceiling, rate) lowest first


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
            rows.append((case.name, case.median_rate_per_second, found[:MOST_CEILINGS]))
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
    sentence = (f"{title}: {per_second(first.median_rate_per_second)} at {key} = {first.varied[key]}, best "
                f"{per_second(best.median_rate_per_second)} at {best.varied[key]}. {lowest}")  # fmt: skip
    traces = [measured("measured, median", points, 0)]
    label = Label(name=f"sweep-{at}", title=f"Rate against {key}: {title}", sentence=sentence)
    return _chart(label, key, [*traces, *models])


def _roof(bench: Bench, stage: str) -> Chart | None:
    """What the modes of a stage reached with their workers, the other stage being as in the fastest case."""
    cases = _rivals(whole_runs(bench), stage)
    places = sorted({_workers(case, stage) for case in cases})
    if bench.calibration is None or len(places) < 2:
        return None
    best = max(cases, key=lambda case: case.median_rate_per_second)
    widest = max(cases, key=lambda case: (_workers(case, stage), case is best))
    traces = [measured(name, _points(cases, stage, mode), at)
              for at, (mode, name) in enumerate(MODES.items())
              if any(case.mode(stage) == mode for case in cases)]  # fmt: skip
    rates = [f"{case.stages[stage].mode} with {case.stages[stage].workers}: "
             f"{per_second(median(case.rates_per_second))}" for case in reversed(cases)]  # fmt: skip
    other = next(each for each in STAGES if each != stage)
    sentence = (f"Whole runs by the mode and workers of {stage}, {other} in {best.mode(other)} mode: "
                f"{', '.join(rates)}. Lowest ceiling of the best: {_lowest_ceiling(bench, best)}.")  # fmt: skip
    label = Label(name=f"roof-{stage}", title=f"Rate against {stage} workers", sentence=sentence)
    return _chart(label, f"{stage} workers", [*traces, *_ceiling_curves(bench, f"{stage}.workers", widest, places)])


def _chart(label: Label, setting: str, lines: Sequence[Line]) -> Chart:
    places = sorted({x for key, points in lines if key.shape for x, _ in points})
    zero = min((x for x in places if x > 0), default=1.0) / 2  # the axis is logarithmic
    return curve_chart(label, Axis(name=setting, write=lambda n: f"{n:g}", ticks=places, zero=zero),
                       Axis(name="images per second", write=per_second), lines)  # fmt: skip


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
    return f"{name}, {per_second(found[name])}"


def _ceiling_curves(bench: Bench, key: str, case: BenchCase, places: Sequence[float]) -> list[Line]:
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
    return [computed(name, near[name], at) for at, name in enumerate(order)]


def _ceilings(bench: Bench, case: BenchCase, changed: Mapping[str, float] | None = None) -> dict[str, float]:
    """Name -> images per second at most, from the calibration; empty when there is none. `changed` wins."""
    model = bench.calibration
    if model is None:
        return {}
    numbers = case.numbers | dict(changed or {})
    workers = {stage: numbers.get(f"{stage}.workers", case.stages[stage].workers) for stage in STAGES}
    job = replace(model, connections=numbers.get("download.per_host", bench.material.per_host))
    # Between two numbers of workers a ceiling is a curve.
    plan = ExecutionPlan(download=case.download, download_workers=workers["download"],  # type: ignore[arg-type]
                      transform=case.transform, transform_workers=workers["transform"])  # type: ignore[arg-type]  # fmt: skip
    return {_ceiling_name(limit.name, limit.stage): limit.rate_per_second for limit in limits(job, plan)
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


TINY = 0.004  # of the longest bar: a part below it has no number of its own
MB = 1e6


Legend: TypeAlias = Mapping[str, tuple[int, str]]  # what people call a category -> its number, the role of its colour


class AccountsView(Struct, frozen=True, kw_only=True):
    """One stage: its bars, and the same as a table: the words of the categories, and by case the seconds of each."""

    stage: str
    chart: Chart
    heads: Sequence[str]
    accounts: Mapping[str, Mapping[str, float]]


def view_accounts(bench: Bench) -> tuple[list[AccountsView], Legend]:
    """Both stages with one numbering of the categories."""
    accounts = {stage: _accounts(bench, stage) for stage in STAGES}
    kept = {stage: found for stage, found in accounts.items() if found}
    legend = _legend(kept.values())
    return [_view_accounts(bench, stage, found, legend) for stage, found in kept.items()], legend


def view_memory(bench: Bench) -> Chart | None:
    """Peak PSS of each whole run; None when the system does not tell."""
    cases = whole_runs(bench)
    known = [(case, pss) for case in cases if (pss := case.memory.peak_pss_bytes)]
    if not known:
        return None
    rows = [
        BarRow(name=case.name, note=size(case.memory.peak_pss_bytes),
               parts=[(0, (case.memory.peak_pss_bytes or 0.0) / MB, "cpu")])
        for case in sorted(cases, key=lambda case: case.memory.peak_pss_bytes or float("inf"))
    ]
    least, most = (pick(known, key=lambda entry: entry[1]) for pick in (min, max))
    sentence = (f"From {size(least[1])} ({least[0].name}) to {size(most[1])} ({most[0].name}), all processes of "
                f"a run together: {most[1] / least[1]:.1f} times as much.")  # fmt: skip
    known_workers = [pss for case in cases if (pss := case.memory.per_worker_pss_bytes)]
    if known_workers:
        sentence += f" A worker process holds {size(fmean(known_workers))} on average."
    label = Label(name="memory", title="Memory of each case", sentence=sentence)
    return case_bars(label, rows, "MB")


def view_startup(bench: Bench) -> Chart | None:
    """Time to the first item of each whole run; None when unknown."""
    cases = [(start, case) for case in whole_runs(bench) if (start := case.startup_seconds) is not None]
    if not cases:
        return None
    cases.sort(key=lambda entry: entry[0])
    rows = [
        BarRow(name=case.name, note=f"{seconds(start)}, {share(start / fmean(case.seconds))}",
               parts=[(0, 1000 * start, "startup")])
        for start, case in cases
    ]  # fmt: skip
    (first, earliest), (last, latest) = cases[0], cases[-1]
    sentence = (f"The first item starts after {seconds(first)} in {earliest.name} and after "
                f"{seconds(last)} in {latest.name}; that is inside the compared times, and the per "
                "cent are of them.")  # fmt: skip
    label = Label(name="startup", title="Time to the first item", sentence=sentence)
    return case_bars(label, rows, "ms")


def view_starts(bench: Bench) -> list[tuple[str, str]]:
    """What starting one worker costs, by stage and mode, and the cold start."""
    found: dict[tuple[str, str], list[float]] = {}
    for case in bench.cases:
        for stage, entry in case.stages.items():
            if entry.startup_per_worker_seconds is not None:
                found.setdefault((stage, entry.mode), []).append(entry.startup_per_worker_seconds)
    rows = [(f"{stage}, per {_worker(mode)}", seconds(fmean(of))) for (stage, mode), of in sorted(found.items())]
    rows.append(("the very first run, outside its pipeline (interpreter, list, ledger)",
                 seconds(bench.cold_start.outside_line_seconds)))  # fmt: skip
    return rows


def _worker(mode: str) -> str:
    return {"thread": "thread", "process": "process"}.get(mode, "serial worker")


def _accounts(bench: Bench, stage: str) -> dict[str, dict[str, float]]:
    """Case -> words of a category -> worker-seconds of a mean run."""
    found = {}
    for case in (case for group in groups_of(bench) for case in group.cases):
        if stage in case.stages and case.stages[stage].account:
            found[case.name] = {_words(key): value for key, value in case.stages[stage].account.items()}
    return found


def _words(category: str) -> str:
    """What people call a category; one that this program does not know keeps its name."""
    return CATEGORIES.get(category) or redact_text(category).replace("_", " ")


def _legend(stages: Iterable[Mapping[str, Mapping[str, float]]]) -> Legend:
    """The categories that are visible somewhere, in the order of the palette; unknown ones last, under their names."""
    roles = {words: role_of(name) for name, words in CATEGORIES.items()}
    seen: dict[str, None] = {}
    for found in stages:
        longest = max((sum(max(0.0, value) for value in account.values()) for account in found.values()), default=0.0)
        for account in found.values():
            seen |= dict.fromkeys(words for words, value in account.items() if value > TINY * longest)
    order = [words for words in roles if words in seen] + [words for words in seen if words not in roles]
    return {words: (at, roles.get(words, "unexplained")) for at, words in enumerate(order, 1)}


def _view_accounts(
    bench: Bench, stage: str, accounts: Mapping[str, Mapping[str, float]], legend: Legend
) -> AccountsView:
    heads = list(dict.fromkeys([*legend, *(words for account in accounts.values() for words in account)]))
    rows = []
    for name, account in accounts.items():
        looks = ((words, *legend.get(words, (0, "unexplained"))) for words in heads)
        parts = [(number, max(0.0, account.get(words, 0.0)), role) for words, number, role in looks]
        whole = sum(value for _, value, _ in parts)
        rows.append(BarRow(name=name, note=seconds(whole), parts=[part for part in parts if part[1] > 0]))
    sentence = _accounts_sentence(bench, stage, accounts)
    label = Label(name=f"accounts-{stage}", title=f"Worker-seconds of {stage}, by case", sentence=sentence)
    return AccountsView(stage=stage, chart=case_bars(label, rows, "s"), heads=heads, accounts=accounts)


def _accounts_sentence(bench: Bench, stage: str, accounts: Mapping[str, Mapping[str, float]]) -> str:
    """What took most in the baseline and in the fastest case, and how CPU per image compares."""
    baseline, best = bench.baseline, next(iter(accounts))
    parts = []
    for name in dict.fromkeys((baseline, best)):
        account = accounts.get(name) or {}
        whole = sum(account.values())
        if whole > 0:
            words = max(account, key=lambda key: account[key])
            parts.append(f"in {name} {share(account[words] / whole)} is {words}")
    cpu = {case.name: used for case in bench.cases
           if stage in case.stages and (used := case.stages[stage].cpu_per_item_seconds)}  # fmt: skip
    text = f"{stage}: {'; '.join(parts)}" if parts else f"{stage}: unknown"
    if not cpu:
        return f"{text}."
    least, most = (pick(cpu, key=lambda name: cpu[name]) for pick in (min, max))
    if least == most:
        return f"{text}; CPU per image is {seconds(cpu[least])}."
    return f"{text}; CPU per image is {seconds(cpu[least])} ({least}) to {seconds(cpu[most])} ({most})."
