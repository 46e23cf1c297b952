"""From rounds to conclusions: the cases' figures, the noise floor, the verdicts and the winner. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean, median
from typing import Any

from batchproc.bench.bench_json import BenchCase, BenchMemory, BenchPrediction, BenchStage, Winner
from batchproc.bench.cases import Case
from batchproc.bench.predictions import with_measured
from batchproc.bench.record import Round
from batchproc.bench.result import CaseResult
from batchproc.bench.schedule import Attempt, RoundCounts, count_rounds, counted
from batchproc.bench.statistics import fewest_rounds, median_interval
from batchproc.bench.verdicts import Comparison, Verdict, compare, noise_floor

Plan = Sequence[tuple[str, str]]


def counting(rounds: Sequence[Round]) -> list[Round]:
    """Of complete rounds those that count: the last attempt of each number, in order."""
    attempts = [Attempt(number=one.number, disturbances=one.disturbances) for one in rounds]
    return [rounds[position] for position in counted(attempts)]


def conclude(
    measured: Sequence[Round],
    cases: Sequence[Case],
    again: str,
    plan: Plan,
    predictions: Sequence[BenchPrediction],
    *,
    favourite: str,
    level: float,
    rerun: bool = True,
) -> dict[str, Any]:
    """The keys of bench.json that follow from the rounds; `measured` holds all complete ones after the warm-up.

    `rerun` False says that disturbed rounds were taken as they were.
    """
    rounds = counting(measured)
    runs = {case.name: [one.runs[case.name] for one in rounds] for case in cases}
    attempts = [Attempt(number=one.number, disturbances=one.disturbances) for one in measured]
    if not rounds:
        return {"cases": [], "comparisons": [], "predictions": [asdict(row) for row in predictions], "claims": []}
    comparisons = compare_cases(rounds, cases, again, plan, level=level)
    floor = _noise_floor(rounds, cases[0].name, again, level)
    medians = {name: median(run.rate_per_second for run in of) for name, of in runs.items()}
    whole = [case for case in cases if not case.alone]
    return {
        "cases": [asdict(_describe_case(case, runs[case.name])) for case in cases],
        "noise_floor": asdict(floor),
        "contamination": asdict(_contamination(attempts, rerun)),
        "comparisons": [asdict(one) for one in comparisons],
        "predictions": [asdict(row) for row in with_measured(predictions, medians, _ratios(comparisons, cases))],
        "winner": asdict(find_winner(comparisons, medians, whole, favourite)),
        "notes": list(_notes(len(rounds), len(plan), level)),
        "claims": [],
    }


def compare_cases(
    rounds: Sequence[Round], cases: Sequence[Case], again: str, plan: Plan, *, level: float
) -> tuple[Comparison, ...]:
    """The verdicts on the plan, from the rounds that count."""
    floor = _noise_floor(rounds, cases[0].name, again, level)
    times = {case.name: _times(rounds, case.name) for case in cases}
    weights = {case.name: case.weight for case in cases}
    return compare(times, plan, margin=floor.margin, weights=weights, level=level)


def count_undecided(
    measured: Sequence[Round], cases: Sequence[Case], again: str, plan: Plan, *, rounds: int, level: float
) -> int:
    """How many comparisons the first `rounds` rounds leave undecided."""
    seen = [one for one in counting(measured) if one.number <= rounds]
    found = compare_cases(seen, cases, again, plan, level=level)
    return sum(one.verdict is Verdict.UNDECIDED for one in found)


def find_winner(
    comparisons: Sequence[Comparison],
    medians: Mapping[str, float],
    cases: Sequence[Case],
    favourite: str,
) -> Winner:
    """Which case to take. The favourite was named before the first round, so its comparisons prove what they say.

    If some case is proven faster than the favourite, the fastest of those is the winner. Else the favourite is, or the
    lightest of those that tie with it. Without a favourite the fastest by median, proven against the baseline only.
    """
    medians = {case.name: medians[case.name] for case in cases}
    fastest = max(medians, key=lambda name: medians[name])
    leader = favourite or fastest
    rivals = {_other(one, leader): one for one in comparisons if leader in (one.pair, one.against)}
    faster = [name for name, one in rivals.items() if one.verdict is Verdict.WIN and one.winner == name]
    if faster:
        name = max(faster, key=lambda each: medians[each])
        beaten, ties, open_ = [leader], [], [each for each in medians if each not in (name, leader)]
    else:
        ties = [each for each, one in rivals.items() if one.verdict is Verdict.TIE]
        weights = {case.name: case.weight for case in cases}
        name = min([leader, *ties], key=lambda each: (weights[each], -medians[each]))
        beaten = [each for each, one in rivals.items() if one.verdict is Verdict.WIN]
        ties = [each for each in [leader, *ties] if each != name]
        open_ = [each for each in medians if each not in (name, *ties, *beaten)]
    return Winner(
        case=name,
        fastest_median=fastest,
        favourite=favourite,
        predicted=bool(favourite) and name == favourite,
        beats=tuple(beaten),
        ties=tuple(ties),
        not_told_apart=tuple(open_),
    )


def _contamination(attempts: Sequence[Attempt], rerun: bool) -> RoundCounts:
    counts = count_rounds(attempts)
    taken = f"{counts.rounds} rounds count; {counts.disturbed} of them were disturbed and are taken as they are"
    return counts if rerun else replace(counts, text=taken)


def _ratios(comparisons: Sequence[Comparison], cases: Sequence[Case]) -> dict[str, float]:
    """The measured ratio of each case to its own baseline."""
    own = {case.name: case.baseline if case.alone else cases[0].name for case in cases}
    found = {name: 1.0 for name, baseline in own.items() if name == baseline}
    for one in comparisons:
        if own[one.pair] == one.against:
            found[one.pair] = one.ratio
    return found


def _other(comparison: Comparison, name: str) -> str:
    return comparison.against if comparison.pair == name else comparison.pair


def _noise_floor(rounds: Sequence[Round], baseline: str, again: str, level: float) -> Any:
    return noise_floor(_times(rounds, baseline), _times(rounds, again), level=level)


def _times(rounds: Sequence[Round], name: str) -> list[float]:
    return [one.runs[name].seconds for one in rounds]


def _describe_case(case: Case, runs: Sequence[CaseResult]) -> BenchCase:
    """Every point, and the account of a mean run (its buckets still add up)."""
    rates = tuple(run.rate_per_second for run in runs)
    interval = median_interval(rates)
    return BenchCase(
        name=case.name,
        download=case.download.value,
        transform=case.transform.value,
        varied=dict(case.varied),
        alone=case.alone or None,
        seconds=tuple(run.seconds for run in runs),
        rates_per_second=rates,
        median_rate_per_second=median(rates),
        rate_interval=(interval.low, interval.high) if interval else None,
        startup_seconds=_median(run.startup_seconds for run in runs),
        command_seconds=median(run.command_seconds for run in runs),
        origin_cpu_seconds=_median(run.origin_cpu_seconds for run in runs),
        memory=BenchMemory(
            peak_pss_bytes=_median(run.peak_pss_bytes for run in runs),
            per_worker_pss_bytes=_median(run.per_worker_pss_bytes for run in runs),
        ),
        stages={name: _mean_stage([run.stages[name] for run in runs]) for name in runs[0].stages},
    )


def _mean_stage(stages: Sequence[Mapping[str, Any]]) -> BenchStage:
    """Averaged over the runs; a bucket that a run lacks counts as 0 there."""
    buckets = dict.fromkeys(bucket for stage in stages for bucket in stage["account"])
    means = ("cpu_per_item_seconds", "utilisation", "ipc_bytes_per_item", "startup_per_worker_seconds")
    return BenchStage(
        mode=stages[0]["mode"],
        workers=stages[0]["workers"],
        account={bucket: fmean(stage["account"].get(bucket, 0.0) for stage in stages) for bucket in buckets},
        service_p50_seconds=_mean(stage["service_seconds"]["p50"] for stage in stages),
        **{name: _mean(stage[name] for stage in stages) for name in means},
    )


def _notes(rounds: int, comparisons: int, level: float) -> Iterator[str]:
    fewest = fewest_rounds(comparisons, level)
    if rounds < fewest:
        yield f"{rounds} rounds are indicative only: no win among {comparisons} comparisons needs less than {fewest}"


def _known(values: Iterator[float | None] | Any) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Any) -> float | None:
    known = _known(values)
    return fmean(known) if known else None


def _median(values: Any) -> float | None:
    known = _known(values)
    return median(known) if known else None
