"""The exact statistics agree with tables, with hand-computed examples, and with simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchproc.bench.verdicts import (
    fewest_rounds,
    holm,
    log_ratios,
    median_interval,
    rounds_to_decide,
    sign_p,
    sign_test,
    tail,
)

differences = st.lists(st.floats(-2, 2, allow_nan=False).filter(bool), min_size=6, max_size=40, unique=True)


def test_a_log_ratio_is_below_zero_where_the_first_was_faster() -> None:
    assert (math.log(0.5), 0.0, math.log(2)) == pytest.approx(log_ratios([1, 3, 4], [2, 3, 2]))


@pytest.mark.parametrize(("times", "other"), [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([-1.0], [1.0])])
def test_times_that_do_not_match_or_are_no_times_are_refused(times: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match=r"zip|domain|positive"):
        log_ratios(times, other)


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(0, 10, 1 / 1024), (1, 10, 11 / 1024), (5, 20, 0.020694732666015625), (10, 10, 1.0)],
)
def test_binomial_tails_are_exact(successes: int, trials: int, expected: float) -> None:
    assert expected == tail(successes, trials)


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [(0, 10, 0.001953125), (9, 1, 0.021484375), (0, 5, 0.0625), (5, 5, 1.0), (3, 17, 0.002576828), (0, 0, 1.0)],
)
def test_the_p_of_the_sign_test_is_that_of_the_tables(below: int, above: int, expected: float) -> None:
    assert expected == pytest.approx(sign_p(below, above), abs=1e-9)


def test_zeros_are_left_out_of_the_sign_test() -> None:
    test = sign_test([-1, -1, 0.0, 1, 0.0])

    assert (2, 1, 2, 1.0) == (test.below, test.above, test.zeros, test.p)


@pytest.mark.parametrize(
    ("rounds", "low_rank", "high_rank", "coverage"),
    [(6, 1, 6, 0.96875), (9, 2, 8, 0.9609375), (10, 2, 9, 0.978515625), (20, 6, 15, 0.958611), (30, 10, 21, 0.957226)],
)  # fmt: skip
def test_the_interval_takes_the_ranks_of_the_tables(
    rounds: int, low_rank: int, high_rank: int, coverage: float
) -> None:
    interval = median_interval(list(range(1, rounds + 1)))

    assert interval is not None
    assert (low_rank, high_rank) == (interval.low, interval.high)
    assert coverage == pytest.approx(interval.coverage, abs=1e-6)


def test_a_look_at_ten_rounds_takes_the_whole_range() -> None:
    interval = median_interval(range(10), 1 - 0.05 / 3)

    assert interval is not None
    assert (0, 9) == (interval.low, interval.high)


@pytest.mark.parametrize("rounds", range(6))
def test_five_rounds_have_no_interval(rounds: int) -> None:
    assert median_interval(list(range(rounds))) is None


@given(differences)
def test_the_interval_excludes_zero_exactly_where_the_sign_test_rejects(values: list[float]) -> None:
    interval = median_interval(values)

    assert interval is not None
    assert (interval.low > 0 or interval.high < 0) == (sign_test(values).p <= 0.05)


@pytest.mark.parametrize("rounds", [6, 10, 15])
def test_the_interval_of_a_skewed_distribution_covers_its_median_as_often_as_stated(rounds: int) -> None:
    chance = random.Random(rounds)
    intervals = [median_interval([chance.expovariate(1) for _ in range(rounds)]) for _ in range(5_000)]
    covering = sum(one is not None and one.low <= math.log(2) <= one.high for one in intervals) / len(intervals)

    assert intervals[0] is not None
    assert intervals[0].coverage == pytest.approx(covering, abs=0.01)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
        ([0.001953125] * 8, [0.015625] * 8),
    ],
    ids=["by hand", "at most one", "alone", "none", "eight clean sweeps"],
)
def test_holm_adjusts_as_computed_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    assert adjusted == pytest.approx(list(holm(p_values)))


def test_nine_of_ten_passes_holm_only_as_the_easiest_of_eight() -> None:
    sweep, one_lost = sign_p(0, 10), sign_p(1, 9)

    assert holm([sweep] * 7 + [one_lost])[-1] <= 0.05
    assert holm([sweep] * 6 + [one_lost] * 2)[-1] > 0.04 > 2 * 0.0167
    assert holm([sweep] * 5 + [one_lost] * 3)[-1] > 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)

    assert all(p <= high <= 1 for p, high in zip(p_values, adjusted, strict=True))
    assert [adjusted[index] for index in order] == sorted(adjusted)


@pytest.mark.parametrize(
    ("comparisons", "level", "fewest"),
    [(1, 0.05, 6), (8, 0.05, 9), (36, 0.05, 11), (8, 0.05 / 3, 10), (36, 0.05 / 3, 13), (1, 0.5, 2)],
)
def test_the_fewest_rounds_are_the_first_whose_clean_sweep_passes(comparisons: int, level: float, fewest: int) -> None:
    sweeps = {rounds: holm([sign_p(0, rounds)] * comparisons)[0] for rounds in (fewest - 1, fewest)}

    assert fewest == fewest_rounds(comparisons, level)
    assert sweeps[fewest] <= level < sweeps[fewest - 1]


def test_a_bench_of_the_baseline_alone_compares_nothing_and_needs_no_number_of_rounds() -> None:
    assert 1 == fewest_rounds(0)


MARGIN = math.log(1.05)


def split(slower: int, faster: int, size: float) -> list[float]:
    return [size] * slower + [-size] * faster


def test_a_clean_sweep_of_five_would_win_alone_after_six() -> None:
    assert (6,) == rounds_to_decide([split(0, 5, 0.2)], margin=MARGIN, level=0.05)


def test_the_answer_is_the_first_number_of_rounds_that_passes_holm() -> None:
    (needed, *_) = rounds_to_decide([split(2, 8, 0.2)] * 8, margin=MARGIN, level=0.05)
    at = {n: holm([sign_p(math.ceil(0.2 * n), n - math.ceil(0.2 * n))] * 8)[0] for n in range(11, 60)}

    assert next(n for n, p in at.items() if p <= 0.05) == needed == 25


def test_a_comparison_waits_for_those_that_holm_puts_before_it() -> None:
    alone = rounds_to_decide([split(2, 8, 0.2)], margin=MARGIN, level=0.05)
    among = rounds_to_decide([split(2, 8, 0.2)] * 8, margin=MARGIN, level=0.05)

    assert alone[0] is not None
    assert among[0] is not None
    assert alone[0] < among[0]


def test_an_even_split_beyond_the_margin_is_never_decided() -> None:
    assert (None,) == rounds_to_decide([[0.2] * 6 + [-0.01] * 5], margin=MARGIN, level=0.05)


def test_a_point_inside_the_margin_is_asked_for_a_tie() -> None:
    # 2 of 10 above the margin: the interval of 20 rounds begins at rank 6, and 4 lie above; that of 10 at rank 2.
    # Of 13 rounds 3 would lie above, and their interval begins at rank 3: not inside; of 15, 3 against rank 4.
    assert (15,) == rounds_to_decide([[0.2, 0.2] + [0.0] * 8], margin=MARGIN, level=0.05)


def test_more_than_the_most_is_none() -> None:
    assert (None,) == rounds_to_decide([split(2, 8, 0.2)], margin=MARGIN, level=0.05, most=11)


def test_no_comparisons_need_no_rounds() -> None:
    assert () == rounds_to_decide([], margin=MARGIN, level=0.05)


@pytest.mark.parametrize("rounds", [5, 10])
def test_equal_times_become_a_tie_once_there_is_an_interval(rounds: int) -> None:
    assert (max(6, rounds + 1),) == rounds_to_decide([[0.0] * rounds], margin=MARGIN, level=0.05)
