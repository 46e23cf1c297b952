"""From rounds to conclusions: the cases' figures, the noise floor, the verdicts and the winner. Pure functions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median

from batchproc.bench.bench_json import (
    Bench,
    BenchCase,
    BenchMemory,
    BenchRound,
    BenchStage,
    CaseRun,
    Winner,
    attempts_of,
)
from batchproc.bench.cases import Case
from batchproc.bench.predictions import with_measured
from batchproc.bench.rounds import counting
from batchproc.bench.schedule import RoundCounts, count_rounds
from batchproc.bench.statistics import fewest_rounds, median_interval
from batchproc.bench.verdicts import Comparison, NoiseFloor, Verdict, compare, noise_floor
from batchproc.record.run_parts import StageRecord


def conclude(bench: Bench, cases: Sequence[Case]) -> Bench:
    """The bench with all that follows from its rounds so far."""
    rounds, plan = counting(bench.measured), bench.plan or ()
    if not rounds:
        return bench
    runs = {case.name: [one.runs[case.name] for one in rounds] for case in cases}
    comparisons = compare_cases(bench, rounds, cases)
    medians = {name: median(run.rate_per_second for run in of) for name, of in runs.items()}
    whole = [case for case in cases if not case.alone]
    return replace(
        bench,
        cases=tuple(_describe_case(case, runs[case.name]) for case in cases),
        noise_floor=_noise_floor(bench, rounds),
        contamination=_contamination(bench),
        comparisons=comparisons,
        predictions=tuple(with_measured(bench.predictions, medians, _ratios(comparisons, cases))),
        winner=find_winner(comparisons, medians, whole, bench.favourite),
        notes=tuple(_notes(len(rounds), len(plan), bench.settings.level)),
    )


def compare_cases(bench: Bench, rounds: Sequence[BenchRound], cases: Sequence[Case]) -> tuple[Comparison, ...]:
    """The verdicts on the bench's plan, from rounds that count."""
    return compare(
        {case.name: _times(rounds, case.name) for case in cases},
        bench.plan or (),
        margin=_noise_floor(bench, rounds).margin,
        weights={case.name: case.weight for case in cases},
        level=bench.settings.level,
    )


def count_undecided(bench: Bench, rounds: Sequence[BenchRound], cases: Sequence[Case]) -> int:
    """How many comparisons these rounds leave undecided."""
    return sum(one.verdict is Verdict.UNDECIDED for one in compare_cases(bench, rounds, cases))


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
    others = {_other(one, leader): one for one in comparisons if leader in (one.pair, one.against)}
    faster = [name for name, one in others.items() if one.verdict is Verdict.WIN and one.winner == name]
    if faster:
        name = max(faster, key=lambda each: medians[each])
        beaten, ties, undecided = [leader], [], [each for each in medians if each not in (name, leader)]
    else:
        ties = [each for each, one in others.items() if one.verdict is Verdict.TIE]
        weights = {case.name: case.weight for case in cases}
        name = min([leader, *ties], key=lambda each: (weights[each], -medians[each]))
        beaten = [each for each, one in others.items() if one.verdict is Verdict.WIN]
        ties = [each for each in [leader, *ties] if each != name]
        undecided = [each for each in medians if each not in (name, *ties, *beaten)]
    return Winner(
        case=name,
        fastest_median=fastest,
        favourite=favourite,
        predicted=bool(favourite) and name == favourite,
        beats=tuple(beaten),
        ties=tuple(ties),
        not_told_apart=tuple(undecided),
    )


def _contamination(bench: Bench) -> RoundCounts:
    counts = count_rounds(attempts_of(bench.measured))
    taken = f"{counts.rounds} rounds count; {counts.disturbed} of them were disturbed and are taken as they are"
    return counts if bench.settings.rerun else replace(counts, text=taken)


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


def _noise_floor(bench: Bench, rounds: Sequence[BenchRound]) -> NoiseFloor:
    first, second = _times(rounds, bench.baseline), _times(rounds, bench.baseline_again)
    return noise_floor(first, second, level=bench.settings.level)


def _times(rounds: Sequence[BenchRound], name: str) -> list[float]:
    return [one.runs[name].seconds for one in rounds]


def _describe_case(case: Case, runs: Sequence[CaseRun]) -> BenchCase:
    """Every point, and the time breakdown of a mean run (its categories still add up)."""
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


def _mean_stage(stages: Sequence[StageRecord]) -> BenchStage:
    """Averaged over the runs; a category of time that a run lacks counts as 0 there."""
    categories = dict.fromkeys(name for stage in stages for name in stage.account)
    return BenchStage(
        mode=stages[0].mode,
        workers=stages[0].workers,
        account={name: fmean(stage.account.get(name, 0.0) for stage in stages) for name in categories},
        cpu_per_item_seconds=_mean(stage.cpu_per_item_seconds for stage in stages),
        utilisation=_mean(stage.utilisation for stage in stages),
        service_p50_seconds=_mean(stage.service_seconds.p50 for stage in stages),
        ipc_bytes_per_item=_mean(stage.ipc_bytes_per_item for stage in stages),
        startup_per_worker_seconds=_mean(stage.startup_per_worker_seconds for stage in stages),
    )


def _notes(rounds: int, comparisons: int, level: float) -> Iterator[str]:
    fewest = fewest_rounds(comparisons, level)
    if rounds < fewest:
        yield f"{rounds} rounds are indicative only: no win among {comparisons} comparisons needs less than {fewest}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
