"""Where curves cross, from points of which the answer is known."""

import pytest

from batchproc.report.bench_crossings import (
    crossings,
    items_that_repay,
    payload_that_eats,
    value_at,
    workers_that_fill,
)


def test_curves_that_are_straight_in_log_log_cross_where_they_are_equal() -> None:
    flat, rising = {1.0: 4.0, 16.0: 4.0}, {1.0: 1.0, 16.0: 16.0}

    assert [pytest.approx(4.0)] == crossings(flat, rising)
    assert crossings(flat, rising) == crossings(rising, flat)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({1.0: 9.0, 2.0: 9.0, 4.0: 9.0}, 0),
        ({1.0: 1.0, 2.0: 1.0, 4.0: 1.0}, 0),
        ({1.0: 9.0, 2.0: 1.0, 4.0: 9.0}, 2),
        ({8.0: 1.0}, 0),
    ],
    ids=["above", "below", "to and fro", "no common place"],
)
def test_every_change_of_order_is_a_crossing(second: dict[float, float], expected: int) -> None:
    assert expected == len(crossings({1.0: 3.0, 2.0: 3.0, 4.0: 3.0}, second))


def test_a_place_of_0_has_no_logarithm_and_is_left_out() -> None:
    assert [pytest.approx(2.0)] == crossings({0.0: 1.0, 1.0: 2.0, 4.0: 2.0}, {0.0: 5.0, 1.0: 1.0, 4.0: 4.0})


def test_between_two_points_a_curve_is_straight_and_beyond_its_ends_flat() -> None:
    curve = {1.0: 10.0, 3.0: 30.0}

    assert [10.0, 10.0, 20.0, 30.0, 30.0] == [value_at(curve, x) for x in (0.0, 1.0, 2.0, 3.0, 9.0)]


def test_the_gain_is_eaten_where_the_hand_over_costs_as_much() -> None:
    extra = {0.0: 0.0, 1e6: 0.001, 4e6: 0.004}

    assert pytest.approx(2e6) == payload_that_eats(0.002, extra)
    assert payload_that_eats(0.005, extra) is None
    assert 0.0 == payload_that_eats(-0.001, extra)


def test_a_start_is_repaid_by_what_each_item_gains() -> None:
    assert pytest.approx(10.0) == items_that_repay(0.020, 0.002)
    assert items_that_repay(0.020, 0.0) is None


def test_by_littles_law_rate_times_time_are_the_workers() -> None:
    assert pytest.approx(101.0) == workers_that_fill(1000.0, 0.101)
