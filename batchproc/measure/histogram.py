"""Streams in constant memory: the histogram of durations, and a fair sample of anything."""

import math
import random
from collections.abc import Callable
from typing import Any, Generic, TypeVar

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
