"""Win, tie or undecided: the rule that turns the times of interleaved rounds into verdicts with their reasons.

The comparisons must be fixed before the first round, for Holm counts them all. Choosing the fastest case afterwards and
comparing it with the others is a choice among all pairs: counted as eight comparisons, the sign test alone then gave up
to 6.7 % of simulated benches a false win (5 of 9 cases alike, 20 rounds), and under 2 % with the margin on top.
`every_two` counts all of them, and needs 11 rounds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

from batchproc.bench.statistics import (
    LEVEL,
    MOST_ROUNDS,
    Interval,
    SignTest,
    fewest_rounds,
    holm,
    log_ratios,
    median_interval,
    point,
    rounds_to_decide,
    sign_test,
)
from batchproc.model import Mode

LEAST_MARGIN = math.log(1.05)  # a difference below 5 % changes nobody's choice


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
    text: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One comparison. `ratio` is time of `pair` / time of `against`, below 1 when `pair` is faster; so is `interval`.

    `winner` is the faster one of a win, the lighter one of a tie, empty otherwise. `rounds_to_decide` is for undecided
    comparisons: None means more than `outlook.MOST_ROUNDS`.
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
    reason: str
    rounds: int
    faster_rounds: int
    slower_rounds: int
    margin: float  # a log-ratio
    rounds_to_decide: int | None = None

    def to_json(self) -> dict[str, Any]:
        """An element of `comparisons` in bench.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """All that a verdict looks at. Point, interval and margin are on the log scale."""

    pair: str
    against: str
    rounds: int
    point: float
    interval: Interval | None
    signs: SignTest
    p_adjusted: float
    comparisons: int
    margin: float
    level: float
    rounds_to_decide: int | None

    @property
    def verdict(self) -> Verdict:
        if self.p_adjusted <= self.level and abs(self.point) > self.margin:
            return Verdict.WIN
        if self.interval is not None and self.interval.inside(self.margin):
            return Verdict.TIE
        return Verdict.UNDECIDED


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

    The margin is the half-width of the A/A interval, but at least 5 %; with too few rounds for an interval just that.
    """
    differences = log_ratios(first, second)
    middle, interval = point(differences), median_interval(differences, 1 - level)
    p = sign_test(differences).p
    margin = max(LEAST_MARGIN, interval.half_width if interval else 0.0)
    suspicious = p <= level and abs(middle) > LEAST_MARGIN
    text = f"the baseline against itself: {_span(middle, interval)}; the margin is {_percent(margin)}"
    if suspicious:
        text += "; two identical cases differ by more than chance explains, so distrust every verdict here"
    return NoiseFloor(
        ratio=math.exp(middle),
        interval=_ratios(interval),
        coverage=interval.coverage if interval else None,
        p=p,
        margin=margin,
        suspicious=suspicious,
        text=text,
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
    signs = [sign_test(values) for values in differences]
    adjusted = holm([test.p for test in signs])
    needed = rounds_to_decide(differences, margin=margin, level=level)
    evidence = [
        _Evidence(
            pair=pair,
            against=other,
            rounds=len(differences[index]),
            point=point(differences[index]),
            interval=median_interval(differences[index], 1 - level),
            signs=signs[index],
            p_adjusted=adjusted[index],
            comparisons=len(plan),
            margin=margin,
            level=level,
            rounds_to_decide=needed[index],
        )
        for index, (pair, other) in enumerate(plan)
    ]
    return tuple(_conclude(one, weights) for one in evidence)


def _conclude(evidence: _Evidence, weights: Mapping[str, tuple[int, int]]) -> Comparison:
    verdict = evidence.verdict
    winner = _winner(evidence, verdict, weights)
    return Comparison(
        pair=evidence.pair,
        against=evidence.against,
        ratio=math.exp(evidence.point),
        interval=_ratios(evidence.interval),
        coverage=evidence.interval.coverage if evidence.interval else None,
        p=evidence.signs.p,
        p_adjusted=evidence.p_adjusted,
        verdict=verdict,
        winner=winner,
        reason=_reason(evidence, verdict, winner),
        rounds=evidence.rounds,
        faster_rounds=evidence.signs.below,
        slower_rounds=evidence.signs.above,
        margin=evidence.margin,
        rounds_to_decide=evidence.rounds_to_decide if verdict is Verdict.UNDECIDED else None,
    )


def _winner(evidence: _Evidence, verdict: Verdict, weights: Mapping[str, tuple[int, int]]) -> str:
    pair, other = evidence.pair, evidence.against
    if verdict is Verdict.WIN:
        return pair if evidence.point < 0 else other
    if verdict is Verdict.UNDECIDED or weights[pair] == weights[other]:
        return ""
    return min(pair, other, key=lambda case: weights[case])


def _reason(evidence: _Evidence, verdict: Verdict, winner: str) -> str:
    seen = f"{evidence.pair} against {evidence.against}: {_span(evidence.point, evidence.interval)}"
    if verdict is Verdict.WIN:
        return f"{seen}; {_signs(evidence)}, and beyond the margin of {_percent(evidence.margin)}"
    if verdict is Verdict.TIE:
        choice = f"{winner} is the lighter one and is preferred" if winner else "neither is lighter"
        return f"{seen}; the whole interval lies inside the margin of {_percent(evidence.margin)}: {choice}"
    return f"{seen}; {_doubt(evidence)}; {_outlook(evidence)}"


def _doubt(evidence: _Evidence) -> str:
    """What an undecided comparison lacks."""
    rounds, fewest = evidence.rounds, fewest_rounds(evidence.comparisons, evidence.level)
    margin = _percent(evidence.margin)
    if rounds < fewest:
        return f"{rounds} rounds can prove no win in {_family(evidence)}, {fewest} are the fewest that can"
    if abs(evidence.point) > evidence.margin:
        return f"{_signs(evidence)}, above {evidence.level:.3g}"
    return f"the middle lies inside the margin of {margin}, but the interval reaches beyond it"


def _outlook(evidence: _Evidence) -> str:
    if evidence.rounds_to_decide is None:
        return f"more than {MOST_ROUNDS} rounds like these would be needed"
    return f"about {evidence.rounds_to_decide} rounds like these would decide"


def _signs(evidence: _Evidence) -> str:
    """In how many rounds which one was faster, and the p that follows, with Holm's count."""
    signs = evidence.signs
    word, count = ("faster", signs.below) if evidence.point < 0 else ("slower", signs.above)
    zeros = f" ({signs.zeros} equal and left out)" if signs.zeros else ""
    return (
        f"{word} in {count} of {signs.below + signs.above} rounds{zeros}, "
        f"p = {evidence.p_adjusted:.3g} after Holm over {_family(evidence)}"
    )


def _family(evidence: _Evidence) -> str:
    return f"{evidence.comparisons} comparison{'' if evidence.comparisons == 1 else 's'}"


def _span(middle: float, interval: Interval | None) -> str:
    """The ratio of times with its interval, as `0.480 of the time (0.461 to 0.502 with 97.9 % confidence)`."""
    ratio = f"{math.exp(middle):.3f} of the time"
    if interval is None:
        return f"{ratio} (too few rounds for an interval)"
    low, high = math.exp(interval.low), math.exp(interval.high)
    return f"{ratio} ({low:.3f} to {high:.3f} with {100 * interval.coverage:.1f} % confidence)"


def _percent(margin: float) -> str:
    return f"{100 * math.expm1(margin):.1f} %"


def _ratios(interval: Interval | None) -> tuple[float, float] | None:
    return (math.exp(interval.low), math.exp(interval.high)) if interval else None
