"""The connections of a whole run: shared by all its threads, at most so many to one origin, and so many in all.

Idle ones are lent last in, first out, so that those which are not needed grow old and are closed. A connection belongs
to the run and the host, not to the worker: a thread that kept a socket of its own would take a slot of a server that
has few, and leave it unused.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from batchproc.download.connection import Connection, Deadline
from batchproc.download.settings import Settings, Sites
from batchproc.download.urls import Origin
from batchproc.errors import Code, StageError
from batchproc.protocols import Lap

IDLE_SECONDS = 30.0
_FRESH_SECONDS = 0.5  # idle for less than that, a connection is lent without a look whether it was closed
USUAL_OVER = 64  # replies of all workers: what is usual is their moving mean
_SLICE_SECONDS = 0.2  # how often a waiting worker looks whether it was told to stop


class _Slots(Struct):
    """The connections to one origin: lent, idle and being made."""

    open: int = 0
    idle: list[Connection] = field(default_factory=list)  # the last one was used last


class Pool:
    """Lends connections. Safe from any thread."""

    def __init__(
        self, *, per_host: Callable[[Origin], int], most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.usual_seconds: float | None = None  # until the head of a reply, of those that came; a hint, without a lock
        self._per_host = per_host
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()  # guards all below
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._origins: dict[Origin, _Slots] = {}
        self._idle: OrderedDict[Connection, None] = OrderedDict()  # of all origins, the one idle for longest first
        self._open = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool {self._open} open, {len(self._idle)} idle, {len(self._origins)} origins>"

    def note_head(self, seconds: float) -> None:
        """A reply's head has come after so long."""
        usual = seconds if self.usual_seconds is None else self.usual_seconds
        self.usual_seconds = usual + (seconds - usual) / USUAL_OVER

    def take(
        self, origin: Origin, deadline: Deadline, check: Callable[[], None], lap: Lap, *, fresh: bool = False
    ) -> Connection | None:
        """An idle connection; or None, and the caller makes one: it owes `give_back`, or `give_up` if it cannot.

        `fresh` closes those that are idle. While there is no slot it waits; `check` is called now and then and may
        raise. Raises `StageError` when there is none in time.
        """
        while True:
            with self._lock:
                while (connection := self._pop_idle(origin, fresh)) is None and not self._may_open(origin, fresh):
                    self._wait(origin, deadline, check)
                unwanted = self._claim_slot(origin, fresh) if connection is None else ()
            self._close(unwanted, lap)
            if connection is None or not self._was_closed(connection):
                return connection
            self._close((connection,), lap)

    def give_back(self, connection: Connection, lap: Lap, *, keep: bool) -> None:
        """Ends a loan: the connection waits for the next one, or is closed."""
        connection.hand_back()
        now = self._clock()
        with self._lock:
            unwanted = self._take_aged(now)
            keep = keep and not self._closed
            if keep:
                connection.idle_since = now
                self._origins[connection.origin].idle.append(connection)
                self._idle[connection] = None
                self._notify()
            else:
                unwanted.append(connection)
        self._close(unwanted, lap)

    def give_up(self, origin: Origin) -> None:
        """Frees the slot of a connection that could not be made."""
        with self._lock:
            self._free(origin)

    def drop_idle(self, origin: Origin, lap: Lap) -> None:
        """Closes what is idle of an origin: it has refused, and its slots may be wanted elsewhere."""
        with self._lock:
            unwanted = self._take_idle(origin)
        self._close(unwanted, lap)

    def close(self) -> None:
        """Closes what is idle, and from now on what comes back."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _pop_idle(self, origin: Origin, fresh: bool) -> Connection | None:
        slots = self._origins.get(origin)
        if slots is None or not slots.idle or fresh:
            return None
        connection = slots.idle.pop()
        del self._idle[connection]
        return connection

    def _may_open(self, origin: Origin, fresh: bool) -> bool:
        slots = self._origins.get(origin)
        if slots is not None and slots.open >= self._per_host(origin):
            return fresh and bool(slots.idle)
        return self._open < self._most or bool(self._idle)

    def _claim_slot(self, origin: Origin, fresh: bool) -> list[Connection]:
        """Takes a slot for a new connection; returns those that are to be closed before. It may be opened."""
        unwanted = self._take_aged(self._clock())
        if fresh:
            unwanted += self._take_idle(origin)
        if self._open - len(unwanted) >= self._most:
            unwanted.append(self._remove(next(iter(self._idle))))
        self._origins.setdefault(origin, _Slots()).open += 1
        self._open += 1
        return unwanted

    def _wait(self, origin: Origin, deadline: Deadline, check: Callable[[], None]) -> None:
        left = deadline.moment - time.monotonic()
        if left <= 0:
            raise self._full(origin)
        self._waiting += 1
        try:
            self._changed.wait(min(left, _SLICE_SECONDS))
        finally:
            self._waiting -= 1
        check()

    def _notify(self) -> None:
        if self._waiting:
            self._changed.notify_all()

    def _take_aged(self, now: float) -> list[Connection]:
        aged = []
        for connection in self._idle:
            if now - connection.idle_since < IDLE_SECONDS:
                break
            aged.append(connection)
        return [self._remove(connection) for connection in aged]

    def _take_idle(self, origin: Origin) -> list[Connection]:
        slots = self._origins.get(origin)
        return [self._remove(connection) for connection in tuple(slots.idle)] if slots else []

    def _remove(self, connection: Connection) -> Connection:
        """Takes an idle connection out, to be closed by the caller: until then it keeps its slot."""
        del self._idle[connection]
        self._origins[connection.origin].idle.remove(connection)
        return connection

    def _free(self, origin: Origin) -> None:
        slots = self._origins[origin]
        slots.open -= 1
        self._open -= 1
        if not slots.open:
            del self._origins[origin]
        self._notify()

    def _was_closed(self, connection: Connection) -> bool:
        """Whether the other side has closed it, or is about to."""
        idle_seconds = self._clock() - connection.idle_since
        return idle_seconds >= connection.keep_seconds or (idle_seconds > _FRESH_SECONDS and connection.is_readable())

    def _close(self, connections: Iterable[Connection], lap: Lap) -> None:
        """Closes first and frees the slots then, so that nobody opens another beside them."""
        for connection in connections:
            connection.close()
            lap.count(f"dropped {connection.origin.authority}")
            self.give_up(connection.origin)

    def _full(self, origin: Origin) -> StageError:
        slots = self._origins.get(origin)
        if slots is not None and slots.open >= self._per_host(origin):
            return StageError(Code.BUSY, f"all {slots.open} connections to {origin.host} were in use")
        return StageError(Code.LOCAL_FILES, f"all {self._most} connections that this machine allows were in use")


def _per_host(settings: Settings) -> Callable[[Origin], int]:
    sites = Sites(settings)  # used under the pool's lock
    return lambda origin: sites.of(origin.host, origin.port).per_host


class Pools:
    """The pools of this process, one for all workers with equal settings: opened with the first, closed with the last.

    Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the one below
        self._shared: dict[Settings, tuple[Pool, int]] = {}

    def join(self, settings: Settings) -> Pool:
        """The pool of these settings, for one worker more."""
        with self._lock:
            pool, workers = self._shared.get(settings) or (
                Pool(per_host=_per_host(settings), most=settings.most_connections), 0
            )
            self._shared[settings] = pool, workers + 1
        return pool

    def leave(self, settings: Settings) -> None:
        """One worker less."""
        with self._lock:
            pool, workers = self._shared.pop(settings)
            if workers > 1:
                self._shared[settings] = pool, workers - 1
                return
        pool.close()


pools = Pools()  # of this process
