"""Numbers that the run shows to the sampler: one shared page of memory, a few dozen nanoseconds per change.

A gauge is one aligned 8-byte float, so a reader in another process sees the old value or the new one, never half.
Each gauge has one writing thread; two that add to the same one would lose updates. A name that ends in `_total` is a
counter: it only grows, and the reader keeps its last value where it averages the others.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

GAUGES_PREFIX = "batchproc-gauges-"  # of the file, which a killed run leaves


class Gauges:
    """Named numbers, all zero at first. Owned by the `with` block of the run; `path` is what the sampler opens."""

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        """In `folder`, or in the system's place for temporary files.

        Raises OSError, which names the file, on a full disk.
        """
        import tempfile  # slow to import, and the sampler does not need it

        self.names = tuple(names)
        self._index = {name: index for index, name in enumerate(self.names)}
        descriptor, path = tempfile.mkstemp(prefix=GAUGES_PREFIX, dir=folder)
        self.path = Path(path)
        try:
            self._memory = _map_zeros(descriptor, _size_bytes(len(self.names)))
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._values = memoryview(self._memory).cast("d")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, name: str, value: float) -> None:
        """Sets a gauge. Raises `KeyError` for a name that was not declared."""
        self._values[self._index[name]] = value

    def add(self, name: str, amount: float = 1.0) -> None:
        """Adds to a gauge; from one thread only per gauge."""
        self._values[self._index[name]] += amount

    def get(self, name: str) -> float:
        """The present value."""
        return self._values[self._index[name]]

    def close(self) -> None:
        """Gives the memory back and removes the file."""
        self._values.release()
        self._memory.close()
        self.path.unlink(missing_ok=True)


def _map_zeros(descriptor: int, length_bytes: int) -> mmap.mmap:
    """Maps an empty file after filling it, and closes it. Raises OSError.

    The zeros are written: a file that is only made longer has no place on the disk yet, and the first change of its
    memory on a full one is a SIGBUS.
    """
    with open(descriptor, "wb", buffering=0) as file:
        left = length_bytes
        while left:
            left -= file.write(bytes(left)) or 0
        return mmap.mmap(descriptor, length_bytes)


def _size_bytes(count: int) -> int:
    return max(8 * count, 8)


class GaugeReader:
    """Opens the gauges of another process, in the order of their names."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.names = tuple(names)
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), _size_bytes(len(self.names)), access=mmap.ACCESS_READ)
        self._values = memoryview(self._memory).cast("d")

    def read(self) -> tuple[float, ...]:
        """Every value, in the order of `names`."""
        return tuple(self._values[: len(self.names)])

    def close(self) -> None:
        """Gives the memory back."""
        self._values.release()
        self._memory.close()


class GaugeMeans:
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

    def add_reading(self, now: float) -> None:
        """Reads every gauge; a value stands for the time since the last reading."""
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
