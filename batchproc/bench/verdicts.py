"""Exact statistics of paired rounds: log-ratios, interval of the median, sign test, Holm. No assumption on the noise.

Everything rests on the binomial distribution with one half, so every probability here is exact: nothing is fitted, and
no noise need be normal. The rounds need to be independent of each other; inside a round anything may be shared.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from batchproc.explain.words import count
from batchproc.model import Mode

LEVEL = 0.05  # the chance of any false win in one bench that we accept
MOST_ROUNDS = 100  # beyond that nobody waits; the answer is then "more than 100"


class Interval(Struct, frozen=True, kw_only=True):
    """A confidence interval between two of the sorted values. `coverage` is exact for continuous values."""

    low: float
    high: float
    coverage: float

    def inside(self, margin: float) -> bool:
        """Whether the whole interval lies within -margin to +margin."""
        return -margin <= self.low and self.high <= margin


class SignTest(Struct, frozen=True, kw_only=True):
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


class _Split(Struct, frozen=True, kw_only=True):
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
        beyond=abs(median(differences)) > margin,
    )


LEAST_MARGIN = math.log(1.05)  # a difference below 5% changes nobody's choice


class Verdict(StrEnum):
    """What a comparison proved."""

    WIN = "win"  # adjusted p at or below the level, and the point beyond the margin
    TIE = "tie"  # the whole interval inside the margin
    UNDECIDED = "undecided"


class NoiseFloor(Struct, frozen=True, kw_only=True):
    """What the baseline against itself shows. `ratio` and `interval` are ratios of times; `margin` is a log-ratio.

    `suspicious` says that two identical cases differ by more than the least margin and more than chance explains.
    """

    ratio: float
    interval: tuple[float, float] | None
    coverage: float | None
    p: float
    margin: float
    suspicious: bool


class CaseComparison(Struct, frozen=True, kw_only=True):
    """One comparison. `ratio` is time of `pair` / time of `against`, below 1 when `pair` is faster; so is `interval`.

    `winner` is the faster one of a win, the lighter one of a tie, empty otherwise. `rounds_to_decide` is for undecided
    comparisons: None means more than `MOST_ROUNDS`.
    """

    pair: str
    against: str
    ratio: float
    interval: tuple[float, float] | None
    coverage: float | None
    p: float
    p_adjusted: float
    verdict: Verdict
    winner: str
    rounds: int
    faster_rounds: int
    slower_rounds: int
    margin: float  # a log-ratio
    rounds_to_decide: int | None = None
    reason: str = ""


def weight_of(*modes: Mode) -> tuple[int, int]:
    """How heavy a case is: its stages in processes, then those in threads. Serial < thread < process."""
    return modes.count(Mode.PROCESS), modes.count(Mode.THREAD)


def noise_floor(first: Sequence[float], second: Sequence[float], *, level: float = LEVEL) -> NoiseFloor:
    """The noise floor and the margin, from the times of the baseline's two runs of each round.

    The margin is the half-width of the A/A interval, but at least 5%; with too few rounds for an interval just that.
    """
    differences = log_ratios(first, second)
    middle, interval = median(differences), median_interval(differences, 1 - level)
    p = sign_test(differences).p
    margin = max(LEAST_MARGIN, (interval.high - interval.low) / 2 if interval else 0.0)
    suspicious = p <= level and abs(middle) > LEAST_MARGIN
    return NoiseFloor(
        ratio=math.exp(middle),
        interval=_ratios(interval),
        coverage=interval.coverage if interval else None,
        p=p,
        margin=margin,
        suspicious=suspicious,
    )


def compare(
    times: Mapping[str, Sequence[float]],
    plan: Sequence[tuple[str, str]],
    *,
    margin: float,
    weights: Mapping[str, tuple[int, int]],
    level: float = LEVEL,
) -> tuple[CaseComparison, ...]:
    """The verdicts on all planned comparisons, in the plan's order.

    `times` holds seconds of each case, one per round, the same rounds in the same order for all; `plan` names (pair,
    against) and must not depend on the times; `margin` is `noise_floor(...).margin`; `weights` is `weight_of` of each
    case; `level` is 0.05, or `spec.LOOK_LEVEL` at a look. Raises ValueError when the rounds do not match.
    """
    differences = [log_ratios(times[pair], times[other]) for pair, other in plan]
    adjusted = holm([sign_test(values).p for values in differences])
    needed = rounds_to_decide(differences, margin=margin, level=level)
    found = []
    for values, p_adjusted, rounds, (pair, other) in zip(differences, adjusted, needed, plan, strict=True):
        middle, interval = median(values), median_interval(values, 1 - level)
        verdict, signs = _verdict(middle, interval, p_adjusted, margin, level), sign_test(values)
        one = CaseComparison(
            pair=pair,
            against=other,
            ratio=math.exp(middle),
            interval=_ratios(interval),
            coverage=interval.coverage if interval else None,
            p=signs.p,
            p_adjusted=p_adjusted,
            verdict=verdict,
            winner=_winner(pair, other, middle, verdict, weights),
            rounds=len(values),
            faster_rounds=signs.below,
            slower_rounds=signs.above,
            margin=margin,
            rounds_to_decide=rounds if verdict is Verdict.UNDECIDED else None,
        )
        found.append(replace(one, reason=_reason(one, len(plan), level)))
    return tuple(found)


def _verdict(middle: float, interval: Interval | None, p_adjusted: float, margin: float, level: float) -> Verdict:
    """Middle, interval and margin are on the log scale."""
    if p_adjusted <= level and abs(middle) > margin:
        return Verdict.WIN
    return Verdict.TIE if interval is not None and interval.inside(margin) else Verdict.UNDECIDED


def _winner(
    pair: str, other: str, middle: float, verdict: Verdict, weights: Mapping[str, tuple[int, int]]
) -> str:
    if verdict is Verdict.WIN:
        return pair if middle < 0 else other
    if verdict is Verdict.UNDECIDED or weights[pair] == weights[other]:
        return ""
    return min(pair, other, key=lambda case: weights[case])


def _reason(one: CaseComparison, comparisons: int, level: float) -> str:
    seen = f"{one.pair} against {one.against}: {_span(one)}"
    if one.verdict is Verdict.WIN:
        return f"{seen}; {_signs(one, comparisons)}, and beyond the margin of {_percent(one.margin)}"
    if one.verdict is Verdict.TIE:
        choice = f"{one.winner} is the lighter one and is preferred" if one.winner else "neither is lighter"
        return f"{seen}; the whole interval lies inside the margin of {_percent(one.margin)}: {choice}"
    outlook = f"more than {MOST_ROUNDS} rounds like these would be needed"
    if one.rounds_to_decide is not None:
        outlook = f"about {one.rounds_to_decide} rounds like these would decide"
    return f"{seen}; {_doubt(one, comparisons, level)}; {outlook}"


def _doubt(one: CaseComparison, comparisons: int, level: float) -> str:
    """What an undecided comparison lacks."""
    fewest = fewest_rounds(comparisons, level)
    if one.rounds < fewest:
        family = count(comparisons, "comparison")
        return f"{one.rounds} rounds can prove no win in {family}, {fewest} are the fewest that can"
    if abs(math.log(one.ratio)) > one.margin:
        return f"{_signs(one, comparisons)}, above {level:.3g}"
    return f"the middle lies inside the margin of {_percent(one.margin)}, but the interval reaches beyond it"


def _signs(one: CaseComparison, comparisons: int) -> str:
    """In how many rounds which one was faster, and the p that follows, with Holm's count."""
    word, number = ("faster", one.faster_rounds) if one.ratio < 1 else ("slower", one.slower_rounds)
    unequal = one.faster_rounds + one.slower_rounds
    zeros = f" ({one.rounds - unequal} equal and left out)" if unequal < one.rounds else ""
    family = count(comparisons, "comparison")
    return f"{word} in {number} of {unequal} rounds{zeros}, p = {one.p_adjusted:.3g} after Holm over {family}"


def _span(one: CaseComparison) -> str:
    """The ratio of times with its interval, as `0.480 of the time (0.461 to 0.502 with 97.9% confidence)`."""
    ratio = f"{one.ratio:.3f} of the time"
    if one.interval is None or one.coverage is None:
        return f"{ratio} (too few rounds for an interval)"
    low, high = one.interval
    return f"{ratio} ({low:.3f} to {high:.3f} with {100 * one.coverage:.1f}% confidence)"


def _percent(margin: float) -> str:
    return f"{100 * math.expm1(margin):.1f}%"


def _ratios(interval: Interval | None) -> tuple[float, float] | None:
    return (math.exp(interval.low), math.exp(interval.high)) if interval else None
