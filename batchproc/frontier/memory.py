"""How many bytes of originals may be in memory: what has come is known, what is still to come is estimated."""

from collections import deque

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
