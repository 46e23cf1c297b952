"""How long an executor is open: needed while it works, by whoever measures on the way, and afterwards."""

import time


class Presence:
    """Opened and closed once each by its executor; may be read from any thread."""

    def __init__(self) -> None:
        self._opened = 0.0
        self._closed = 0.0

    def open(self) -> None:
        """The time begins."""
        self._opened = time.perf_counter()

    def close(self) -> None:
        """The time ends."""
        self._closed = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From opening to closing; until now while it is open; 0 before."""
        return (self._closed or time.perf_counter()) - self._opened if self._opened else 0.0
