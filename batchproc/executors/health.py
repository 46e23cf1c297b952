"""Whether worker processes can live here at all: crashes against successes."""

import threading

from batchproc.errors import ExecutorError

CRASHES_THAT_STOP = 40  # more than that, and more than successes: no worker can live here


class Health:
    """Crashes against successes of all lanes of an executor. Thread-safe: its lock guards both counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._crashes = self._successes = 0

    def succeeded(self) -> None:
        """Counts an answered job."""
        with self._lock:
            self._successes += 1

    def crashed(self, how: str) -> None:
        """Counts a crash; raises `ExecutorError` when there is little else."""
        with self._lock:
            self._crashes += 1
            storm = self._crashes > CRASHES_THAT_STOP and self._crashes > self._successes
        if storm:
            raise ExecutorError(
                f"{self._crashes} worker processes died against {self._successes} items done; the last one: {how}"
            )
