"""A `queue.Queue` that can be closed, so that every blocked `put` and `get` wakes up (3.13 calls it `shutdown`)."""

import queue
from typing import TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The channel was closed: there is nothing more to get, and nobody to put for."""


class Channel(queue.Queue[T]):
    """A bounded FIFO between threads. Thread-safe.

    Waits have no time limit of their own: whoever owns the channel closes it at the end of its `with` block, and that
    ends them.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._closed = False
        self._getters = 0

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item, waiting for room. Raises `Closed`."""
        with self.not_full:
            while not self._closed and self.maxsize and len(self.queue) >= self.maxsize:
                self.not_full.wait()
            if self._closed:
                raise Closed
            self.queue.append(item)
            self.not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Takes the oldest item, waiting for one. Raises `Closed`."""
        with self.not_empty:
            self._getters += 1
            try:
                while not self._closed and not self.queue:
                    self.not_empty.wait()
            finally:
                self._getters -= 1
            if self._closed:
                raise Closed
            return self._take()

    def get_for(self, getter: int) -> T:
        """As `get`, for those who are numbered: here all are alike."""
        return self.get()

    def ready(self, getter: int) -> None:
        """A getter is done with its last job, and will come for the next: here nobody waits for it."""

    def left(self, getter: int) -> None:
        """A getter has given up what it kept: here nobody keeps anything."""

    def get_spare(self) -> T | None:
        """Takes the oldest item only if no other thread is waiting for one: work ahead never robs the idle."""
        with self.not_empty:
            if self._closed:
                raise Closed
            return self._take() if len(self.queue) > self._getters else None

    def close(self) -> None:
        """Drops what is inside and wakes everybody."""
        with self.mutex:
            self._closed = True
            self.queue.clear()
            self.not_empty.notify_all()
            self.not_full.notify_all()

    def _take(self) -> T:
        item: T = self.queue.popleft()
        self.not_full.notify()
        return item
