"""How many rounds would decide what is undecided, if further rounds went like those that were made."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.bench.statistics import holm, lowest_rank, point, sign_p, sign_test

MOST_ROUNDS = 100  # beyond that nobody waits; the answer is then "more than 100"


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
