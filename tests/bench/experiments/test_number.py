"""A figure is the median of its repeats, with the exact interval and all of them behind it."""

import json

import pytest

from batchproc.bench.experiments.number import Number, counted, gain, repeated
from batchproc.bench.experiments.pipe import break_even


def test_nine_repeats_leave_out_the_slowest_and_the_fastest() -> None:
    number = repeated("seconds", [5, 1, 2, 3, 4, 6, 7, 8, 900], "s")

    assert (5, 2, 8) == (number.value, number.low, number.high)
    assert 9 == len(number.values)


def test_too_few_repeats_have_no_interval() -> None:
    number = repeated("seconds", [1.0, 2.0, 3.0], "s")

    assert (2.0, None, None) == (number.value, number.low, number.high)


def test_a_gain_is_the_median_of_the_rounds_own_ratios() -> None:
    drifting = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]

    number = gain("gain", drifting, [2 * each for each in drifting])

    assert 2.0 == pytest.approx(number.value)
    assert (2.0, 2.0) == pytest.approx((number.low, number.high))
    assert "x" == number.unit


def test_it_survives_json() -> None:
    number = gain("gain", [1.0] * 6, [3.0] * 6, x=20.0, x_unit="ms")

    assert number == Number.from_json(json.loads(json.dumps(number.to_json())))
    assert None is counted("items", 12, "items").low


@pytest.mark.parametrize(
    ("gains", "payload"),
    [
        ([(0, 2.0), (100, 1.5), (200, 0.5)], 150),
        ([(0, 2.0), (100, 1.1)], None),
        ([(0, 0.9), (100, 0.5)], None),
    ],
    ids=["crosses", "still pays", "never paid"],
)
def test_the_break_even_payload_lies_where_the_gain_crosses_one(
    gains: list[tuple[int, float]], payload: float | None
) -> None:
    assert payload == break_even(gains)
