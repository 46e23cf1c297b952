"""An engine without a cluster: parts run in threads of this process, each with its real process of its own."""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from batchproc.cluster.task import PartOutcome, PartTask, run_part, stop_parts

T = TypeVar("T")


class ThreadEngine:
    """Two workers. `submitted` are the places of all parts in their order."""

    dashboard = ""

    def __init__(self, workers: int = 2) -> None:
        self._workers = {f"tcp://127.0.0.1:{number}": 1 for number in range(1, workers + 1)}
        self._tasks: queue.SimpleQueue[PartTask | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[PartOutcome] = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self.submitted: list[tuple[int, int]] = []
        self._threads = [threading.Thread(target=self._work, args=(name,), daemon=True) for name in self._workers]
        for thread in self._threads:
            thread.start()

    def slots(self) -> Mapping[str, int]:
        return self._workers

    def ask(self, question: Callable[[], T], workers: Iterable[str]) -> Mapping[str, T | str]:
        return {name: question() for name in workers}

    def submit(self, task: PartTask, avoid: frozenset[str]) -> None:
        self.submitted.append(task.part.place)
        self._tasks.put(task)

    def stop_parts(self, run: str) -> None:
        stop_parts(run)

    def wait(self, seconds: float) -> list[PartOutcome]:
        try:
            return [self._ended.get(timeout=seconds)]
        except queue.Empty:
            return []

    def close(self) -> None:
        self._is_closed.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(30)

    def _work(self, name: str) -> None:
        while (task := self._tasks.get()) is not None and not self._is_closed.is_set():
            self._ended.put(run_part(task, worker=name, is_ended=self._is_closed.is_set))
