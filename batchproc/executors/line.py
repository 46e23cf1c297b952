"""Producer and consumers around queues: the plumbing that the thread and the process executor share.

    upstream --feeder thread--> jobs --N consumer threads--> results --caller's thread--> downstream

The feeder takes a permit before it asks upstream for one item more, and the caller's thread gives it back when it comes
for the next outcome: never more than `capacity` items are inside. The two queues are bounded as well, so that
back-pressure is felt, and measured, by the worker that finished and finds no room.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.errors import ExecutorError
from batchproc.executors.channel import Channel, Closed
from batchproc.measure.threads import name_thread
from batchproc.model import Item, Outcome

JOIN_SECONDS = 5.0
LEAST_CAPACITY = 16  # with less room the threads wake each other for every single item: 25 us against 45 us each


@dataclass(slots=True)
class Job:
    """One item inside an executor.

    `alone` marks a suspect: its worker gets no second job beside it. The last three are for `AffinityChannel`.
    """

    item: Item[Any]
    enqueued: float
    alone: bool = False
    affinity: str = ""
    leaves: bool = False  # its worker gives up first what it keeps from its last job
    overtaken: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that ends the whole line, on its way to the caller's thread."""

    error: BaseException


class EndMark:
    """No more jobs will come; or, among the results: this consumer has ended."""


END = EndMark()


class Line:
    """One call of `Executor.run`: its channels and its threads. Owned by the executor's `with` block.

    Shared and mutable: the three channels, each with its own lock, and nothing else.
    """

    def __init__(
        self, name: str, consumers: int, capacity: int, jobs: Channel[Job | EndMark] | None = None
    ) -> None:
        self.name = name
        self.permits: Channel[None] = Channel(0)
        self.jobs: Channel[Job | EndMark] = jobs or Channel(0)
        self.results: Channel[Outcome | EndMark | Fault] = Channel(max(1, capacity - consumers))
        self._consumers = consumers
        self._threads: list[threading.Thread] = []
        self.finished = False  # every consumer came to its end mark; written by the caller's thread
        for _ in range(capacity):
            self.permits.put(None)

    def start(self, items: Iterable[Outcome], role: str, consumers: Sequence[Callable[["Line"], None]]) -> None:
        """Starts one thread per consumer, named `<role>-<number>`, and the feeder."""
        for number, consume in enumerate(consumers):
            self._spawn(f"{role}-{number}", self._supervised, consume)
        self._spawn(f"{self.name}-feeder", self._supervised, lambda _: self._feed(items))

    def outcomes(self) -> Iterator[Outcome]:
        """Yields what comes out, in the caller's thread, until every consumer has ended or the line is closed.

        Raises what upstream raised, or what broke the workers.
        """
        ended = 0
        try:
            while ended < self._consumers:
                result = self.results.get()
                if isinstance(result, EndMark):
                    ended += 1
                elif isinstance(result, Fault):
                    raise result.error
                else:
                    yield result
                    self.permits.put(None)
            self.finished = True
        except Closed:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Wakes every thread of the line and makes it end. From any thread."""
        for channel in (self.permits, self.jobs, self.results):
            channel.close()

    def join(self) -> None:
        """Waits, with a bound, until all threads have ended; raises `ExecutorError` if one does not."""
        limit = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            raise ExecutorError(f"threads did not end within {JOIN_SECONDS:.0f} s: {', '.join(stuck)}")

    def _spawn(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)  # behind: one that cannot be started is not to be joined

    def _supervised(self, body: Callable[["Line"], None]) -> None:
        """Runs a thread's body; its unexpected end is told to the caller's thread, never a silent stall."""
        name_thread(threading.current_thread().name)
        try:
            body(self)
        except Closed:
            return
        except BaseException as error:  # noqa: BLE001 - the seam between threads: the caller's thread raises it again
            self._report(error)

    def _report(self, error: BaseException) -> None:
        try:
            self.results.put(Fault(error))
        except Closed:
            return

    def _feed(self, items: Iterable[Outcome]) -> None:
        upstream = iter(items)
        while True:
            self.permits.get()
            outcome = next(upstream, END)
            if isinstance(outcome, EndMark):
                break
            if isinstance(outcome, Item):
                self.jobs.put(Job(outcome, time.perf_counter()))
            else:
                self.results.put(outcome)
        for _ in range(self._consumers):
            self.jobs.put(END)
