"""Exact statistics of paired rounds: log-ratios, interval of the median, sign test, Holm. No assumption on the noise.

Everything rests on the binomial distribution with one half, so every probability here is exact: nothing is fitted, and
no noise need be normal. The rounds need to be independent of each other; inside a round anything may be shared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

LEVEL = 0.05  # the chance of any false win in one bench that we accept
MOST_ROUNDS = 100  # beyond that nobody waits; the answer is then "more than 100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval between two of the sorted values. `coverage` is exact for continuous values."""

    low: float
    high: float
    coverage: float

    @property
    def half_width(self) -> float:
        """Half the distance of the two ends."""
        return (self.high - self.low) / 2

    def inside(self, margin: float) -> bool:
        """Whether the whole interval lies within -margin to +margin."""
        return -margin <= self.low and self.high <= margin


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTest:
    """How many differences lie below and above zero, and the exact two-sided p of that split."""

    below: int
    above: int
    zeros: int
    p: float


def log_ratios(times: Sequence[float], against: Sequence[float]) -> tuple[float, ...]:
    """ln(T_a / T_b) of each round. Below zero: `times` was the faster one.

    Raises ValueError for lists of different lengths and for times that are not above zero.
    """
    return tuple(math.log(a) - math.log(b) for a, b in zip(times, against, strict=True))


def point(differences: Sequence[float]) -> float:
    """The estimate of a comparison: the median of its differences. Raises StatisticsError when there are none."""
    return median(differences)


def tail(successes: int, trials: int) -> float:
    """P(X <= successes) of X ~ Binomial(trials, 1/2), from exact integers."""
    return sum(math.comb(trials, k) for k in range(successes + 1)) / (1 << trials)


@cache
def lowest_rank(rounds: int, coverage: float) -> int:
    """The rank of the lower end of the narrowest symmetric interval of the median; 0 when no interval covers enough.

    The r-th smallest and r-th largest of n values enclose the median with probability 1 - 2 P(Bin(n, 1/2) <= r - 1),
    whatever their continuous distribution (David and Nagaraja, Order Statistics, 3rd edition 2003, section 7.1).
    """
    fits = (rank for rank in range(rounds // 2, 0, -1) if 1 - 2 * tail(rank - 1, rounds) >= coverage)
    return next(fits, 0)


def median_interval(values: Sequence[float], coverage: float = 1 - LEVEL) -> Interval | None:
    """The exact interval of the median from order statistics, covering at least `coverage`.

    None when there are too few values for any: 95% needs 6 of them. Of 10 values, 95% takes the 2nd and the 9th,
    which cover 97.9%.
    """
    count = len(values)
    rank = lowest_rank(count, coverage)
    if rank == 0:
        return None
    ordered = sorted(values)
    return Interval(
        low=ordered[rank - 1],
        high=ordered[count - rank],
        coverage=1 - 2 * tail(rank - 1, count),
    )


@cache
def sign_p(below: int, above: int) -> float:
    """The two-sided p of the sign test: twice the smaller tail, at most 1; 1 without any sign."""
    return min(1.0, 2 * tail(min(below, above), below + above))


def sign_test(differences: Sequence[float]) -> SignTest:
    """Tests exactly whether a difference is as likely to lie above zero as below.

    Zeros say nothing on the direction and are left out, as usual (Conover, Practical Nonparametric Statistics, 3rd
    edition 1999, section 3.4): the test then has that many rounds less, so they can only make a proof harder.
    """
    below = sum(value < 0 for value in differences)
    above = sum(value > 0 for value in differences)
    return SignTest(below=below, above=above, zeros=len(differences) - below - above, p=sign_p(below, above))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values adjusted for each other, in the order given; whoever stays at or below a level is rejected at it.

    Holm's step-down bounds the chance of any false rejection whatever the dependence of the tests, and here they
    depend: all share the baseline (Holm, Scandinavian Journal of Statistics 6, 1979, 65-70).
    """
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - done) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def fewest_rounds(comparisons: int, level: float = LEVEL) -> int:
    """The fewest rounds that can prove anything: where a clean sweep, p = 2^(1-n), passes Holm's first step.

    1 when nothing is compared.
    """
    return 1 if not comparisons else 1 + math.ceil(math.log2(comparisons / level))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """One comparison's rounds, counted by what decides: its sides of zero, and what lies outside the margin."""

    rounds: int
    minority: int  # rounds on the less frequent side of zero
    zeros: int
    outside: int  # rounds beyond the margin, on the side that has more of them
    beyond: bool  # the point lies outside the margin, so a win is what more rounds could bring; else a tie

    def sign_p(self, rounds: int) -> float:
        """The p of the sign test after `rounds` rounds in the present proportions, rounded against a proof."""
        minority, zeros = self._grown(self.minority, rounds), self._grown(self.zeros, rounds)
        return sign_p(minority, max(minority, rounds - minority - zeros))

    def ties(self, rounds: int, coverage: float) -> bool:
        """Whether the interval after `rounds` rounds would lie inside the margin."""
        return self._grown(self.outside, rounds) < lowest_rank(rounds, coverage)

    def _grown(self, count: int, rounds: int) -> int:
        return -(-count * rounds // self.rounds)


def rounds_to_decide(
    comparisons: Sequence[Sequence[float]], *, margin: float, level: float, most: int = MOST_ROUNDS
) -> tuple[int | None, ...]:
    """The smallest number of rounds, above those made, that would decide each comparison; None for more than `most`.

    `comparisons` are the log-ratios of each, of equal lengths; `margin` is on the log scale. A win needs Holm over all
    comparisons, each grown in its present proportions; a tie needs the interval inside the margin. An estimate, not a
    promise: ten rounds know a proportion badly.
    """
    splits = [_split(differences, margin) for differences in comparisons]
    found: list[int | None] = [None] * len(splits)
    made = min((split.rounds for split in splits), default=most)
    for rounds in range(made + 1, most + 1):
        adjusted = holm([split.sign_p(rounds) for split in splits])
        for index, split in enumerate(splits):
            decided = adjusted[index] <= level if split.beyond else split.ties(rounds, 1 - level)
            if decided and found[index] is None:
                found[index] = rounds
        if None not in found:
            break
    return tuple(found)


def _split(differences: Sequence[float], margin: float) -> _Split:
    signs = sign_test(differences)
    return _Split(
        rounds=len(differences),
        minority=min(signs.below, signs.above),
        zeros=signs.zeros,
        outside=max(sum(value < -margin for value in differences), sum(value > margin for value in differences)),
        beyond=abs(point(differences)) > margin,
    )
