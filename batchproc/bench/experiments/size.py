"""How much of an experiment is done: what the claims need, all of it, or as little as proves that it works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Rounds that count, the share of the usual items per round, and whether the whole sweep is made.

    Nine rounds: the exact 95 % interval of their median then leaves out the slowest and the fastest, so one disturbed
    round cannot decide anything.
    """

    rounds: int = 9
    effort: float = 1.0
    full: bool = False

    def items(self, usual: int) -> int:
        """Items per round, at least 2."""
        return max(2, round(usual * self.effort))


SIZES = {
    "tiny": Size(rounds=1, effort=0.05),
    "claims": Size(),
    "full": Size(full=True),
}
