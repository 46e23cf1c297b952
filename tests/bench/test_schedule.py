"""Every round runs every case once and the baseline twice, in orders that the seed decides."""

from collections import Counter

import pytest

from batchproc.bench.schedule import LOOK_LEVEL, LOOKS, WARM_UP, Schedule, next_look
from batchproc.bench.statistics import holm, sign_p
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
    ("cases", "baseline"), [(("a", "b"), "c"), (("a", "a"), "a"), (("a", "a (again)"), "a")],
    ids=["no baseline", "twice the same", "taken name"],
)  # fmt: skip
def test_names_that_would_be_confused_are_refused(cases: tuple[str, ...], baseline: str) -> None:
    with pytest.raises(ValueError, match="cases"):
        Schedule(cases=cases, baseline=baseline, seed=1)


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
