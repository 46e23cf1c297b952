"""Rounds are made, made again and continued by what the record holds; no clock is involved."""

from collections import Counter
from pathlib import Path

import pytest

from batchproc.bench.cases import Case, named
from batchproc.bench.record import Record, Round
from batchproc.bench.result import CaseResult
from batchproc.bench.rounds import Length, make_rounds
from tests.bench.fakes import NOISY, QUIET, FakeRunner, a_record, a_result, schedule_of, two_cases

CASES = two_cases()
SCHEDULE = schedule_of(CASES)
AGAIN = "serial+serial (again)"


class Interrupted(Exception):
    pass


def make(
    record: Record,
    runner: FakeRunner,
    length: Length | None = None,
    undecided: dict[int, int] | None = None,
) -> list[Round]:
    """Makes the rounds; returns what was told of after each run."""
    saved: list[Round] = []
    length = length or Length(rounds=2)
    make_rounds(
        record, SCHEDULE, named(CASES), length, runner, lambda rounds: (undecided or {})[rounds], saved=saved.append
    )
    return saved


def numbers(record: Record) -> list[tuple[int, int]]:
    return [(one.number, one.attempt) for one in record.rounds]


def test_a_warm_up_and_the_rounds_each_with_the_baseline_twice(tmp_path: Path) -> None:
    record, runner = a_record(tmp_path), FakeRunner()

    saved = make(record, runner)

    assert [(0, 1), (1, 1), (2, 1)] == numbers(record)
    assert Counter({"serial+serial": 6, "thread+thread": 3}) == Counter(runner.asked)
    assert all({*one.runs} == {"serial+serial", "thread+thread", AGAIN} for one in record.rounds)
    assert len(runner.asked) == len(saved)
    assert [1, 2] == [one.number for one in record.measured]


def test_the_orders_are_those_of_the_schedule(tmp_path: Path) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner())

    assert [SCHEDULE.order(number) for number in (0, 1, 2)] == [tuple(one.runs) for one in record.rounds]


def test_a_disturbed_round_is_made_again_in_another_order(tmp_path: Path) -> None:
    def answer(case: Case, call: int) -> CaseResult:
        return a_result(conditions=NOISY if call == 4 else QUIET)  # in round 1

    record = a_record(tmp_path)

    make(record, FakeRunner(answer))

    assert [(0, 1), (1, 1), (1, 2), (2, 1)] == numbers(record)
    assert SCHEDULE.order(1, 2) == record.rounds[2].order


def test_a_disturbed_warm_up_is_nobodys_concern(tmp_path: Path) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner(lambda case, call: a_result(conditions=NOISY if call < 3 else QUIET)))

    assert [(0, 1), (1, 1), (2, 1)] == numbers(record)


def test_an_indicative_bench_takes_disturbed_rounds_as_they_are(tmp_path: Path) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner(lambda case, call: a_result(conditions=NOISY)), Length(rounds=2, rerun=False))

    assert [(0, 1), (1, 1), (2, 1)] == numbers(record)


@pytest.mark.parametrize("after", range(9))
def test_a_bench_that_was_stopped_goes_on_where_it_was(tmp_path: Path, after: int) -> None:
    def stop(case: Case, call: int) -> CaseResult:
        if call == after:
            raise Interrupted
        return a_result(1.0 + call)

    record, whole = a_record(tmp_path), a_record(tmp_path)
    make(whole, FakeRunner())
    with pytest.raises(Interrupted):
        make(record, FakeRunner(stop))
    kept = [one for one in record.rounds if one.complete]
    on_disk = [one.to_json() for one in record.rounds]
    resumed = Record(folder=tmp_path, header=record.header, rounds=list(map(Round.from_json, on_disk)))

    make(resumed, FakeRunner())

    complete = [one for one in resumed.rounds if one.complete]
    assert [one.order for one in whole.rounds] == [one.order for one in complete]
    assert kept == complete[: len(kept)]
    assert after // 3 == len(kept)


def test_a_complete_bench_runs_nothing_more(tmp_path: Path) -> None:
    record, runner = a_record(tmp_path), FakeRunner()
    make(record, runner)
    asked = len(runner.asked)

    assert [] == make(record, runner)
    assert asked == len(runner.asked)


@pytest.mark.parametrize(
    ("undecided", "rounds"),
    [({10: 0}, 10), ({10: 3, 20: 0}, 20), ({10: 3, 20: 1, 30: 1}, 30)],
    ids=["decided at the first look", "at the second", "never"],
)
def test_until_decided_looks_after_10_20_and_30_rounds(tmp_path: Path, undecided: dict[int, int], rounds: int) -> None:
    record = a_record(tmp_path)

    make(record, FakeRunner(), Length(rounds=10, until_decided=True), undecided)

    assert rounds == len(record.measured)
