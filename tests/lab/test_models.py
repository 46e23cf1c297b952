"""What models say, from tables of which the answer is known."""

import pytest

from batchproc.lab.experiments import BLUR, LOOP, MEDIAN
from batchproc.lab.laboratory import add_predictions, items_that_repay
from batchproc.lab.results import crossings, gil_models, payload_that_eats, value_at
from tests.lab import tables


def test_curves_that_are_straight_in_log_log_cross_where_they_are_equal() -> None:
    flat, rising = {1.0: 4.0, 16.0: 4.0}, {1.0: 1.0, 16.0: 16.0}

    assert (pytest.approx(4.0),) == crossings(flat, rising)
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
    assert (pytest.approx(2.0),) == crossings({0.0: 1.0, 1.0: 2.0, 4.0: 2.0}, {0.0: 5.0, 1.0: 1.0, 4.0: 4.0})


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


def test_a_step_that_holds_the_gil_loses_beyond_one_core_and_one_that_does_not_nowhere_known() -> None:
    held, earliest, latest = gil_models(tables.steps(blur=1.1, median=0.5).series[0], 2)

    assert [BLUR, MEDIAN, LOOP] == [cell.x for cell in held.cells]
    assert (None, None) == (earliest.at(BLUR), latest.at(BLUR))
    first, last = earliest.at(MEDIAN), latest.at(MEDIAN)
    assert first is not None
    assert last is not None
    assert 1.0 == pytest.approx(first.value)
    assert 1.0 <= last.value < 1.05


def test_a_spread_around_1_leaves_the_last_core_open() -> None:
    _, earliest, latest = gil_models(tables.steps(blur=1.0).series[0], 2)

    first = earliest.at(BLUR)
    assert first is not None
    assert pytest.approx(10.0) == first.value  # threads are at least 1 / 1.01 as fast
    assert latest.at(BLUR) is None


def test_one_core_runs_nothing_side_by_side_and_has_no_such_model() -> None:
    assert [] == list(gil_models(tables.steps().series[0], 1))


def test_by_littles_law_waiting_is_overlapped_until_the_rate_without_it() -> None:
    table = tables.latency()

    assert [pytest.approx(21.0), pytest.approx(101.0)] == [each.predicted for each in table.crossings]
    line = table.find("n/(W + c), 20 ms")
    assert line is not None
    points = [pytest.approx(point) for point in line.curve.items()]
    assert [(2.0, 2 / 0.021), (8.0, 8 / 0.021), (21.0, 1000.0)] == points


def test_start_and_time_per_item_predict_whole_jobs() -> None:
    found = add_predictions(tables.all_of_them())["job_size"]

    model = found.find("processes, predicted")
    assert model is not None
    assert pytest.approx(0.021 + 64 * 0.002) == model.curve[64.0]
    assert pytest.approx(10.0) == found.crossings[0].predicted


def test_without_start_and_steps_a_job_is_not_predicted() -> None:
    found = add_predictions({"job_size": tables.job_size()})["job_size"]

    assert (None, False) == (found.crossings[0].predicted, found.crossings[0].is_predicted)
    assert tables.job_size() == found


def test_cpu_per_picture_gives_the_ceilings_of_more_workers() -> None:
    found = add_predictions({"workers": tables.workers(), "steps": tables.steps(blur=0.9)})["workers"]

    roofs = {one.name: max(one.curve.values()) for one in found.series[2:]}
    assert pytest.approx({"n/c": 400.0, "all cores": 400.0}) == {name: roofs[name] for name in ("n/c", "all cores")}
    assert 400.0 < roofs["the GIL, lowest"] < 1200.0
