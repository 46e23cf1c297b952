"""How threads spent their time, by role: the scheduler's clocks tell how much, the samples tell on what.

Samples alone are biased: on a full machine the sampler itself runs more readily when a thread has just gone to sleep.
So the time on a core and in the run queue comes from `/proc/PID/task/TID/schedstat`, which is exact, and the samples
only split the rest, the blocked time, among its kinds. Where the kernel keeps no such clocks, the samples stand alone.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from batchproc.measure.waits import Wait, Waits


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitShares:
    """Where the time of the threads of one group went. `shares` sum to 1 and carry every kind of `Wait`.

    `exact` says that the running share comes from the scheduler's clocks. `gil_error` is the standard error of the GIL
    share, from the number of samples. `running` holds the run queue too; `run_queue_share` is None where unknown.
    `gil_reason` says why waiting for the GIL could not be told from other locks; empty when it could.
    """

    group: str
    threads: int
    samples: int
    observed_seconds: float
    exact: bool
    shares: Mapping[str, float]
    run_queue_share: float | None
    gil_error: float
    gil_reason: str = ""

    @property
    def gil_share(self) -> float | None:
        """Share of the threads' time spent waiting for the GIL; None when it is not known."""
        return None if self.gil_reason else self.shares[Wait.GIL]


@dataclass(slots=True, kw_only=True)
class _Role:
    counts: Counter[Wait] = field(default_factory=Counter)
    threads: int = 0
    reason: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    run_queue_seconds: float = 0.0

    def book(self, before: tuple[float, float, float] | None, now: tuple[float, float, float]) -> None:
        """Adds one thread's (wall, CPU, run queue) clocks since the last look; None: it was not known before."""
        if before is None:
            self.threads += 1
            return
        self.wall_seconds += now[0] - before[0]
        self.cpu_seconds += now[1] - before[1]
        self.run_queue_seconds += now[2] - before[2]


class WaitTally:
    """Adds up over every watched process. For one thread; memory grows with the number of roles, not with time."""

    def __init__(self) -> None:
        self._roles: dict[str, _Role] = {}
        self._clocks: dict[int, dict[int, tuple[float, float, float]]] = {}

    def sample(self, waits: Waits, turn: int = 0, turns: int = 1) -> None:
        """Counts what the threads of one process are doing now: all of them, or those whose turn it is."""
        for tid, kind in waits.read(turn, turns):
            role = self._role(waits.roles.get(tid))
            role.counts[kind] += 1
            role.reason = waits.reason

    def book(self, waits: Waits, now: float) -> None:
        """Adds the scheduler's clocks of one process's threads since the last call; `now` in perf_counter seconds."""
        before, present = self._clocks.get(waits.pid, {}), {}
        for tid, name in waits.roles.items():
            clock = waits.clock(tid)
            if clock is not None:
                present[tid] = (now, *clock)
                self._role(name).book(before.get(tid), present[tid])
        self._clocks[waits.pid] = present

    def forget(self, pid: int) -> None:
        """A process has ended: its number may come again."""
        self._clocks.pop(pid, None)

    def _role(self, name: str | None) -> _Role:
        return self._roles.setdefault(name or "unnamed", _Role())

    def groups(self) -> tuple[WaitShares, ...]:
        """The shares by group: the roles `download-0`, `download-1` … are the group `download`."""
        merged: dict[str, _Role] = {}
        for name, role in self._roles.items():
            total = merged.setdefault(group_of(name), _Role())
            total.counts.update(role.counts)
            total.threads += role.threads
            total.reason = total.reason or role.reason
            total.wall_seconds += role.wall_seconds
            total.cpu_seconds += role.cpu_seconds
            total.run_queue_seconds += role.run_queue_seconds
        return tuple(_shares(group, role) for group, role in sorted(merged.items()) if role.counts.total())


def group_of(role: str) -> str:
    """`download-3` belongs to `download`; a name without a number is its own group."""
    stem, dash, number = role.rpartition("-")
    return stem if dash and number.isdigit() else role


def _shares(group: str, role: _Role) -> WaitShares:
    total = role.counts.total()
    busy = min(1.0, (role.cpu_seconds + role.run_queue_seconds) / role.wall_seconds) if role.wall_seconds else None
    blocked_samples = total - role.counts[Wait.RUNNING]
    if busy is None:
        shares = {kind: role.counts[kind] / total for kind in Wait}
        blocked_share, error_samples = 1.0, total
    else:
        blocked_share, error_samples = 1.0 - busy, blocked_samples
        shares = {kind: blocked_share * role.counts[kind] / max(1, blocked_samples) for kind in Wait}
        shares[Wait.RUNNING] = busy
        if not blocked_samples:
            shares[Wait.OTHER] = blocked_share  # blocked for moments that no sample hit
    part = role.counts[Wait.GIL] / max(1, error_samples)
    return WaitShares(
        group=group,
        threads=role.threads,
        samples=total,
        observed_seconds=role.wall_seconds,
        exact=busy is not None,
        shares={kind.value: share for kind, share in shares.items()},
        run_queue_share=None if busy is None else role.run_queue_seconds / role.wall_seconds,
        gil_error=blocked_share * math.sqrt(part * (1.0 - part) / max(1, error_samples)),
        gil_reason=role.reason,
    )
