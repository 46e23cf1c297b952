"""Numbers that the run shows to the sampler: one shared page of memory, a few dozen nanoseconds per change.

A gauge is one aligned 8-byte float, so a reader in another process sees the old value or the new one, never half.
Each gauge has one writing thread; two that add to the same one would lose updates. A name that ends in `_total` is a
counter: it only grows, and the reader keeps its last value where it averages the others.
"""

import mmap
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from batchproc.measure.levels import size_bytes

GAUGES_PREFIX = "batchproc-gauges-"  # of the file, which a killed run leaves


class Gauges:
    """Named numbers, all zero at first. Owned by the `with` block of the run; `path` is what the sampler opens."""

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        """In `folder`, or in the system's place for temporary files.

        Raises OSError, which names the file, on a full disk.
        """
        self.names = tuple(names)
        self._index = {name: index for index, name in enumerate(self.names)}
        descriptor, path = tempfile.mkstemp(prefix=GAUGES_PREFIX, dir=folder)
        self.path = Path(path)
        try:
            self._memory = _map_zeros(descriptor, size_bytes(len(self.names)))
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
