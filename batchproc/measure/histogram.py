"""Durations in constant memory: counts in buckets that grow by 4%, so a percentile is within 2% of the truth.

Bucket i holds [1 us x 1.04^i, 1 us x 1.04^(i+1)); a percentile answers with the geometric middle of its bucket, held
between the smallest and the largest value seen. Histograms of several workers merge by adding counts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

SMALLEST_SECONDS = 1e-6
LARGEST_SECONDS = 3600.0
GROWTH = 1.04
RELATIVE_ERROR = math.sqrt(GROWTH) - 1.0
_PER_UNIT = 1.0 / math.log(GROWTH)
_SHIFT = -math.log(SMALLEST_SECONDS) * _PER_UNIT
BUCKETS = int(math.log(LARGEST_SECONDS) * _PER_UNIT + _SHIFT) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A distribution of seconds in seven figures, each None when there is nothing to describe."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Histogram:
    """Counts durations in seconds. Not thread-safe: one per worker, merged afterwards.

    What lies outside 1 us to 1 h is counted in the outermost bucket; mean, smallest and largest are exact all the same.
    """

    __slots__ = ("_counts", "count", "largest", "smallest", "sum_seconds")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0
        self.sum_seconds = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    def add(self, seconds: float, _log: Any = math.log, _top: int = BUCKETS - 1) -> None:
        """Counts one duration, under 1 us. A negative one is a fault of the clock and counts as zero."""
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

    def merge(self, other: "Histogram") -> None:
        """Adds everything that `other` has counted; order and grouping of merges do not matter."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.sum_seconds += other.sum_seconds
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    @classmethod
    def of(cls, durations: Iterable[float]) -> Self:
        """The histogram of some durations."""
        histogram = cls()
        for seconds in durations:
            histogram.add(seconds)
        return histogram

    @property
    def mean(self) -> float | None:
        """The exact mean; None when empty."""
        return self.sum_seconds / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The smallest duration that at least `percent` (0 to 100) of all do not exceed (nearest rank); None if empty.

        Within 2% for durations of 1 us to 1 h.
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

    def summary(self) -> Summary:
        """The figures that run.json keeps."""
        return Summary(
            count=self.count,
            mean=self.mean,
            p50=self.percentile(50),
            p90=self.percentile(90),
            p95=self.percentile(95),
            p99=self.percentile(99),
            max=self.largest if self.count else None,
        )

    def buckets(self) -> tuple[tuple[float, float, int], ...]:
        """Every bucket in use as (from seconds, to seconds, count), for a chart."""
        return tuple(
            (SMALLEST_SECONDS * GROWTH**index, SMALLEST_SECONDS * GROWTH ** (index + 1), count)
            for index, count in enumerate(self._counts)
            if count
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the buckets in use."""
        return {
            "sum_seconds": self.sum_seconds,
            "smallest": self.smallest if self.count else None,
            "largest": self.largest if self.count else None,
            "counts": {str(index): count for index, count in enumerate(self._counts) if count},
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        histogram = cls()
        for index, count in facts["counts"].items():
            histogram._counts[int(index)] = int(count)
        histogram.count = sum(histogram._counts)
        histogram.sum_seconds = float(facts["sum_seconds"])
        if histogram.count:
            histogram.smallest = float(facts["smallest"])
            histogram.largest = float(facts["largest"])
        return histogram

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, p50={self.percentile(50)}, max={self.summary().max})"
