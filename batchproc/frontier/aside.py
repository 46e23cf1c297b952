"""Items of a host that already has enough of them in memory: only their positions are kept, eight bytes each."""

from array import array

COMPACT_AFTER = 4096


class Aside:
    """Positions of sources in the ledger, first in, first out. Not thread-safe."""

    def __init__(self) -> None:
        self._indexes = array("Q")
        self._start = 0

    def __len__(self) -> int:
        return len(self._indexes) - self._start

    def append(self, index: int) -> None:
        """Keeps one position more."""
        self._indexes.append(index)

    def take(self, count: int) -> list[int]:
        """The first `count` positions, which are kept no longer."""
        end = self._start + count
        taken = self._indexes[self._start : end].tolist()
        self._start += len(taken)
        if self._start > COMPACT_AFTER and self._start * 2 > len(self._indexes):
            del self._indexes[: self._start]
            self._start = 0
        return taken
