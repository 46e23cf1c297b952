"""Deadlines: a moment by which something must have happened, looked at before every single wait.

A socket's own time-out starts again with every byte, so a server that trickles its head, or sends "100 Continue" for
ever, is never late for it. Here each wait gets what is left of the whole phase, so nobody has to watch from outside.
"""

import socket
import threading
import time
from dataclasses import dataclass
from typing import Self

from batchproc.errors import Code, StageError

_EXPIRED = {
    Code.TIMEOUT_CONNECT: "the connection was not ready in time",
    Code.TIMEOUT_FIRST_BYTE: "the head of the reply was not complete in time",
    Code.TIMEOUT_IDLE: "the server fell silent inside the body",
    Code.TIMEOUT_TOTAL: "the download took longer than total_timeout",
}


@dataclass(frozen=True, slots=True)
class Deadline:
    """When, in monotonic seconds, and which failure it is to be later."""

    moment: float
    code: Code

    @classmethod
    def after(cls, seconds: float, code: Code) -> Self:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds, code)

    def or_earlier(self, other: "Deadline") -> "Deadline":
        """The one of the two that comes first."""
        return other if other.moment < self.moment else self

    def seconds_left(self) -> float:
        """Above 0. Raises `StageError` when there are none."""
        left = self.moment - time.monotonic()
        if left <= 0:
            raise self.error()
        return left

    def error(self) -> StageError:
        """The failure of whoever is late."""
        return StageError(self.code, _EXPIRED[self.code])


class Interrupt:
    """Ends one worker's download from another thread. `fire` may be called from any, the rest by the worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both below: a descriptor is not shut after it was closed
        self._socket: socket.socket | None = None
        self._fired = False

    def guard(self, in_use: socket.socket | None) -> None:
        """Says which socket the worker may wait on; none before it is closed or handed back."""
        with self._lock:
            self._socket = in_use

    def check(self) -> None:
        """Raises `StageError` `cancelled` once fired."""
        if self._fired:
            raise StageError(Code.CANCELLED, "the download was stopped")

    def fire(self) -> None:
        """Wakes a wait under way, and refuses everything that follows."""
        with self._lock:
            self._fired = True
            if self._socket is None:
                return
            try:
                # Not `SSLSocket.shutdown`: that would drop the TLS state under the reader's hands.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # not connected any more: its reader has noticed already
