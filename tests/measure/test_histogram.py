"""Histograms count every duration, merge in any order, and answer percentiles within their stated error."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.measure.histogram import LARGEST_SECONDS, RELATIVE_ERROR, SMALLEST_SECONDS, Histogram

durations = st.lists(st.floats(SMALLEST_SECONDS, LARGEST_SECONDS), min_size=1, max_size=200)


@given(durations, st.floats(0, 100))
def test_a_percentile_is_within_the_stated_error_of_the_nearest_rank(values: list[float], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]

    assert exact == pytest.approx(Histogram.of(values).percentile(percent), rel=RELATIVE_ERROR + 1e-9)


@given(durations, durations, durations)
def test_merging_is_associative_and_commutative(a: list[float], b: list[float], c: list[float]) -> None:
    left = Histogram.of(a)
    left.merge(Histogram.of(b))
    left.merge(Histogram.of(c))
    tail = Histogram.of(c)
    tail.merge(Histogram.of(b))
    tail.merge(Histogram.of(a))

    assert left.buckets() == tail.buckets() == Histogram.of(a + b + c).buckets()
    assert (left.count, left.smallest, left.largest) == (tail.count, tail.smallest, tail.largest)
    assert left.sum_seconds == pytest.approx(tail.sum_seconds)


@given(durations)
def test_count_mean_and_maximum_are_exact(values: list[float]) -> None:
    summary = Histogram.of(values).summary()

    assert len(values) == summary.count
    assert math.fsum(values) / len(values) == pytest.approx(summary.mean)
    assert max(values) == summary.max == Histogram.of(values).percentile(100)


@given(durations)
def test_every_value_lies_in_a_bucket_in_use(values: list[float]) -> None:
    buckets = Histogram.of(values).buckets()

    assert len(values) == sum(count for _, _, count in buckets)
    for value in values:
        assert any(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for low, high, _ in buckets)


@given(durations)
def test_json_brings_the_same_histogram_back(values: list[float]) -> None:
    histogram = Histogram.of(values)

    assert histogram == Histogram.from_json(json.loads(json.dumps(histogram.to_json())))


def test_an_empty_histogram_knows_nothing_rather_than_zero() -> None:
    summary = Histogram().summary()

    assert (0, None, None, None) == (summary.count, summary.mean, summary.p50, summary.max)
    assert Histogram() == Histogram.from_json(Histogram().to_json())


def test_durations_outside_the_range_are_counted_at_its_ends() -> None:
    histogram = Histogram.of([-1.0, 0.0, 1e-9, 5e4])

    assert histogram.count == 4
    assert (0.0, 5e4) == (histogram.smallest, histogram.largest)
    assert histogram.percentile(100) == 5e4
