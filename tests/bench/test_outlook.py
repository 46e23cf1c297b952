"""The number of rounds that would decide follows from the present proportions."""

import math

import pytest

from batchproc.bench.outlook import rounds_to_decide
from batchproc.bench.statistics import holm, sign_p

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
