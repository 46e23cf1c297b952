"""The rounds of a bench: which comes next is decided by what was made, so a stopped bench goes on; and what follows.

The rule for running a round again was fixed beforehand: it looks at the machine, never at the times, and no other round
is ever left out. Both attempts stay in the raw file; of each round the last attempt counts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median

from msgspec.structs import replace

from batchproc.bench.bench_json import (
    WARM_UP,
    Bench,
    BenchCase,
    BenchMemory,
    BenchRound,
    BenchSettings,
    BenchStage,
    CaseRun,
    RoundCounts,
    Winner,
)
from batchproc.bench.predictions import with_measured
from batchproc.bench.spec import LOOKS, Case, Schedule
from batchproc.bench.verdicts import (
    CaseComparison,
    NoiseFloor,
    Verdict,
    compare,
    fewest_rounds,
    median_interval,
    noise_floor,
)
from batchproc.record.run_parts import StageRecord

MOST_EXTRA_ROUNDS = 5
CountUndecided = Callable[[Sequence[BenchRound]], int]  # of the comparisons, by these rounds alone


def counting(rounds: Sequence[BenchRound]) -> list[BenchRound]:
    """Of complete rounds those that count: the last attempt of each number, in order."""
    last = {one.number: one for one in rounds}
    return [last[number] for number in sorted(last)]


def must_rerun(rounds: Sequence[BenchRound]) -> bool:
    """Whether the last round made must be run again whole, before the next one."""
    return bool(rounds) and bool(rounds[-1].disturbances) and _extra(rounds) < MOST_EXTRA_ROUNDS


def count_rounds(rounds: Sequence[BenchRound]) -> RoundCounts:
    """How many rounds count, how many were disturbed, run again, and taken although disturbed."""
    disturbed = sum(bool(one.disturbances) for one in rounds)
    kept, extra = sum(bool(one.disturbances) for one in counting(rounds)), _extra(rounds)
    counted = len(rounds) - extra
    text = f"{counted} rounds count; {disturbed} of the {len(rounds)} made were disturbed, {extra} run again"
    if kept:
        text += f"; {kept} disturbed count, as {MOST_EXTRA_ROUNDS} extra rounds are the most: this machine is noisy"
    return RoundCounts(
        rounds=counted, extra=extra, disturbed=disturbed, counted_disturbed=kept, noisy=kept > 0, text=text
    )


def _extra(rounds: Sequence[BenchRound]) -> int:
    return len(rounds) - len({one.number for one in rounds})


def next_look(rounds: int, *, undecided: int) -> int | None:
    """After how many rounds in all to look again; None to stop, as nothing is undecided or the last look was taken."""
    if rounds and not undecided:
        return None
    return next((look for look in LOOKS if look > rounds), None)


def next_round(
    rounds: Sequence[BenchRound], settings: BenchSettings, count_undecided: CountUndecided
) -> tuple[int, int] | None:
    """Number and attempt of the next round to make; None when all is done."""
    complete = [one for one in rounds if one.complete]
    if not complete:
        return WARM_UP, 1
    last, measured = complete[-1], [one for one in complete if one.number != WARM_UP]
    if settings.rerun and must_rerun(measured):
        return last.number, last.attempt + 1
    target = settings.rounds or 0
    if settings.until_decided:
        target = _looked_target(last.number, counting(measured), count_undecided)
    return (last.number + 1, 1) if last.number < target else None


def make_rounds(
    rounds: Sequence[BenchRound],
    schedule: Schedule,
    cases: Mapping[str, Case],
    settings: BenchSettings,
    run_case: Callable[[Case], CaseRun],
    count_undecided: CountUndecided,
) -> Iterator[tuple[BenchRound, ...]]:
    """Makes what is missing. After each run of a case: all rounds so far, the last of them as far as it has come."""
    made = tuple(rounds)
    entries = {**cases, schedule.again: cases[schedule.baseline]}
    while (following := next_round(made, settings, count_undecided)) is not None:
        number, attempt = following
        one = BenchRound(number=number, attempt=attempt, order=schedule.order(number, attempt))
        before = made
        for entry in one.order:
            one = replace(one, runs={**one.runs, entry: run_case(entries[entry])})
            made = (*before, one)
            yield made


def _looked_target(made: int, rounds: Sequence[BenchRound], count_undecided: CountUndecided) -> int:
    """How many rounds the looks up to now ask for: each sees only the rounds before it, as when it was taken."""
    target = LOOKS[0]
    while made >= target:
        seen = [one for one in rounds if one.number <= target]
        further = next_look(target, undecided=count_undecided(seen))
        if further is None:
            return target
        target = further
    return target


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


def compare_cases(bench: Bench, rounds: Sequence[BenchRound], cases: Sequence[Case]) -> tuple[CaseComparison, ...]:
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
    comparisons: Sequence[CaseComparison],
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
    with_leader = [one for one in comparisons if leader in (one.pair, one.against)]
    others = {one.against if one.pair == leader else one.pair: one for one in with_leader}
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
    counts = count_rounds(bench.measured)
    taken = f"{counts.rounds} rounds count; {counts.disturbed} of them were disturbed and are taken as they are"
    return counts if bench.settings.rerun else replace(counts, text=taken)


def _ratios(comparisons: Sequence[CaseComparison], cases: Sequence[Case]) -> dict[str, float]:
    """The measured ratio of each case to its own baseline."""
    own = {case.name: case.baseline if case.alone else cases[0].name for case in cases}
    found = {name: 1.0 for name, baseline in own.items() if name == baseline}
    for one in comparisons:
        if own[one.pair] == one.against:
            found[one.pair] = one.ratio
    return found


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
