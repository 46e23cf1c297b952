"""Every round runs every case once and the baseline twice, in orders that the seed decides."""

from collections import Counter

import pytest

from batchproc.bench.bench_json import WARM_UP, BenchRound, CaseRun, disturbances, worst_of
from batchproc.bench.command import count_rounds, counting, must_rerun, next_look
from batchproc.bench.spec import LOOK_LEVEL, LOOKS, Schedule
from batchproc.bench.verdicts import holm, sign_p
from batchproc.measure.samples import MachineUsage
from tests.bench.simulated import AGAIN, BASELINE, CASES

SCHEDULE = Schedule(cases=CASES, baseline=BASELINE, seed=7)


@pytest.mark.parametrize("number", [WARM_UP, 1, 2, 30])
def test_a_round_runs_every_case_once_and_the_baseline_twice(number: int) -> None:
    order = SCHEDULE.order(number)

    assert AGAIN == SCHEDULE.again
    assert Counter([*CASES, AGAIN]) == Counter(order)


def test_orders_come_back_after_a_restart_in_any_sequence() -> None:
    again = Schedule(cases=CASES, baseline=BASELINE, seed=7)
    late = again.order(9)

    assert [SCHEDULE.order(number) for number in range(1, 10)] == [*(again.order(n) for n in range(1, 9)), late]


def test_each_round_each_attempt_and_each_seed_has_an_order_of_its_own() -> None:
    orders = {SCHEDULE.order(number, attempt) for number in range(20) for attempt in (1, 2)}
    other = Schedule(cases=CASES, baseline=BASELINE, seed=8)

    assert 40 == len(orders)
    assert other.order(1) not in orders


def test_every_case_comes_at_every_place_about_as_often() -> None:
    places = Counter((SCHEDULE.order(number).index(case), case) for number in range(2_000) for case in CASES)

    assert 10 * len(CASES) == len(places)
    assert all(130 < count < 270 for count in places.values())  # 200 expected, five standard deviations either way


@pytest.mark.parametrize(
    ("rounds", "undecided", "expected"),
    [(0, 0, 10), (0, 8, 10), (10, 1, 20), (20, 1, 30), (30, 1, None), (10, 0, None), (12, 1, 20)],
)
def test_looks_go_on_until_all_is_decided_or_the_last_is_taken(
    rounds: int, undecided: int, expected: int | None
) -> None:
    assert expected == next_look(rounds, undecided=undecided)


def test_the_error_is_split_evenly_and_ten_of_ten_still_passes_over_eight() -> None:
    assert 0.05 == pytest.approx(LOOK_LEVEL * len(LOOKS))
    assert holm([sign_p(0, 10)] * 8)[0] <= LOOK_LEVEL < holm([sign_p(0, 10)] * 9)[0]


QUIET = MachineUsage(others_cpu_share=0.01, steal_share=0.0, throttled_seconds=0.0)


BUSY = MachineUsage(others_cpu_share=0.4)


def made(number: int, conditions: MachineUsage) -> BenchRound:
    return BenchRound(number=number, order=("a",), runs={"a": CaseRun(seconds=1.0, conditions=conditions)})


def clean(number: int) -> BenchRound:
    return made(number, QUIET)


def noisy(number: int) -> BenchRound:
    return made(number, BUSY)


@pytest.mark.parametrize(
    ("others", "steal", "throttled", "words"),
    [
        (0.10, 0.02, 0.0, []),
        (0.101, 0.0, 0.0, ["other programs"]),
        (0.0, 0.021, 0.0, ["hypervisor"]),
        (0.0, 0.0, 0.001, ["quota"]),
        (0.5, 0.5, 1.0, ["other programs", "hypervisor", "quota"]),
        (None, None, None, []),
    ],
    ids=["at the limits", "others", "steal", "throttled", "all", "unknown"],
)
def test_only_what_lies_above_a_limit_contaminates(
    others: float | None, steal: float | None, throttled: float | None, words: list[str]
) -> None:
    found = disturbances(MachineUsage(others_cpu_share=others, steal_share=steal, throttled_seconds=throttled))

    assert len(words) == len(found)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_one_disturbed_run_makes_its_round_a_disturbed_one() -> None:
    busy = MachineUsage(others_cpu_share=0.4, steal_share=None, throttled_seconds=None)

    assert MachineUsage(others_cpu_share=0.4, steal_share=0.0, throttled_seconds=0.0) == worst_of([QUIET, busy, QUIET])
    assert MachineUsage(others_cpu_share=None, steal_share=None, throttled_seconds=None) == worst_of([])


def test_a_clean_round_is_not_run_again() -> None:
    assert not must_rerun([])
    assert not must_rerun([clean(1)])
    assert not must_rerun([noisy(1), clean(1)])


def test_a_disturbed_round_is_run_again_until_five_extra_rounds_are_spent() -> None:
    attempts = [noisy(1)]
    while must_rerun(attempts):
        attempts.append(noisy(1))

    assert 6 == len(attempts)
    assert not must_rerun([*attempts, noisy(2)])


def test_the_last_attempt_of_each_round_counts_whether_it_was_clean_or_not() -> None:
    rounds = [noisy(1), clean(1), clean(2), noisy(3), noisy(3)]

    assert [rounds[1], rounds[2], rounds[4]] == counting(rounds)


def test_the_counts_name_what_was_made_run_again_and_taken_although_disturbed() -> None:
    good = count_rounds([noisy(1), clean(1), clean(2)])
    bad = count_rounds([*[noisy(1)] * 6, noisy(2), clean(3)])

    assert (2, 1, 1, 0, False) == (good.rounds, good.extra, good.disturbed, good.counted_disturbed, good.noisy)
    assert "2 rounds count; 1 of the 3 made were disturbed, 1 run again" == good.text
    assert (3, 5, 7, 2, True) == (bad.rounds, bad.extra, bad.disturbed, bad.counted_disturbed, bad.noisy)
    assert bad.text.endswith("this machine is noisy")
