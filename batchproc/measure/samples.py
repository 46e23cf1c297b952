"""What the sampler saw of a run, and streams in constant memory: figures over time, histograms, fair samples.

None means that the system does not tell.
"""

import math
import random
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import Struct, field

Row: TypeAlias = Mapping[str, float | None]
Weighted: TypeAlias = tuple[Row, int]  # with how many readings are behind it
CAPACITY = 600
TIME = "t_seconds"


class MemoryUse(Struct, frozen=True, kw_only=True):
    """PSS shares common pages among their users, so it may be summed; USS is what its end would give back."""

    pss_bytes: int | None
    uss_bytes: int | None


class MachineTimes(Struct, frozen=True, kw_only=True):
    """Seconds since boot, all cores added up. `throttled_seconds` concerns this control group alone."""

    cores: int
    busy_seconds: float
    total_seconds: float
    steal_seconds: float | None
    throttled_seconds: float | None


class ProcessUsage(Struct, frozen=True, kw_only=True):
    """All OS processes that had one role: `main`, a worker's name, `helper`, `origin`, or `sampler`.

    The peaks are of one process; `cpu_seconds` adds up over all of them, seen at most a second before their end.
    """

    role: str
    processes: int = 1
    cpu_seconds: float = 0.0
    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    peak_rss_bytes: int | None = None


class MachineUsage(Struct, frozen=True, kw_only=True):
    """The whole machine while the sampler watched. Shares are of all its cores, also of those we may not use.

    `others_cpu_share` is what neither the run, nor the origin, nor the sampler used.
    """

    cores: int = 0
    busy_share: float | None = None
    others_cpu_share: float | None = None
    steal_share: float | None = None
    throttled_seconds: float | None = None


class WaitShares(Struct, frozen=True, kw_only=True):
    """Where the time of the threads of one group went. `shares` sum to 1 and carry every kind of `waits.Wait`.

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
        return None if self.gil_reason else self.shares["gil"]


class Samples(Struct, frozen=True, kw_only=True):
    """The measurements of one run from outside. Times are perf_counter seconds of this machine's boot.

    `series` holds columns of one length; its `t_seconds` counts from `started`. Columns: `pss_bytes`, `uss_bytes`,
    `rss_bytes` (of the tree without origin and sampler), `cpu_seconds_total`, `origin_cpu_seconds_total`,
    `machine_busy_seconds_total`, `steal_seconds_total`, `throttled_seconds_total`, `threads`, and every gauge by name.
    `gauge_means` and `gauge_peaks` are over time, from every reading. `gil_method` is `sampled` or `unknown`, with the
    reason. `peak_*` are of the whole tree at one instant, without origin and sampler. `unknown` says why there is
    nothing of all this; None where there is.
    """

    started: float | None = None
    ended: float | None = None
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    processes: tuple[ProcessUsage, ...] = ()
    waits: tuple[WaitShares, ...] = ()
    gauge_means: Mapping[str, float] = field(default_factory=dict)
    gauge_peaks: Mapping[str, float] = field(default_factory=dict)
    machine: MachineUsage = MachineUsage()
    peak_pss_bytes: int | None = None
    peak_uss_bytes: int | None = None
    peak_rss_bytes: int | None = None
    gil_method: str = ""
    gil_reason: str = ""
    sampler_cpu_seconds: float | None = None
    looks: int | None = None
    unknown: str | None = None

    @property
    def wall_seconds(self) -> float:
        """How long the sampler watched."""
        return (self.ended or 0.0) - (self.started or 0.0)

    def waits_of(self, group: str) -> WaitShares | None:
        """The shares of one group of threads, as `download`; None when none of them was seen."""
        return next((shares for shares in self.waits if shares.group == group), None)

    def process(self, role: str) -> ProcessUsage | None:
        """The use of all processes of one role."""
        return next((usage for usage in self.processes if usage.role == role), None)


class Series:
    """Figures over time in constant memory: a full table merges neighbours and grows half as fast. Not thread-safe.

    How two rows become one depends on the name: `…_total` and the time keep the later value, so rates between rows stay
    exact; `…_bytes` keeps the larger, so peaks survive; everything else is averaged, weighted by the rows behind it.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._rows: list[Weighted] = []
        self._stride = 1  # readings behind one full row
        self._open: Weighted | None = None

    def add(self, row: Row) -> None:
        """Adds one reading; readings are collected until they make a row as long as the others."""
        self._open = (dict(row), 1) if self._open is None else merge(self._open, (row, 1))
        if self._open[1] < self._stride:
            return
        self._rows.append(self._open)
        self._open = None
        if len(self._rows) >= self._capacity:
            self._halve()

    def _halve(self) -> None:
        """The first row stays as it is: it is the start of the run."""
        first, *rest = self._rows
        pairs = zip_longest(rest[::2], rest[1::2])
        self._rows = [first, *(merge(earlier, later) if later else earlier for earlier, later in pairs)]
        self._stride *= 2

    def columns(self) -> dict[str, list[float | None]]:
        """Every figure as a list, all of one length, the unfinished row included."""
        rows = [row for row, _ in (*self._rows, *([self._open] if self._open else []))]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name) for row in rows] for name in names}

    def __len__(self) -> int:
        return len(self._rows) + (self._open is not None)


