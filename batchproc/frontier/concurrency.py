"""How many downloads at once, over all hosts: as many as the time to first byte says that the way there can take.

A queue that builds up, in a server, in a proxy or on this machine, shows in the time to first byte before anything
fails. So once per window of replies the limit is multiplied by the gradient, what that time is without a queue over
what it is now, and otherwise grows by a headroom of its square root (Netflix's Gradient2; Envoy's adaptive
concurrency filter; both after TCP Vegas). It starts as TCP does, by doubling until the first sign of a queue.

What the time is without a queue can only be seen with few in flight: after congestion there is a short look with a
quarter of the limit (Envoy's minRTT window). A limit that was not used proves nothing, so then it never grows.

Fast and slow hosts are compared by level. A time is taken as host times level, as in a two-way table: the level of a
window is the median over its replies of time over what is usual there, and a host's usual time is learned from what is
left when the level is taken off. So a long congestion does not become usual. Hosts met for the first time are compared
with all first meetings together.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from batchproc.record.run_parts import ConcurrencyRecord

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


class WindowLevels:
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
        """The lower end of the median's 95% confidence interval, from order statistics: for any distribution."""
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

    def judge(self, times: Sequence[tuple[str, float]]) -> WindowLevels:
        """The levels of a window of (host, seconds), at least one; learns from them."""
        values = [math.log(max(seconds, SHORTEST_SECONDS)) for _, seconds in times]
        strangers = self._strangers = self._strangers or _Usual(sorted(values)[len(values) // 2])
        usual = [self._hosts.get(host, strangers) for host, _ in times]
        levels = WindowLevels([value - one.level for value, one in zip(values, usual, strict=True)])
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


LEAST_SAMPLES = 16  # of a window, or as many as the limit; twice as many once it no longer doubles
LOOK_SHARE = 4
CONGESTED_BETWEEN_LOOKS = 10  # congested windows
TOLERANCE = math.log(1.25)  # so much slower than without a queue is no queue yet
LARGEST_CUT = math.log(2)
USED_SHARE = 0.8  # of the limit, under way on average: below it the limit was not used, and it stays
STRUGGLE_SHARE = 0.25  # of the outcomes of a window
CHANGES_AT_EACH_END = 25


class Concurrency:
    """The limit of downloads at once. Not thread-safe: used under the frontier's condition.

    WindowLevels are logarithms of seconds over what is usual for the host. `limit` stays between `least` and `most`.
    """

    def __init__(
        self, *, start: int = 8, least: int = 2, most: int = 64, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.limit = min(max(start, least), most)
        self._least, self._most = least, most
        self._clock = clock
        self._exact = float(self.limit)
        self._hosts = HostLevels()
        self._baseline: float | None = None  # the level without a queue
        self._doubling = True
        self._congested = 0  # windows since the last look
        self._before_look: tuple[float, float] | None = None  # limit and level, while a look is under way
        self._history = _History(self.limit, clock)
        self._settling = self.limit  # outcomes still to come of what started under another limit
        self._open_window()

    def allows(self, in_flight: int) -> bool:
        """Whether one download more may start beside `in_flight` others. Ask only when one is waiting."""
        if in_flight < self.limit:
            return True
        self._reached = True
        return False

    def on_outcome(
        self,
        host: str,
        *,
        in_flight: int,
        service_seconds: float = 0.0,
        first_byte_seconds: float | None = None,
        struggled: bool = False,
    ) -> None:
        """A download has ended; `in_flight` others go on.

        `first_byte_seconds` is None when it failed; `struggled` says that it failed as with an overloaded server
        (a time-out, 429, 503), which counts where the host had answered before.
        """
        if self._settling:
            self._settling -= 1
            if not self._settling:
                self._opened = self._clock()
            return
        self._busy_seconds += service_seconds
        if first_byte_seconds is not None:
            self._times.append((host, first_byte_seconds))
        elif struggled and host in self._hosts:
            self._struggles += 1
        if len(self._times) + self._struggles >= self._samples:
            self._close_window(in_flight)

    def describe(self) -> ConcurrencyRecord:
        """The limit's history."""
        return self._history.describe()

    def _open_window(self) -> None:
        self._samples = max(LEAST_SAMPLES, self.limit) * (1 if self._doubling or self._before_look else 2)
        self._times: list[tuple[str, float]] = []
        self._struggles = 0
        self._busy_seconds = 0.0
        self._reached = False
        self._opened = self._clock()

    def _close_window(self, in_flight: int) -> None:
        before = self.limit
        if self._struggles > STRUGGLE_SHARE * self._samples:
            limit, _ = self._before_look or (self._exact, 0.0)
            self._before_look, self._doubling = None, False
            self._set(limit / 2, "failures")
        else:
            levels = self._hosts.judge(self._times)
            if self._before_look is not None:
                self._end_look(levels, *self._before_look)
            else:
                self._follow(levels)
        self._settling = in_flight if self.limit != before else 0
        self._open_window()

    def _follow(self, levels: WindowLevels) -> None:
        """The gradient's step."""
        if self._baseline is None:
            self._baseline = levels.median
        self._baseline = min(self._baseline, levels.at_most)
        under_way = self._busy_seconds / max(self._clock() - self._opened, 1e-9)  # on average: Little's law
        if under_way < USED_SHARE * self.limit:
            return
        surplus = levels.at_least - self._baseline - TOLERANCE
        if surplus > 0:
            self._cut(levels.median, surplus)
        elif self._reached:
            self._set(self._exact + (self._exact if self._doubling else math.sqrt(self._exact)), "room")
            self._doubling = self._doubling and self.limit < self._most

    def _cut(self, level: float, surplus: float) -> None:
        self._congested += 1
        if self._doubling or surplus > LARGEST_CUT or self._congested > CONGESTED_BETWEEN_LOOKS:
            self._before_look, self._congested = (self._exact, level), 0
            self._set(self._exact / LOOK_SHARE, "look")
        elif self.limit == self._least:
            self._baseline = level  # slow even so: it is not our queue
        else:
            self._set(self._exact * math.exp(-min(LARGEST_CUT, surplus)), "slower first byte")

    def _end_look(self, levels: WindowLevels, limit: float, level_before: float) -> None:
        """Sets the baseline as it was seen with few in flight, and the limit accordingly."""
        self._before_look = None
        self._baseline = levels.median
        surplus = max(0.0, level_before - self._baseline - TOLERANCE)
        self._doubling = self._doubling and not surplus  # a false alarm
        self._set(limit * math.exp(-min(LARGEST_CUT, surplus)), "looked")

    def _set(self, exact: float, reason: str) -> None:
        self._exact = min(max(exact, float(self._least)), float(self._most))
        if int(self._exact) != self.limit:
            self.limit = int(self._exact)
            self._history.note(self.limit, reason)


class _History:
    """Every change of the limit, of which the first and the last are kept."""

    def __init__(self, start: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._start = self._limit = self._highest = self._lowest = start
        self._first: list[tuple[float, int, str]] = []
        self._last: deque[tuple[float, int, str]] = deque(maxlen=CHANGES_AT_EACH_END)

    def note(self, limit: int, reason: str) -> None:
        """The limit has changed."""
        self._limit = limit
        self._highest, self._lowest = max(self._highest, limit), min(self._lowest, limit)
        changes = self._first if len(self._first) < CHANGES_AT_EACH_END else self._last
        changes.append((round(self._clock() - self._began, 3), limit, reason))

    def describe(self) -> ConcurrencyRecord:
        """The changes at both ends, and the extremes of all."""
        return ConcurrencyRecord(
            start=self._start,
            limit=self._limit,
            highest=self._highest,
            lowest=self._lowest,
            changes=(*self._first, *self._last),
        )
