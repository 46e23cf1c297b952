"""Jobs for workers that keep something from one to the next: those of one affinity go where it is kept already.

A worker process cannot lend its connections, and it keeps only what its last job needed. So a job goes to an idle
worker whose last one had the same affinity; if there is none, to any that is idle, and that one first gives up what it
keeps. Until it has said so, its former affinity is begun at no other worker. Hence what is kept for an affinity is
never kept by more workers than there were jobs of that affinity at once, and no worker stays idle while a job waits
for another affinity's.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from batchproc.executors.channel import Channel, Closed
from batchproc.executors.line import EndMark, Job
from batchproc.model import Item

MOST_OVERTAKEN = 16  # jobs that may go before the oldest because their worker is idle


class AffinityChannel(Channel[Job | EndMark]):
    """An unbounded channel whose getters are numbered. Thread-safe: `mutex` guards everything."""

    def __init__(self, affinity: Callable[[Item[Any]], str]) -> None:
        super().__init__(0)
        self._affinity = affinity
        self._idle: OrderedDict[int, threading.Condition] = OrderedDict()  # getters that wait, for longest first
        self._given: dict[int, Job | EndMark] = {}  # to getters that have not woken up yet
        self._kept: dict[int, str] = {}  # each getter's last affinity
        self._leaving: dict[int, str] = {}  # what a getter has been told to give up, and has not yet

    def put(self, item: Job | EndMark, block: bool = True, timeout: float | None = None) -> None:
        """Adds a job. Raises `Closed`."""
        if isinstance(item, Job):
            item.affinity = self._affinity(item.item)
        with self.mutex:
            if self._closed:
                raise Closed
            self.queue.append(item)
            self._give_out()

    def get_for(self, getter: int) -> Job | EndMark:
        """The next job for this getter, waiting for one; `job.leaves` says that it must give up what it keeps.

        Raises `Closed`.
        """
        self.ready(getter)
        with self.mutex:
            given = self._idle.get(getter)
            while given is not None and getter not in self._given and not self._closed:
                given.wait()
            self._idle.pop(getter, None)
            if self._closed:
                raise Closed
            return self._given.pop(getter)

    def ready(self, getter: int) -> None:
        """The getter's last job is done: it may be given the next one, for which it will come.

        To be said before the outcome is passed on: that lets another job of the affinity come in, and it shall go to
        this getter and to no new one.
        """
        with self.mutex:
            if getter not in self._given and getter not in self._idle:
                self._leaving.pop(getter, None)  # else its last job never reached its worker
                self._idle[getter] = threading.Condition(self.mutex)
                self._give_out()

    def left(self, getter: int) -> None:
        """The getter has given up what it kept before its present job."""
        with self.mutex:
            if self._leaving.pop(getter, None) is not None:
                self._give_out()

    def close(self) -> None:
        """Drops what is inside and wakes everybody."""
        super().close()
        with self.mutex:
            for given in self._idle.values():
                given.notify_all()

    def _give_out(self) -> None:
        """Gives jobs to idle getters while there are both and they may come together."""
        while self._idle and self.queue and not self._closed:
            index, getter = self._choose()
            if getter is None:
                return
            job = self.queue[index]
            del self.queue[index]
            if isinstance(job, Job):
                self._note(getter, job)
            self._given[getter] = job
            self._idle.pop(getter).notify()

    def _note(self, getter: int, job: Job) -> None:
        before = self._kept.get(getter, job.affinity)
        job.leaves = before != job.affinity
        if job.leaves:
            self._leaving[getter] = before
        self._kept[getter] = job.affinity

    def _choose(self) -> tuple[int, int | None]:
        """A place in the queue and a getter for the job there; None when nothing may be given out now."""
        oldest = self.queue[0]
        if isinstance(oldest, EndMark):
            return 0, next(iter(self._idle))
        affinities = [job.affinity for job in self.queue if isinstance(job, Job)]
        keepers = {self._kept.get(getter): getter for getter in reversed(self._idle)}
        if oldest.overtaken < MOST_OVERTAKEN:
            for index, affinity in enumerate(affinities):
                if affinity in keepers:
                    oldest.overtaken += index > 0
                    return index, keepers[affinity]
        for index, affinity in enumerate(affinities):
            if affinity in keepers:
                return index, keepers[affinity]
            if affinity not in self._leaving.values():
                return index, keepers.get(None, next(iter(self._idle)))
        return 0, None