def merge(earlier: Weighted, later: Weighted) -> Weighted:
    """Two rows with their weights as one."""
    names = dict.fromkeys([*earlier[0], *later[0]])
    weights = earlier[1], later[1]
    merged = {name: _join(name, earlier[0].get(name), later[0].get(name), weights) for name in names}
    return merged, sum(weights)


def _join(name: str, earlier: float | None, later: float | None, weights: tuple[int, int]) -> float | None:
    if earlier is None or later is None:
        return earlier if later is None else later
    if name == TIME or name.endswith("_total"):
        return later
    if name.endswith("_bytes"):
        return max(earlier, later)
    return (earlier * weights[0] + later * weights[1]) / sum(weights)


T = TypeVar("T")

SMALLEST_SECONDS = 1e-6
LARGEST_SECONDS = 3600.0
GROWTH = 1.04
RELATIVE_ERROR = math.sqrt(GROWTH) - 1.0
_PER_UNIT = 1.0 / math.log(GROWTH)
_SHIFT = -math.log(SMALLEST_SECONDS) * _PER_UNIT
BUCKETS = int(math.log(LARGEST_SECONDS) * _PER_UNIT + _SHIFT) + 1


class Histogram:
    """Counts durations in seconds, in buckets that grow by 4%: a percentile is within 2% of the truth. Not thread-safe.

    Bucket i holds [1 µs x 1.04^i, 1 µs x 1.04^(i+1)); a percentile answers with the geometric middle of its bucket,
    held between the smallest and the largest value seen. What lies outside 1 µs to 1 h is counted in the outermost
    bucket; mean, smallest and largest are exact all the same.
    """

    __slots__ = ("_counts", "count", "largest", "smallest", "sum_seconds")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0
        self.sum_seconds = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    def add(self, seconds: float, _log: Any = math.log, _top: int = BUCKETS - 1) -> None:
        """Counts one duration, under 1 µs. A negative one is a fault of the clock and counts as zero."""
        if seconds <= SMALLEST_SECONDS:
            seconds = max(0.0, seconds)
            index = 0
        else:
            index = int(_log(seconds) * _PER_UNIT + _SHIFT)
            index = min(index, _top)
        self._counts[index] += 1
        self.count += 1
        self.sum_seconds += seconds
        if seconds < self.smallest:
            self.smallest = seconds
        if seconds > self.largest:
            self.largest = seconds

    @property
    def mean(self) -> float | None:
        """The exact mean; None when empty."""
        return self.sum_seconds / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The smallest duration that at least `percent` (0 to 100) of all do not exceed (nearest rank); None if empty.

        Within 2% for durations of 1 µs to 1 h.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(percent / 100.0 * self.count))
        if rank == self.count:
            return self.largest
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                middle = SMALLEST_SECONDS * math.pow(GROWTH, index + 0.5)
                return min(max(middle, self.smallest), self.largest)
        return self.largest

    def buckets(self) -> str:
        """The buckets that are not empty, as `number:count` with spaces between."""
        return " ".join(f"{index}:{count}" for index, count in enumerate(self._counts) if count)

    def merge(self, buckets: str, *, mean: float, largest: float) -> None:
        """Adds what another histogram counted. The smallest value is known to the width of its bucket only."""
        for bucket in buckets.split():
            index, count = map(int, bucket.split(":"))
            self._counts[index] += count
            self.count += count
            self.sum_seconds += mean * count
            self.smallest = min(self.smallest, SMALLEST_SECONDS * math.pow(GROWTH, index))
            self.largest = max(self.largest, largest)

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, p50={self.percentile(50)}, max={self.percentile(100)})"


class Reservoir(Generic[T]):
    """Keeps at most `capacity` items, uniformly chosen among all that were offered. Not thread-safe.

    Algorithm L (K.-H. Li, Reservoir-Sampling Algorithms of Time Complexity O(n(1+log(N/n))), 1994): it draws how many
    items to skip, so most additions cost one comparison. The same seed and stream give the same sample.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"a reservoir of {capacity} items: must be 1 or more")
        self.capacity = capacity
        self.seen = 0
        self._random = random.Random(seed)
        self._items: list[T] = []
        self._threshold = 1.0
        self._next = 0
        self._skip()

    def offer(self, make: Callable[[], T]) -> None:
        """Offers one item that is made only if it is kept."""
        self.seen += 1
        if len(self._items) < self.capacity:
            self._items.append(make())
        elif self.seen == self._next:
            self._items[self._random.randrange(self.capacity)] = make()
            self._skip()

    def _skip(self) -> None:
        """Draws the number of the next item to be kept."""
        draw = 1.0 - self._random.random()  # (0, 1]
        self._threshold *= math.exp(math.log(draw) / self.capacity)
        chance = -math.log1p(-self._threshold) if self._threshold < 1.0 else math.inf
        again = 1.0 - self._random.random()
        self._next = max(self._next, self.capacity) + 1 + int(-math.log(again) / chance)

    def items(self) -> tuple[T, ...]:
        """The sample, in no meaningful order."""
        return tuple(self._items)
