"""Makes the rounds: which comes next is decided by what was made, so that a bench that was stopped just goes on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batchproc.bench.cases import Case
from batchproc.bench.record import Record, Round
from batchproc.bench.result import CaseResult
from batchproc.bench.schedule import LOOKS, WARM_UP, Schedule, must_rerun, next_look

RunCase = Callable[[Case], CaseResult]
CountUndecided = Callable[[int], int]  # of the first so many rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a bench is: a number of rounds, or as many as the looks ask for; and whether disturbed ones count.

    `rerun` False takes every round as it is, for a bench that is indicative only.
    """

    rounds: int
    until_decided: bool = False
    rerun: bool = True


def next_round(record: Record, length: Length, count_undecided: CountUndecided) -> tuple[int, int] | None:
    """Number and attempt of the next round to make; None when all is done."""
    complete = [one for one in record.rounds if one.complete]
    if not complete:
        return WARM_UP, 1
    last = complete[-1]
    if length.rerun and must_rerun(record.attempts):
        return last.number, last.attempt + 1
    target = _looked_target(last.number, count_undecided) if length.until_decided else length.rounds
    return (last.number + 1, 1) if last.number < target else None


def make_rounds(
    record: Record,
    schedule: Schedule,
    cases: Mapping[str, Case],
    length: Length,
    run_case: RunCase,
    count_undecided: CountUndecided,
    *,
    saved: Callable[[Round], None],
) -> None:
    """Makes what is missing. `run_case` runs one case; `saved` is called after each, when it is in the record."""
    entries = {**cases, schedule.again: cases[schedule.baseline]}
    while (task := next_round(record, length, count_undecided)) is not None:
        number, attempt = task
        one = Round(number=number, attempt=attempt, order=schedule.order(number, attempt))
        record.rounds.append(one)
        for entry in one.order:
            one.runs[entry] = run_case(entries[entry])
            saved(one)


def _looked_target(made: int, count_undecided: CountUndecided) -> int:
    """How many rounds the looks up to now ask for: each sees only the rounds before it, as when it was taken."""
    target = LOOKS[0]
    while made >= target:
        further = next_look(target, undecided=count_undecided(target))
        if further is None:
            return target
        target = further
    return target
