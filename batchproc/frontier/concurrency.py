"""How many downloads at once, over all hosts: as many as the time to first byte says that the way there can take.

A queue that builds up, in a server, in a proxy or on this machine, shows in the time to first byte before anything
fails. So once per window of replies the limit is multiplied by the gradient, what that time is without a queue over
what it is now, and otherwise grows by a headroom of its square root (Netflix's Gradient2; Envoy's adaptive
concurrency filter; both after TCP Vegas). It starts as TCP does, by doubling until the first sign of a queue.

What the time is without a queue can only be seen with few in flight: after congestion there is a short look with a
quarter of the limit (Envoy's minRTT window). A limit that was not used proves nothing, so then it never grows.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from batchproc.frontier.levels import HostLevels, Levels
from batchproc.record.hosts import ConcurrencyRecord

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

    Levels are logarithms of seconds over what is usual for the host. `limit` stays between `least` and `most`.
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

    def hear(
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

    def _follow(self, levels: Levels) -> None:
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

    def _end_look(self, levels: Levels, limit: float, level_before: float) -> None:
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
