"""Jobs for workers that keep something from one to the next: those of one affinity go where it is kept already.

A worker process cannot lend its connections, and it keeps only what its last job needed. So a job goes to an idle
worker whose last one had the same affinity; if there is none, to any that is idle, and that one first gives up what it
keeps. Until it has said so, its former affinity is begun at no other worker. Hence what is kept for an affinity is
never kept by more workers than there were jobs of that affinity at once, and no worker stays idle while a job waits
for another affinity's.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from batchproc.model import Item

MOST_OVERTAKEN = 16  # jobs that may go before the oldest because their worker is idle


class HeldJob(Struct):
    """One item inside a process executor.

    `alone` marks a suspect: its worker gets no second job beside it. The last three are for `Affinities`.
    """

    item: Item[Any]
    enqueued: float
    alone: bool = False
    affinity: str = ""
    leaves: bool = False  # its worker gives up first what it keeps from its last job
    overtaken: int = 0


class Affinities:
    """Which job goes to which of the numbered workers. Not thread-safe."""

    def __init__(self, affinity: Callable[[Item[Any]], str]) -> None:
        self._affinity = affinity
        self._kept: dict[int, str] = {}  # each worker's last affinity
        self._leaving: dict[int, str] = {}  # what a worker has been told to give up, and has not yet

    def name(self, job: HeldJob) -> None:
        """Says of which affinity a job is."""
        job.affinity = self._affinity(job.item)

    def left(self, worker: int) -> None:
        """A worker has given up what it kept before its present job, or is gone with it."""
        self._leaving.pop(worker, None)

    def choose(self, jobs: deque[HeldJob], idle: Sequence[int]) -> tuple[HeldJob, int] | None:
        """Takes one of the jobs, of which there are some, for one of the idle workers, the idle for longest first.

        None when nothing may be given out now.
        """
        place, worker = self._choose(jobs, idle)
        if worker is None:
            return None
        job = jobs[place]
        del jobs[place]
        before = self._kept.get(worker, job.affinity)
        job.leaves = before != job.affinity
        if job.leaves:
            self._leaving[worker] = before
        self._kept[worker] = job.affinity
        return job, worker

    def _choose(self, jobs: deque[HeldJob], idle: Sequence[int]) -> tuple[int, int | None]:
        """A place in the queue and a worker for the job there; None when nothing may be given out now."""
        keepers = {self._kept.get(worker): worker for worker in reversed(idle)}
        oldest = jobs[0]
        if oldest.overtaken < MOST_OVERTAKEN:
            for place, job in enumerate(jobs):
                if job.affinity in keepers:
                    oldest.overtaken += place > 0
                    return place, keepers[job.affinity]
        for place, job in enumerate(jobs):
            if job.affinity in keepers:
                return place, keepers[job.affinity]
            if job.affinity not in self._leaving.values():
                return place, keepers.get(None, idle[0])
        return 0, None
