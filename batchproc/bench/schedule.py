"""Which case runs when: complete rounds, each in a fresh order that the seed alone decides, the baseline twice in each.

An order depends on nothing but seed, round and attempt, so a bench that was stopped goes on with the orders it would
have had. Complete randomised blocks take out what a whole round shares (Fisher, The Design of Experiments, 1935).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.bench.statistics import LEVEL

WARM_UP = 0  # the number of the round that is thrown away; those that count are numbered from 1
LOOKS = (10, 20, 30)  # rounds after which `--until-decided` looks
LOOK_LEVEL = LEVEL / len(LOOKS)  # Bonferroni over the looks: simple, and 10 of 10 still passes Holm over eight


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The cases of a bench by name, the one that runs twice in each round, and the seed of their orders."""

    cases: tuple[str, ...]
    baseline: str
    seed: int

    def __post_init__(self) -> None:
        if self.baseline not in self.cases:
            raise ValueError(f"the baseline {self.baseline!r} is none of the cases {self.cases!r}")
        if len({*self.cases, self.again}) != len(self.cases) + 1:
            raise ValueError(f"the names of the cases are not distinct: {self.cases!r}")

    @property
    def again(self) -> str:
        """The name of the baseline's second run: a case of its own, compared only with the first."""
        return f"{self.baseline} (again)"

    @property
    def entries(self) -> tuple[str, ...]:
        """What every round runs: each case once, and the baseline again."""
        return (*self.cases, self.again)

    def order(self, number: int, attempt: int = 1) -> tuple[str, ...]:
        """The order of a round; `attempt` counts from 1 and goes up when a disturbed round is run again."""
        return tuple(random.Random(f"{self.seed}/{number}/{attempt}").sample(self.entries, len(self.entries)))


def next_look(rounds: int, *, undecided: int, looks: Sequence[int] = LOOKS) -> int | None:
    """After how many rounds in all to look again; None to stop, as nothing is undecided or the last look was taken."""
    if rounds and not undecided:
        return None
    return next((look for look in looks if look > rounds), None)
