"""What is in flight, how much memory it takes, and what the frontier may decide besides a start.

Originals that have come are known by their size; those still to come are estimated.
"""

from collections import deque
from dataclasses import dataclass

from batchproc.frontier.host import Entry


@dataclass(slots=True)
class InFlight:
    """An item under way: from its start until its outcome is heard."""

    entry: Entry
    size_bytes: int  # 0: it was never sent out, its host is away
    started: float
    downloading: bool = True
    is_hosts: bool = False  # it failed by its host's trouble


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may start now; look again after so many seconds, or when something has changed."""

    seconds: float


class Refill:
    """Nothing in the window may start now: read on."""


class End:
    """Nothing will start any more."""


FIRST_ESTIMATE_BYTES = 1_000_000  # of an original, before any has come
SIZES_REMEMBERED = 64


class Memory:
    """A byte budget; the largest of the last sizes stands for what is to come. Used under the frontier's condition."""

    def __init__(self, budget_bytes: int) -> None:
        self.held_bytes = 0
        self.estimate_bytes = FIRST_ESTIMATE_BYTES
        self._budget_bytes = budget_bytes
        self._sizes: deque[int] = deque(maxlen=SIZES_REMEMBERED)

    @property
    def has_room(self) -> bool:
        """Whether one more original fits in."""
        return self.held_bytes + self.estimate_bytes <= self._budget_bytes

    def learn(self, size_bytes: int) -> None:
        """An original has come."""
        self._sizes.append(size_bytes)
        self.estimate_bytes = max(self._sizes)
