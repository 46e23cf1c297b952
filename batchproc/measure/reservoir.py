"""A fair sample of a stream in constant memory, for the timeline: each item has the same chance to be in it."""

import math
import random
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """Keeps at most `capacity` items, uniformly chosen among all that were added. Not thread-safe.

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

    def add(self, item: T) -> None:
        """Offers one item."""
        self.offer(lambda: item)

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

    def __len__(self) -> int:
        return len(self._items)
