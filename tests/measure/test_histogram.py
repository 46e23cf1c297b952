"""Histograms count every duration and answer percentiles within their stated error; a reservoir is bounded and fair."""

import math
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.measure.samples import LARGEST_SECONDS, RELATIVE_ERROR, SMALLEST_SECONDS, Histogram, Reservoir

durations = st.lists(st.floats(SMALLEST_SECONDS, LARGEST_SECONDS), min_size=1, max_size=200)


def histogram_of(values: Iterable[float]) -> Histogram:
    histogram = Histogram()
    for seconds in values:
        histogram.add(seconds)
    return histogram


@given(durations, st.floats(0, 100))
def test_a_percentile_is_within_the_stated_error_of_the_nearest_rank(values: list[float], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]

    assert exact == pytest.approx(histogram_of(values).percentile(percent), rel=RELATIVE_ERROR + 1e-9)


@given(durations)
def test_count_mean_and_maximum_are_exact(values: list[float]) -> None:
    histogram = histogram_of(values)

    assert len(values) == histogram.count
    assert math.fsum(values) / len(values) == pytest.approx(histogram.mean)
    assert max(values) == histogram.largest == histogram.percentile(100)


def test_an_empty_histogram_knows_nothing_rather_than_zero() -> None:
    histogram = Histogram()

    assert 0 == histogram.count
    assert (None, None, None) == (histogram.mean, histogram.percentile(50), histogram.percentile(100))


def test_durations_outside_the_range_are_counted_at_its_ends() -> None:
    histogram = histogram_of([-1.0, 0.0, 1e-9, 5e4])

    assert histogram.count == 4
    assert (0.0, 5e4) == (histogram.smallest, histogram.largest)
    assert histogram.percentile(100) == 5e4


def filled(capacity: int, count: int, seed: int = 0) -> Reservoir[int]:
    reservoir: Reservoir[int] = Reservoir(capacity, seed)
    for item in range(count):
        reservoir.offer(lambda item=item: item)  # type: ignore[misc]
    return reservoir


@given(st.integers(1, 50), st.integers(0, 500), st.integers())
def test_it_keeps_distinct_items_of_the_stream_and_never_more_than_its_capacity(
    capacity: int, count: int, seed: int
) -> None:
    items = filled(capacity, count, seed).items()

    assert min(capacity, count) == len(items) == len(set(items))
    assert set(items) <= set(range(count))


@given(st.integers(1, 20), st.integers(0, 200), st.integers())
def test_the_same_seed_gives_the_same_sample(capacity: int, count: int, seed: int) -> None:
    assert filled(capacity, count, seed).items() == filled(capacity, count, seed).items()


def test_every_item_has_the_same_chance() -> None:
    rounds, capacity, count = 3000, 10, 50
    hits = Counter(item for seed in range(rounds) for item in filled(capacity, count, seed).items())
    expected = rounds * capacity / count
    chi_squared = sum((hits[item] - expected) ** 2 / expected for item in range(count))

    assert chi_squared < 95  # 49 degrees of freedom: 85.4 is passed by one stream in a thousand


def test_it_counts_what_it_saw() -> None:
    assert filled(3, 100).seen == 100


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        Reservoir(0)


def test_what_several_counted_adds_up_to_what_one_would_have_counted() -> None:
    parts, whole, merged = [Histogram(), Histogram()], Histogram(), Histogram()
    for number in range(1, 200):
        for histogram in (parts[number % 2], whole):
            histogram.add(number / 1000)

    for part in parts:
        merged.merge(part.buckets(), mean=part.mean or 0.0, largest=part.largest)

    assert whole.buckets() == merged.buckets()
    assert whole.sum_seconds == pytest.approx(merged.sum_seconds)
    assert [whole.percentile(percent) for percent in (50, 95, 99, 100)] == [
        merged.percentile(percent) for percent in (50, 95, 99, 100)
    ]


def test_an_empty_histogram_adds_nothing() -> None:
    merged = Histogram()

    merged.merge(Histogram().buckets(), mean=0.0, largest=0.0)

    assert 0 == merged.count
    assert merged.percentile(50) is None
