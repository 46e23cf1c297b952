"""The gauges as the sampler sees them: read from shared memory, averaged over time."""

import mmap
from collections.abc import Sequence
from pathlib import Path


def size_bytes(count: int) -> int:
    """Of the shared memory that holds so many gauges."""
    return max(8 * count, 8)


class GaugeReader:
    """Opens the gauges of another process, in the order of their names."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.names = tuple(names)
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), size_bytes(len(self.names)), access=mmap.ACCESS_READ)
        self._values = memoryview(self._memory).cast("d")

    def read(self) -> tuple[float, ...]:
        """Every value, in the order of `names`."""
        return tuple(self._values[: len(self.names)])

    def close(self) -> None:
        """Gives the memory back."""
        self._values.release()
        self._memory.close()


class Levels:
    """The gauges over time: their means weighted by time, and their peaks."""

    def __init__(self, reader: GaugeReader, now: float) -> None:
        self._reader = reader
        self._before = now
        self._seconds = 0.0
        self._row_seconds = 0.0
        self.values = reader.read()
        self._sums = [0.0] * len(self.values)
        self._row_sums = [0.0] * len(self.values)
        self._peaks = list(self.values)

    def look(self, now: float) -> None:
        """Reads every gauge; a value stands for the time since the last look."""
        seconds, self._before = now - self._before, now
        self.values = self._reader.read()
        self._seconds += seconds
        self._row_seconds += seconds
        for index, value in enumerate(self.values):
            self._sums[index] += value * seconds
            self._row_sums[index] += value * seconds
            self._peaks[index] = max(self._peaks[index], value)

    def row(self) -> dict[str, float | None]:
        """The means since the last row; of counters the last value."""
        span, self._row_seconds = self._row_seconds, 0.0
        sums, self._row_sums = self._row_sums, [0.0] * len(self.values)
        return {
            name: value if name.endswith("_total") or not span else total / span
            for name, value, total in zip(self._reader.names, self.values, sums, strict=True)
        }

    def means(self) -> dict[str, float]:
        """Over the whole time."""
        seconds = self._seconds or 1.0
        return {name: total / seconds for name, total in zip(self._reader.names, self._sums, strict=True)}

    def peaks(self) -> dict[str, float]:
        """The largest values seen."""
        return dict(zip(self._reader.names, self._peaks, strict=True))
