"""What time to first byte is usual for each host, so that fast and slow hosts can be compared with each other.

A time is taken as host times level, as in a two-way table: the level of a window is the median over its replies of time
over what is usual there, and a host's usual time is learned from what is left when the level is taken off. So a long
congestion does not become usual. Hosts met for the first time are compared with all first meetings together.
"""

import math
from collections.abc import Sequence

HOSTS_REMEMBERED = 2_000
FIRST_STEP = 0.5  # of a logarithm; the n-th sample moves a median by an n-th of it
LEAST_STEP = 0.005
SHORTEST_SECONDS = 1e-6


class _Usual:
    """A running median of logarithms of seconds (stochastic approximation: Robbins and Monro, 1951)."""

    __slots__ = ("level", "step")

    def __init__(self, level: float) -> None:
        self.level = level
        self.step = FIRST_STEP

    def follow(self, value: float) -> None:
        """One value more."""
        step = self.step
        self.level += min(step, max(-step, value - self.level))
        self.step = max(LEAST_STEP, step * FIRST_STEP / (FIRST_STEP + step))


class Levels:
    """A window's levels, sorted: logarithms of time over the usual one."""

    def __init__(self, levels: Sequence[float]) -> None:
        self._sorted = sorted(levels)
        self._half_width = math.sqrt(len(self._sorted))

    @property
    def median(self) -> float:
        """What is neither high nor low."""
        return self._sorted[len(self._sorted) // 2]

    @property
    def at_least(self) -> float:
        """The lower end of the median's 95 % confidence interval, from order statistics: for any distribution."""
        return self._sorted[max(0, int(len(self._sorted) / 2 - self._half_width))]

    @property
    def at_most(self) -> float:
        """The upper end of that interval."""
        return self._sorted[min(len(self._sorted) - 1, math.ceil(len(self._sorted) / 2 + self._half_width))]


class HostLevels:
    """Usual times by host, of `HOSTS_REMEMBERED` hosts, those met last."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Usual] = {}
        self._strangers: _Usual | None = None

    def __contains__(self, host: str) -> bool:
        return host in self._hosts

    def judge(self, times: Sequence[tuple[str, float]]) -> Levels:
        """The levels of a window of (host, seconds), at least one; learns from them."""
        values = [math.log(max(seconds, SHORTEST_SECONDS)) for _, seconds in times]
        strangers = self._strangers = self._strangers or _Usual(sorted(values)[len(values) // 2])
        usual = [self._hosts.get(host, strangers) for host, _ in times]
        levels = Levels([value - one.level for value, one in zip(values, usual, strict=True)])
        median = levels.median
        for (host, _), value, one in zip(times, values, usual, strict=True):
            one.follow(value - median)
            if one is strangers and host not in self._hosts:
                self._meet(host, value - median)
        return levels

    def _meet(self, host: str, usual: float) -> None:
        if len(self._hosts) >= HOSTS_REMEMBERED:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[host] = _Usual(usual)
