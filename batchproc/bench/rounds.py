"""The rounds of a bench under way: which comes next is decided by what was made, so a stopped bench just goes on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from batchproc.bench.bench_json import BenchRound, BenchSettings, CaseRun, attempts_of
from batchproc.bench.cases import Case
from batchproc.bench.schedule import LOOKS, WARM_UP, Schedule, counted, must_rerun, next_look

CountUndecided = Callable[[Sequence[BenchRound]], int]  # of the comparisons, by these rounds alone


def counting(rounds: Sequence[BenchRound]) -> list[BenchRound]:
    """Of complete rounds those that count: the last attempt of each number, in order."""
    return [rounds[position] for position in counted(attempts_of(rounds))]


def next_round(
    rounds: Sequence[BenchRound], settings: BenchSettings, count_undecided: CountUndecided
) -> tuple[int, int] | None:
    """Number and attempt of the next round to make; None when all is done."""
    complete = [one for one in rounds if one.complete]
    if not complete:
        return WARM_UP, 1
    last, measured = complete[-1], [one for one in complete if one.number != WARM_UP]
    if settings.rerun and must_rerun(attempts_of(measured)):
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
