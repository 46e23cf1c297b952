"""A reservoir is bounded, repeatable and fair."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.measure.reservoir import Reservoir


def filled(capacity: int, count: int, seed: int = 0) -> Reservoir[int]:
    reservoir: Reservoir[int] = Reservoir(capacity, seed)
    for item in range(count):
        reservoir.add(item)
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
