"""What other threads leave for the one that waits for pipes: a queue that wakes a poll."""

import os
import threading
from collections import deque

from batchproc.executors.supply import Arrival


class Inbox:
    """Any thread puts, one takes. `fileno` becomes readable when something was put while that one slept.

    `_lock` guards the descriptors against being used after they were closed.
    """

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque()
        self._asleep = False
        self._lock = threading.Lock()
        self._reader, self._writer = os.pipe()
        self._closed = False

    def fileno(self) -> int:
        """What to poll."""
        return self._reader

    def put(self, arrival: Arrival) -> None:
        """Never blocks: a sleeper is woken once."""
        self._arrivals.append(arrival)
        if self._asleep:
            with self._lock:
                if self._asleep and not self._closed:
                    self._asleep = False
                    os.write(self._writer, b"!")

    def fall_asleep(self) -> bool:
        """From now on who puts something wakes the poll. False, and nothing is to be waited for, if something is here.
        """
        self._asleep = True
        if not self._arrivals:
            return True
        self.wake_up()
        return False

    def wake_up(self) -> None:
        """After a poll, whatever ended it."""
        with self._lock:
            rung, self._asleep = not self._asleep, False
        if rung:
            os.read(self._reader, 1)

    def take(self) -> Arrival | None:
        """What came first, or None."""
        return self._arrivals.popleft() if self._arrivals else None

    def close(self) -> None:
        """Gives the descriptors back. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._reader)
                os.close(self._writer)
