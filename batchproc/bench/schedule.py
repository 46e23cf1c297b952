"""Which case runs when, and which round is run again.

Complete rounds, each in a fresh order that the seed alone decides, the baseline twice in each. An order depends
on nothing but seed, round and attempt, so a bench that was stopped goes on with the orders it would have had.
Complete randomised blocks take out what a whole round shares (Fisher, The Design of Experiments, 1935). The rule for
running a round again was fixed beforehand too: it looks at the machine, never at the times, and no other round is ever
left out. Both attempts stay in the raw file; of each round the last attempt counts.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchproc.bench.statistics import LEVEL
from batchproc.measure.breakdown import OTHERS_LIMIT, STEAL_LIMIT

MOST_EXTRA_ROUNDS = 5
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the machine did besides, during one run or one round. None: the system does not tell.

    Shares are of all cores of the machine, from 0 to 1.
    """

    others_cpu_share: float | None = None
    steal_share: float | None = None
    throttled_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a round: its number from 1, and what disturbed it, in words; empty for a clean one."""

    number: int
    disturbances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCounts:
    """How many rounds count, and how many something disturbed; None before the first is complete.

    `noisy`: a round counts although it was disturbed, for the extra rounds did not suffice.
    """

    rounds: int | None = None
    extra: int | None = None
    disturbed: int | None = None
    counted_disturbed: int | None = None
    noisy: bool = False
    text: str = "unknown"


def worst_of(runs: Iterable[Conditions]) -> Conditions:
    """The conditions of a round: the worst of its runs in each respect, for one disturbed run spoils its ratio."""
    listed = list(runs)
    return Conditions(
        others_cpu_share=_largest(run.others_cpu_share for run in listed),
        steal_share=_largest(run.steal_share for run in listed),
        throttled_seconds=_largest(run.throttled_seconds for run in listed),
    )


def disturbances(conditions: Conditions) -> tuple[str, ...]:
    """What contaminates a round, in words with numbers; empty when nothing is known to. Unknown is not contaminated."""
    found = []
    if (conditions.others_cpu_share or 0.0) > OTHERS_LIMIT:
        found.append(f"other programs used {conditions.others_cpu_share:.1%} of the CPU (limit {OTHERS_LIMIT:.0%})")
    if (conditions.steal_share or 0.0) > STEAL_LIMIT:
        found.append(f"the hypervisor took {conditions.steal_share:.1%} of the CPU (limit {STEAL_LIMIT:.0%})")
    if (conditions.throttled_seconds or 0.0) > 0.0:
        found.append(f"a CPU quota held the round back for {conditions.throttled_seconds:.2f} s")
    return tuple(found)


def must_rerun(attempts: Sequence[Attempt]) -> bool:
    """Whether the last round made must be run again whole, before the next one."""
    return bool(attempts) and bool(attempts[-1].disturbances) and _extra(attempts) < MOST_EXTRA_ROUNDS


def counted(attempts: Sequence[Attempt]) -> tuple[int, ...]:
    """The positions of the attempts that count, in the order of the rounds: the last attempt of each."""
    last = {attempt.number: position for position, attempt in enumerate(attempts)}
    return tuple(last[number] for number in sorted(last))


def count_rounds(attempts: Sequence[Attempt]) -> RoundCounts:
    """How many rounds count, how many were disturbed, run again, and taken although disturbed."""
    disturbed = sum(bool(attempt.disturbances) for attempt in attempts)
    kept = sum(bool(attempts[position].disturbances) for position in counted(attempts))
    rounds, extra = len(attempts) - _extra(attempts), _extra(attempts)
    text = f"{rounds} rounds count; {disturbed} of the {len(attempts)} made were disturbed, {extra} run again"
    if kept:
        text += f"; {kept} disturbed count, as {MOST_EXTRA_ROUNDS} extra rounds are the most: this machine is noisy"
    return RoundCounts(
        rounds=rounds, extra=extra, disturbed=disturbed, counted_disturbed=kept, noisy=kept > 0, text=text
    )


def _extra(attempts: Sequence[Attempt]) -> int:
    return len(attempts) - len({attempt.number for attempt in attempts})


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
