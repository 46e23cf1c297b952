"""Rounds are made in the order of the schedule, and a bench that was stopped goes on where it was."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from batchproc.bench.bench_json import BenchRound, BenchSettings, CaseRun, parse_bench, to_json
from batchproc.bench.command import make_rounds
from batchproc.bench.spec import Case, named
from tests.bench.fakes import NOISY, QUIET, FakeRunner, a_bench_of, a_run, schedule_of, two_cases

CASES = two_cases()
SCHEDULE = schedule_of(CASES)
AGAIN = "serial+serial (again)"
TWO = BenchSettings(rounds=2)
NOTHING: Mapping[int, int] = {}


class Interrupted(Exception):
    pass


def make(
    runner: FakeRunner,
    settings: BenchSettings = TWO,
    *,
    before: Sequence[BenchRound] = (),
    undecided: Mapping[int, int] = NOTHING,
) -> list[tuple[BenchRound, ...]]:
    """All rounds as they stood after each run."""
    found = []
    try:
        for rounds in make_rounds(
            before, SCHEDULE, named(CASES), settings, runner, lambda rounds: undecided[len(rounds)]
        ):
            found.append(rounds)
    except Interrupted:
        pass
    return found


def numbers(rounds: Sequence[BenchRound]) -> list[tuple[int, int]]:
    return [(one.number, one.attempt) for one in rounds]


def test_a_warm_up_and_the_rounds_each_with_the_baseline_twice() -> None:
    runner = FakeRunner()

    found = make(runner)

    assert [(0, 1), (1, 1), (2, 1)] == numbers(found[-1])
    assert Counter({"serial+serial": 6, "thread+thread": 3}) == Counter(runner.asked)
    assert all({*one.runs} == {"serial+serial", "thread+thread", AGAIN} for one in found[-1])
    assert len(runner.asked) == len(found)


def test_the_orders_are_those_of_the_schedule() -> None:
    rounds = make(FakeRunner())[-1]

    assert [SCHEDULE.order(number) for number in (0, 1, 2)] == [tuple(one.runs) for one in rounds]


def test_a_disturbed_round_is_made_again_in_another_order() -> None:
    def answer(case: Case, call: int) -> CaseRun:
        return a_run(conditions=NOISY if call == 4 else QUIET)  # in round 1

    rounds = make(FakeRunner(answer))[-1]

    assert [(0, 1), (1, 1), (1, 2), (2, 1)] == numbers(rounds)
    assert SCHEDULE.order(1, 2) == rounds[2].order


def test_a_disturbed_warm_up_is_nobodys_concern() -> None:
    rounds = make(FakeRunner(lambda case, call: a_run(conditions=NOISY if call < 3 else QUIET)))[-1]

    assert [(0, 1), (1, 1), (2, 1)] == numbers(rounds)


def test_an_indicative_bench_takes_disturbed_rounds_as_they_are() -> None:
    runner = FakeRunner(lambda case, call: a_run(conditions=NOISY))

    assert [(0, 1), (1, 1), (2, 1)] == numbers(make(runner, replace(TWO, rerun=False))[-1])


@pytest.mark.parametrize("after", range(9))
def test_a_bench_that_was_stopped_goes_on_where_it_was(after: int) -> None:
    def stop(case: Case, call: int) -> CaseRun:
        if call == after:
            raise Interrupted
        return a_run(1.0 + call)

    whole = make(FakeRunner())[-1]
    stopped = make(FakeRunner(stop))
    on_disk = to_json(a_bench_of(stopped[-1] if stopped else ()))
    kept = [one for one in parse_bench(on_disk).rounds if one.complete]

    resumed = make(FakeRunner(), before=parse_bench(on_disk).rounds)[-1]

    complete = [one for one in resumed if one.complete]
    assert [one.order for one in whole] == [one.order for one in complete]
    assert kept == complete[: len(kept)]
    assert after // 3 == len(kept)


def test_a_complete_bench_runs_nothing_more() -> None:
    rounds, runner = make(FakeRunner())[-1], FakeRunner()

    assert [] == make(runner, before=rounds)
    assert [] == runner.asked


@pytest.mark.parametrize(
    ("undecided", "rounds"),
    [({10: 0}, 10), ({10: 3, 20: 0}, 20), ({10: 3, 20: 1, 30: 1}, 30)],
    ids=["decided at the first look", "at the second", "never"],
)
def test_until_decided_looks_after_10_20_and_30_rounds(undecided: dict[int, int], rounds: int) -> None:
    made = make(FakeRunner(), replace(TWO, until_decided=True), undecided=undecided)[-1]

    assert rounds == len(made) - 1
