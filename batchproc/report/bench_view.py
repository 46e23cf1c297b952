"""From bench.json to what the bench's page shows, in the page's order. Unknown stays unknown, never zero."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.explain.words import count, share, significant
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
from batchproc.report.bench_files import Facts, baseline_of, median_error, relate, times, whole_runs
from batchproc.report.bench_rates_view import CeilingRow, view_case_ceilings, view_rates
from batchproc.report.bench_trust_view import (
    ComparisonRow,
    view_bench_provenance,
    view_bench_trust,
    view_comparisons,
    view_disturbances,
)
from batchproc.report.bench_verdict import is_proven, sentences
from batchproc.report.lab_section import LabSection, view_lab
from batchproc.report.trust_view import Provenance, TrustView
from batchproc.report.view import as_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPage:
    """All that the template needs."""

    job: str
    started: str
    tone: str
    ended_how: str
    verdict: Sequence[str]
    figures: Sequence[tuple[str, str, str]]  # name, value, remark
    counts: str
    maps: Sequence[HeatMap]
    maps_note: str
    points: Sequence[TwoWidths]
    accounts: Sequence[AccountsView]
    legend: Sequence[LegendEntry]
    forecast: ForecastView | None
    calibration: str
    ceilings: Sequence[CeilingRow]
    rates: Sequence[Chart]
    rates_note: str
    memory: Chart | None
    startup: Chart | None
    starts: Sequence[tuple[str, str]]
    has_rounds: bool
    lab: LabSection
    trust: TrustView
    comparisons: Sequence[ComparisonRow]
    disturbed: Sequence[tuple[str, str]]
    provenance: Provenance


def view_bench(facts: Facts) -> BenchPage:
    """Arranges a bench; an interrupted one has what its complete rounds give."""
    tone, ended_how = _ended(facts)
    lab = view_lab(facts)
    maps, maps_note = view_maps(facts)
    accounts, legend = view_accounts(facts)
    rates, rates_note = view_rates(facts)
    return BenchPage(
        job=str(facts.get("job", "unknown")),
        started=str(facts.get("started", "unknown")).replace("T", " ").removesuffix("Z"),
        tone=tone,
        ended_how=ended_how,
        verdict=[as_sentence(sentence) for sentence in sentences(facts, lab.claims, len(lab.results))],
        figures=_figures(facts) if baseline_of(facts) else [],
        counts=_counts(facts) if baseline_of(facts) else "",
        maps=maps,
        maps_note=maps_note,
        points=view_points(facts),
        accounts=accounts,
        legend=legend,
        forecast=view_forecast(facts),
        calibration=str((facts.get("calibration") or {}).get("text") or ""),
        ceilings=view_case_ceilings(facts),
        rates=rates,
        rates_note=rates_note,
        memory=view_memory(facts),
        startup=view_startup(facts),
        starts=view_starts(facts),
        has_rounds=bool(baseline_of(facts)),
        lab=lab,
        trust=view_bench_trust(facts, lab),
        comparisons=view_comparisons(facts),
        disturbed=view_disturbances(facts),
        provenance=view_bench_provenance(facts),
    )


def _ended(facts: Facts) -> tuple[str, str]:
    if not facts.get("complete"):
        return "unknown", "interrupted: the same command continues it"
    if not baseline_of(facts):
        return "good", "experiments alone"
    return ("good", "decided") if is_proven(facts) else ("unknown", "undecided")


def _figures(facts: Facts) -> list[tuple[str, str, str]]:
    cases, baseline = whole_runs(facts), baseline_of(facts)
    best = cases[0] if cases else None
    seen = relate(facts, str(best["name"]), baseline) if best else None
    floor, found = facts.get("noise_floor") or {}, facts.get("contamination") or {}
    settings = facts.get("settings") or {}
    return [
        ("fastest median", f"{significant(best['median_rate_per_second'])}/s" if best else "unknown",
         str(best["name"]) if best else "images per second"),
        ("against the baseline", times(seen.speed) if seen else "unknown", f"the speed of {baseline}"),
        ("rounds that count", str(found.get("rounds", "unknown")), f"{settings.get('rounds', 'unknown')} asked for, "
         f"{found.get('counted_disturbed', 'unknown')} disturbed"),
        ("a tie lies within", f"± {share(margin_of(facts) - 1)}", "the noise floor, at least 5 %")
        if floor else ("a tie lies within", "unknown", "no round is complete"),
        ("prediction error", share(median_error(facts)), "median of the predicted speeds"),
    ]  # fmt: skip


def _counts(facts: Facts) -> str:
    cases, material = facts.get("cases") or (), facts.get("material") or {}
    return f"{count(len(cases), 'case')} on {material.get('text', 'unknown pictures')}."
