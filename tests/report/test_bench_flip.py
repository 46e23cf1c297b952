"""phi and the number of cores at which the winner flips, from ratios of which the answer is known."""

import pytest

from batchproc.report.bench_flip import find_flips, gil_share
from batchproc.report.bench_numbers import Lab
from tests.report.lab_facts import steps


def lab(**ratios: float) -> Lab:
    return Lab({"experiments": [steps(**ratios)]})  # type: ignore[arg-type]


@pytest.mark.parametrize("ratio", [0.55, 0.7, 0.9, 0.99])
def test_two_threads_give_the_two_bounds_of_the_paper_formula(ratio: float) -> None:
    share = 2 / (2 * ratio) - 1

    assert pytest.approx((share, share**0.5)) == gil_share(ratio, 2)


def test_threads_as_fast_as_processes_hold_nothing_and_half_as_fast_hold_all() -> None:
    assert (0.0, 0.0) == gil_share(1.0, 2) == gil_share(1.2, 8)
    assert pytest.approx((1.0, 1.0)) == gil_share(0.5, 2)
    assert pytest.approx((1.0, 1.0)) == gil_share(0.125, 8)


def test_slower_than_one_thread_is_a_convoy_and_clamped() -> None:
    assert pytest.approx((1.0, 1.0)) == gil_share(0.3, 2)


def test_more_workers_show_a_smaller_share_at_the_same_ratio() -> None:
    assert gil_share(0.8, 8)[1] < gil_share(0.8, 2)[1]


def test_a_step_that_holds_the_gil_flips_at_one_core_and_one_that_does_not_nowhere_known() -> None:
    flips = {flip.step: flip for flip in find_flips(lab(blur=1.1, median_filter=0.5), 2)}

    assert (None, None) == (flips["GaussianBlur"].first, flips["GaussianBlur"].last)
    assert 1.0 == pytest.approx(flips["MedianFilter"].first)
    assert 1.05 > (flips["MedianFilter"].last or 0)


def test_a_spread_around_1_leaves_the_last_core_open() -> None:
    blur = next(flip for flip in find_flips(lab(blur=1.0), 2) if flip.step == "GaussianBlur")

    assert pytest.approx(1 / (1 / 0.99 - 1) ** 0.5) == blur.first
    assert blur.last is None


def test_steps_are_in_the_order_of_the_threads_speed() -> None:
    flips = find_flips(lab(blur=1.0, median_filter=0.5, python=0.8), 2)

    assert ["GaussianBlur", "a loop in Python", "MedianFilter"] == [flip.step for flip in flips]
