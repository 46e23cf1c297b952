"""Win, tie or undecided: the rule that turns the times of interleaved rounds into verdicts with their reasons.

The comparisons must be fixed before the first round, for Holm counts them all. Choosing the fastest case afterwards and
comparing it with the others is a choice among all pairs: counted as eight comparisons, the sign test alone then gave up
to 6.7% of simulated benches a false win (5 of 9 cases alike, 20 rounds), and under 2% with the margin on top.
`every_two` counts all of them, and needs 11 rounds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

from batchproc.bench.statistics import (
    LEVEL,
    MOST_ROUNDS,
    Interval,
    fewest_rounds,
    holm,
    log_ratios,
    median_interval,
    point,
    rounds_to_decide,
    sign_test,
)
from batchproc.explain.words import count
from batchproc.model import Mode

LEAST_MARGIN = math.log(1.05)  # a difference below 5% changes nobody's choice


class Verdict(StrEnum):
    """What a comparison proved."""

    WIN = "win"  # adjusted p at or below the level, and the point beyond the margin
    TIE = "tie"  # the whole interval inside the margin
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """What the baseline against itself shows. `ratio` and `interval` are ratios of times; `margin` is a log-ratio.

    `suspicious` says that two identical cases differ by more than the least margin and more than chance explains.
    """

    ratio: float
    interval: tuple[float, float] | None
    coverage: float | None
    p: float
    margin: float
    suspicious: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
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


def against(reference: str, cases: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The plan that compares every other case with one named in advance."""
    return tuple((case, reference) for case in cases if case != reference)


def every_two(cases: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The plan that compares all with all: what it takes to name a best case that was not named in advance."""
    return tuple(combinations(cases, 2))


def noise_floor(first: Sequence[float], second: Sequence[float], *, level: float = LEVEL) -> NoiseFloor:
    """The noise floor and the margin, from the times of the baseline's two runs of each round.

    The margin is the half-width of the A/A interval, but at least 5%; with too few rounds for an interval just that.
    """
    differences = log_ratios(first, second)
    middle, interval = point(differences), median_interval(differences, 1 - level)
    p = sign_test(differences).p
    margin = max(LEAST_MARGIN, interval.half_width if interval else 0.0)
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
) -> tuple[Comparison, ...]:
    """The verdicts on all planned comparisons, in the plan's order.

    `times` holds seconds of each case, one per round, the same rounds in the same order for all; `plan` names (pair,
    against) and must not depend on the times; `margin` is `noise_floor(...).margin`; `weights` is `weight_of` of each
    case; `level` is 0.05, or `schedule.LOOK_LEVEL` at a look. Raises ValueError when the rounds do not match.
    """
    differences = [log_ratios(times[pair], times[other]) for pair, other in plan]
    adjusted = holm([sign_test(values).p for values in differences])
    needed = rounds_to_decide(differences, margin=margin, level=level)
    found = []
    for values, p_adjusted, rounds, (pair, other) in zip(differences, adjusted, needed, plan, strict=True):
        middle, interval = point(values), median_interval(values, 1 - level)
        verdict, signs = _verdict(middle, interval, p_adjusted, margin, level), sign_test(values)
        one = Comparison(
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


def _reason(one: Comparison, comparisons: int, level: float) -> str:
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


def _doubt(one: Comparison, comparisons: int, level: float) -> str:
    """What an undecided comparison lacks."""
    fewest = fewest_rounds(comparisons, level)
    if one.rounds < fewest:
        family = count(comparisons, "comparison")
        return f"{one.rounds} rounds can prove no win in {family}, {fewest} are the fewest that can"
    if abs(math.log(one.ratio)) > one.margin:
        return f"{_signs(one, comparisons)}, above {level:.3g}"
    return f"the middle lies inside the margin of {_percent(one.margin)}, but the interval reaches beyond it"


def _signs(one: Comparison, comparisons: int) -> str:
    """In how many rounds which one was faster, and the p that follows, with Holm's count."""
    word, number = ("faster", one.faster_rounds) if one.ratio < 1 else ("slower", one.slower_rounds)
    unequal = one.faster_rounds + one.slower_rounds
    zeros = f" ({one.rounds - unequal} equal and left out)" if unequal < one.rounds else ""
    family = count(comparisons, "comparison")
    return f"{word} in {number} of {unequal} rounds{zeros}, p = {one.p_adjusted:.3g} after Holm over {family}"


def _span(one: Comparison) -> str:
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
