"""The watchdog: one thread per process that shuts down sockets past their deadline.

A socket's own time-out starts again with every byte, so a server that trickles its head, or sends "100 Continue" for
ever, is never late for it. Here a deadline holds for a whole phase. Each worker has one `Watch` and at most one socket
in it, so a look at every watch a few times a second (some microseconds for hundreds of workers) takes the place of a
heap, and a request pays for two assignments under its own lock.

Only the raw socket is shut down: `SSLSocket.shutdown` would drop the TLS state and turn later reads into plain ones.
The reader then sees a clean end of file, which is why it must call `check` after every read.
"""

import socket
import threading
import time

from batchproc.errors import Code, StageError

_SHORTEST_TICK_SECONDS, _LONGEST_TICK_SECONDS = 0.02, 0.5
_LONGEST_END_SECONDS = 10.0

_EXPIRED = {
    Code.TIMEOUT_CONNECT: "the connection was not ready in time",
    Code.TIMEOUT_FIRST_BYTE: "the head of the reply was not complete in time",
    Code.TIMEOUT_TOTAL: "the download took longer than total_timeout",
    Code.CANCELLED: "the download was stopped",
}


def expired_error(code: Code) -> StageError:
    """The failure of a download that the watchdog ended with `code`."""
    return StageError(code, _EXPIRED[code])


class Watch:
    """What the watchdog knows of one worker. `abort` may be called from any thread, the rest by the worker."""

    def __init__(self, shortest_timeout_seconds: float) -> None:
        # A deadline is never nearer than the shortest time-out when it is set, so a tenth of that is soon enough.
        tick = shortest_timeout_seconds / 10
        self.tick_seconds = min(max(tick, _SHORTEST_TICK_SECONDS), _LONGEST_TICK_SECONDS)
        self._lock = threading.Lock()  # guards every attribute below
        self._socket: socket.socket | None = None
        self._deadline = 0.0
        self._code = Code.TIMEOUT_TOTAL
        self._aborted = False
        self._expired: Code | None = None

    def arm(self, guarded: socket.socket, deadline: float, code: Code) -> None:
        """Watches `guarded` until `deadline` (monotonic seconds). Raises `StageError` when already expired."""
        with self._lock:
            self._socket, self._deadline, self._code = guarded, deadline, code
            expired = self._expired
        if expired is not None:
            raise expired_error(expired)

    def disarm(self) -> None:
        """Ends the watch: the socket may be kept, closed, or used for another request."""
        with self._lock:
            self._socket = None
            self._expired = Code.CANCELLED if self._aborted else None

    def check(self) -> None:
        """Raises `StageError` when the deadline passed or the work was aborted."""
        if self._expired is not None:
            raise expired_error(self._expired)

    def abort(self) -> None:
        """Shuts the socket in use and refuses everything that follows. From any thread."""
        with self._lock:
            self._aborted = True
            self._expire(Code.CANCELLED)

    def expire_if_late(self, now: float) -> None:
        """Shuts the socket down when its deadline has passed. Called by the watchdog's thread."""
        with self._lock:
            if self._socket is not None and now > self._deadline and self._expired is None:
                self._expire(self._code)

    def _expire(self, code: Code) -> None:
        self._expired = code
        if self._socket is None:
            return
        try:
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return  # closed or not connected any more: its reader has noticed already


class Watchdog:
    """The thread and the watches it looks at. It runs while there is a watch. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the three below
        self._watches: set[Watch] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def add(self, watch: Watch) -> None:
        """Looks after `watch` from now on; the first one starts the thread."""
        with self._lock:
            self._watches.add(watch)
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="batchproc-watchdog", daemon=True
                )
                self._thread.start()

    def remove(self, watch: Watch) -> None:
        """Looks after `watch` no more; with the last one the thread ends."""
        with self._lock:
            self._watches.discard(watch)
            if self._watches or self._thread is None:
                return
            ending, self._thread = self._thread, None
            self._stop.set()
        ending.join(_LONGEST_END_SECONDS)

    def _run(self, stop: threading.Event) -> None:
        tick = _SHORTEST_TICK_SECONDS
        while not stop.wait(tick):
            with self._lock:
                watches = tuple(self._watches)
            now = time.monotonic()
            for watch in watches:
                watch.expire_if_late(now)
            tick = min((watch.tick_seconds for watch in watches), default=_LONGEST_TICK_SECONDS)


watchdog = Watchdog()  # of this process
