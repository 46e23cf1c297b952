"""From bench.json to what the bench's page shows, in the page's order. Unknown stays unknown, never zero."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.bench.bench_json import Bench
from batchproc.explain.words import share, significant
from batchproc.report.account_view import Chart
from batchproc.report.bench_cases_view import (
    ForecastView,
    HeatMap,
    TwoWidths,
    margin_of,
    view_forecast,
    view_maps,
    view_points,
)
from batchproc.report.bench_costs_view import (
    AccountsView,
    LegendEntry,
    view_accounts,
    view_memory,
    view_starts,
    view_startup,
)
from batchproc.report.bench_files import median_error, relate, times, told, whole_runs
from batchproc.report.bench_rates_view import CeilingRow, view_case_ceilings, view_rates
from batchproc.report.bench_trust_view import (
    view_bench_provenance,
    view_bench_trust,
    view_disturbances,
)
from batchproc.report.bench_verdict import is_proven, sentences
from batchproc.report.lab_section import LabSection, view_lab
from batchproc.report.trust_view import Provenance, TrustView
from batchproc.report.view import as_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPage:
    """All that the template needs."""

    bench: Bench
    started: str
    tone: str
    ended_how: str
    verdict: Sequence[str]
    figures: Sequence[tuple[str, str, str]]  # name, value, remark
    maps: Sequence[HeatMap]
    maps_note: str
    points: Sequence[TwoWidths]
    accounts: Sequence[AccountsView]
    legend: Sequence[LegendEntry]
    forecast: ForecastView | None
    ceilings: Sequence[CeilingRow]
    rates: Sequence[Chart]
    rates_note: str
    memory: Chart | None
    startup: Chart | None
    starts: Sequence[tuple[str, str]]
    lab: LabSection
    trust: TrustView
    disturbed: Sequence[tuple[str, str]]
    provenance: Provenance


def view_bench(bench: Bench) -> BenchPage:
    """Arranges a bench; an interrupted one has what its complete rounds give."""
    tone, ended_how = _ended(bench)
    lab = view_lab(bench)
    maps, maps_note = view_maps(bench)
    accounts, legend = view_accounts(bench)
    rates, rates_note = view_rates(bench)
    return BenchPage(
        bench=bench,
        started=bench.started.replace("T", " ").removesuffix("Z"),
        tone=tone,
        ended_how=ended_how,
        verdict=[as_sentence(sentence) for sentence in sentences(bench, lab.claims, len(lab.results))],
        figures=_figures(bench) if bench.baseline else [],
        maps=maps,
        maps_note=maps_note,
        points=view_points(bench),
        accounts=accounts,
        legend=legend,
        forecast=view_forecast(bench),
        ceilings=view_case_ceilings(bench),
        rates=rates,
        rates_note=rates_note,
        memory=view_memory(bench),
        startup=view_startup(bench),
        starts=view_starts(bench),
        lab=lab,
        trust=view_bench_trust(bench, lab),
        disturbed=view_disturbances(bench),
        provenance=view_bench_provenance(bench),
    )


def _ended(bench: Bench) -> tuple[str, str]:
    if not bench.complete:
        return "unknown", "interrupted: the same command continues it"
    if not bench.baseline:
        return "good", "experiments alone"
    return ("good", "decided") if is_proven(bench) else ("unknown", "undecided")


def _figures(bench: Bench) -> list[tuple[str, str, str]]:
    cases, baseline = whole_runs(bench), bench.baseline
    best = cases[0] if cases else None
    seen = relate(bench, best.name, baseline) if best else None
    found = bench.contamination
    return [
        ("fastest median", f"{significant(best.median_rate_per_second)}/s" if best else "unknown",
         best.name if best else "images per second"),
        ("against the baseline", times(seen.speed) if seen else "unknown", f"the speed of {baseline}"),
        ("rounds that count", told(found.rounds), f"{told(bench.settings.rounds)} asked for, "
         f"{told(found.counted_disturbed)} disturbed"),
        ("a tie lies within", f"± {share(margin_of(bench) - 1)}", "the noise floor, at least 5%")
        if bench.noise_floor else ("a tie lies within", "unknown", "no round is complete"),
        ("prediction error", share(median_error(bench)), "median of the predicted speeds"),
    ]  # fmt: skip
