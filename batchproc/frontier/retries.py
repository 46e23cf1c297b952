"""Which failures come back in this run, and when."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator

from batchproc.frontier.host import Entry
from batchproc.kinds import Retry
from batchproc.model import Failure

LONGEST_BACKOFF_SECONDS = 300.0


def full_jitter(attempt: int) -> float:
    """Seconds to wait after the failed attempt 1, 2, …: uniform(0, min(300, 2^n)), so that retries spread out."""
    return random.uniform(0.0, min(LONGEST_BACKOFF_SECONDS, 2.0 ** (attempt - 1)))


_TRIES: dict[Retry, int | None] = {Retry.BACKOFF: None, Retry.HOST: None, Retry.ONCE: 1}  # None: as many as allowed


class Retries:
    """Entries that come back, by their time. Not thread-safe: used under the frontier's condition."""

    def __init__(self, allowed: int, backoff: Callable[[int], float]) -> None:
        self.for_hosts = 0  # of the entries: their hosts wanted to be left alone
        self._allowed = allowed
        self._backoff = backoff
        self._heap: list[tuple[float, int, Entry, bool]] = []
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def delay(self, failure: Failure, entry: Entry) -> float | None:
        """Seconds until the item is tried again in this run; None when its failure is final for now."""
        tries = _TRIES.get(failure.retry, 0)
        allowed = self._allowed if tries is None else min(tries, self._allowed)
        return self._backoff(entry.attempt) if entry.attempt <= allowed else None

    @property
    def first(self) -> tuple[float | None, bool]:
        """When the next one comes back, None when there is none; and whether its host decided that."""
        return (self._heap[0][0], self._heap[0][3]) if self._heap else (None, False)

    def put(self, entry: Entry, due: float, *, for_host: bool = False) -> None:
        """Keeps an entry for its next attempt at `due`."""
        self.for_hosts += for_host
        heapq.heappush(self._heap, (due, next(self._sequence), entry, for_host))

    def pop_due(self, now: float) -> Iterator[Entry]:
        """Those whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            _, _, entry, for_host = heapq.heappop(self._heap)
            self.for_hosts -= for_host
            yield entry
