"""A connection to one origin: a socket that never blocks by itself, so that every wait has its deadline."""

import select
import socket
import ssl

from batchproc.download.deadline import Deadline, Interrupt
from batchproc.download.tls import AnySocket, InnerTLS
from batchproc.download.urls import Origin

_READABLE, _WRITABLE = select.POLLIN, select.POLLOUT


class Connection:
    """A connected socket, plain or TLS. Used by one worker at a time; `interrupt` is that worker's."""

    def __init__(self, origin: Origin, raw: socket.socket, interrupt: Interrupt) -> None:
        self.origin = origin
        self.answered = False  # it has brought a reply: it may have been closed since
        self.keep_seconds = float("inf")  # how long the server keeps it idle, when it said so
        self.idle_since = 0.0  # monotonic seconds; the pool's
        self._socket: AnySocket = raw
        self._is_tls = False
        self._poll = select.poll()
        self._poll.register(raw, _READABLE)
        self._interrupt = interrupt
        self._raw = raw  # what can be shut down, whatever layers lie above
        interrupt.guard(raw)

    def borrow(self, interrupt: Interrupt) -> None:
        """Goes to the worker whose interrupt this is."""
        self._interrupt = interrupt
        interrupt.guard(self._raw)

    def hand_back(self) -> None:
        """Belongs to no worker any more."""
        self._interrupt.guard(None)

    def secure(self, context: ssl.SSLContext, server_name: str, deadline: Deadline) -> None:
        """Shakes hands. Raises OSError (which TLS errors are, too) and what the deadline says."""
        if isinstance(self._raw, ssl.SSLSocket):
            self._socket = InnerTLS(self._raw, context, server_name)
        else:
            secured = context.wrap_socket(self._raw, server_hostname=server_name, do_handshake_on_connect=False)
            self._socket = self._raw = secured
            self._interrupt.guard(secured)
        self._is_tls = True
        while True:
            try:
                self._socket.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._wait(_READABLE, deadline)
            except ssl.SSLWantWriteError:
                self._wait(_WRITABLE, deadline)

    def send(self, octets: bytes, deadline: Deadline) -> None:
        """Sends all. Raises OSError and what the deadline says."""
        unsent = memoryview(octets)
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(_WRITABLE, deadline)
            except ssl.SSLWantReadError:
                self._wait(_READABLE, deadline)

    def receive_into(self, room: memoryview, deadline: Deadline, *, expected: bool = True) -> int:
        """Receives at least one byte, or 0 at the end. Raises OSError and what the deadline says.

        `expected` says that bytes may well be here already: then they are asked for before they are waited for.
        """
        if not expected and not self._is_tls:
            self._wait(_READABLE, deadline)
        while True:
            try:
                count = self._socket.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(_READABLE, deadline)
            except ssl.SSLWantWriteError:
                self._wait(_WRITABLE, deadline)
            else:
                self._interrupt.check()
                return count

    def is_readable(self) -> bool:
        """Whether something came, or the other side has closed: of an idle connection neither is wanted."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Closes the socket, which belongs to no worker. May be called twice."""
        self._socket.close()

    def _wait(self, event: int, deadline: Deadline) -> None:
        poll = self._poll
        if event != _READABLE:
            poll = select.poll()
            poll.register(self._socket, event)
        ready = poll.poll(deadline.seconds_left() * 1000)
        self._interrupt.check()
        if not ready:
            raise deadline.error()
