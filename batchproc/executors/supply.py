"""What comes from upstream, for whoever asks, never more of it inside than there is room for; and the threads that ask.

A thread takes a permit before it asks upstream for one item more, and the caller's thread gives it back when it comes
for the next outcome. There is no queue of jobs between them: a hand-over to another thread costs more than most of what
is done to an item here.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue

from msgspec import Struct

from batchproc.errors import ExecutorError
from batchproc.measure.clocks import name_thread
from batchproc.model import Outcome

JOIN_SECONDS = 5.0
LEAST_CAPACITY = 16  # with less room the threads wake each other for every single item


class Closed(Exception):
    """There is nothing more to take, and nobody to give to."""


class EndMark:
    """Nothing more will come; or, among the results: one of the workers has ended."""


END = EndMark()


class UpstreamFault(Struct, frozen=True):
    """An error that ends the whole run, on its way to the caller's thread."""

    error: BaseException


Arrival = Outcome | EndMark | UpstreamFault


class Supply:
    """One call of `Executor.run`: its upstream and its threads. Owned by the executor's `with` block.

    `deliver` takes what is for the caller's thread; it must never block. Shared: the permits; what is said to be under
    `_asking`; and `closed`, which is set once. Waits have no limit of their own: whoever owns the supply closes it.
    """

    def __init__(self, items: Iterable[Outcome], capacity: int, deliver: Callable[[Arrival], None]) -> None:
        self.closed = False
        self._upstream = iter(items)
        self._asking = threading.Lock()  # upstream is asked by one thread at a time; guards the line below
        self._drained = False
        self._permits: SimpleQueue[None] = SimpleQueue()
        self._deliver = deliver
        self._threads: list[threading.Thread] = []
        for _ in range(capacity):
            self._permits.put(None)

    def start(self, name: str, body: Callable[[], None]) -> None:
        """Starts a thread."""
        thread = threading.Thread(target=self._supervised, args=(body,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)  # behind: one that cannot be started is not to be joined

    def wait_for_room(self) -> None:
        """Waits until one item more may be inside. Raises `Closed`."""
        self._permits.get()
        if self.closed:
            raise Closed

    def take(self) -> Outcome | EndMark:
        """Waits for the next item, for which there is room; the end mark when none will come. Raises `Closed`."""
        with self._asking:
            if self.closed:
                raise Closed
            taken: Outcome | EndMark = END
            if not self._drained:
                self._drained = True  # after an error, too
                taken = next(self._upstream, END)
                self._drained = taken is END
        if taken is END:
            self.make_room()
        return taken

    def make_room(self) -> None:
        """One item has left."""
        self._permits.put(None)

    def close(self) -> None:
        """Wakes every thread, the caller's too, and makes it end. From any thread."""
        self.closed = True
        for _ in self._threads:
            self._permits.put(None)
        self._deliver(END)

    def join(self) -> None:
        """Waits, with a bound, until all threads have ended; raises `ExecutorError` if one does not."""
        limit = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            raise ExecutorError(f"threads did not end within {JOIN_SECONDS:.0f} s: {', '.join(stuck)}")

    def _supervised(self, body: Callable[[], None]) -> None:
        """Runs a thread's body; its unexpected end is told to the caller's thread, never a silent stall."""
        name_thread(threading.current_thread().name)
        try:
            body()
        except Closed:
            return
        except BaseException as error:  # noqa: BLE001 - the seam between threads: the caller's thread raises it again
            self._deliver(UpstreamFault(error))


class ArrivalInbox:
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
