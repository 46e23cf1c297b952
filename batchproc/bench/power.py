"""What a bench of n rounds is able to see: the chance of a win, of a tie, and the smallest difference it finds.

The model: each run's log time has independent normal noise of standard deviation `sigma` (0.03 = 3 %) besides what its
whole round shares, so a paired log-ratio is normal with sqrt(2) sigma. The tests themselves do not need this model.
"""

import math
import random
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist, median

from batchproc.bench.statistics import favourable_needed, lowest_rank

TRIALS = 4_000  # the standard error of a simulated chance is then at most 0.8 %
SEED = 1979
WANTED = 0.8  # the usual chance that a difference worth finding is found


def noise_sigma(same_twice: Sequence[float]) -> float:
    """The noise of one run, as a standard deviation of its log time, from the A/A log-ratios.

    From the median absolute deviation, which one disturbed round cannot spoil; 1.4826 makes it the standard deviation
    of a normal distribution (Rousseeuw and Croux, JASA 88, 1993).
    """
    centre = median(same_twice)
    return 1.4826 * median(abs(value - centre) for value in same_twice) / math.sqrt(2)


def sign_test_power(*, favourable: float, rounds: int, level: float) -> float:
    """The exact chance that the sign test finds the right direction, which a round shows with chance `favourable`."""
    needed = favourable_needed(rounds, level)
    if needed is None:
        return 0.0
    return math.fsum(
        math.comb(rounds, count) * favourable**count * (1 - favourable) ** (rounds - count)
        for count in range(needed, rounds + 1)
    )


def win_power(*, ratio: float, sigma: float, rounds: int, margin: float, level: float) -> float:
    """The chance of a win for the case that is truly the faster by `ratio` (0.8 and 1.25 are the same), simulated.

    `margin` is on the log scale; `level` is what this comparison must pass: 0.05 / 8 for Holm's first of eight.
    """
    effect = abs(math.log(ratio))
    needed = _effects_needed(rounds, level, sigma, margin)
    return sum(value < effect for value in needed) / len(needed) if needed else 0.0


def detectable_ratio(
    *, sigma: float, rounds: int, margin: float, level: float, power: float = WANTED
) -> float | None:
    """The smallest true ratio of times, above 1, that is found with chance `power`; None when nothing can be."""
    needed = _effects_needed(rounds, level, sigma, margin)
    if not needed:
        return None
    return math.exp(needed[min(len(needed) - 1, math.ceil(power * len(needed)))])


def tie_power(*, ratio: float, sigma: float, rounds: int, margin: float, coverage: float) -> float:
    """The exact chance that the interval of the median lies inside the margin when the true ratio is `ratio`.

    Below and above the margin each at most r - 1 of the rounds may lie, r the interval's rank: a trinomial sum.
    """
    rank = lowest_rank(rounds, coverage)
    noise = NormalDist(math.log(ratio), math.sqrt(2) * sigma)
    below, above = noise.cdf(-margin), 1 - noise.cdf(margin)
    middle = max(0.0, 1 - below - above)
    return math.fsum(
        math.comb(rounds, low) * math.comb(rounds - low, high) * below**low * above**high * middle**inside
        for low in range(rank)
        for high in range(rank)
        if (inside := rounds - low - high) >= 0
    )


def _effects_needed(rounds: int, level: float, sigma: float, margin: float) -> list[float]:
    """For each simulated bench the true log-ratio from which it would have been a win, sorted; empty when none can be.

    A win is the k-th largest difference above 0 and the median above the margin; both only shift with the effect.
    """
    needed = favourable_needed(rounds, level)
    if needed is None:
        return []
    scale = math.sqrt(2) * sigma
    return sorted(max(-scale * kth, margin - scale * middle) for kth, middle in _noise(rounds, needed))


@cache
def _noise(rounds: int, needed: int) -> tuple[tuple[float, float], ...]:
    """The `needed`-th largest and the median of standard normal samples of `rounds`."""
    chance = random.Random(SEED)
    samples = (sorted(chance.gauss() for _ in range(rounds)) for _ in range(TRIALS))
    return tuple((sample[rounds - needed], median(sample)) for sample in samples)
