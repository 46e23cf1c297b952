"""A connection to one origin, plain, TLS, or TLS inside TLS: no socket blocks by itself, so every wait has a deadline.

A socket's own time-out starts again with every byte, so a server that trickles its head, or sends "100 Continue" for
ever, is never late for it. Here each wait gets what is left of the whole phase, so nobody has to watch from outside.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from threading import Lock
from typing import Self, TypeVar

import certifi
from msgspec import Struct

from batchproc.download.urls import Origin
from batchproc.errors import Code, Retry, StageError

T = TypeVar("T")

_RECORD_BYTES = 16_384

_context_lock = Lock()  # guards the one below
_contexts: dict[tuple[str, str, str], ssl.SSLContext] = {}


def tls_context(ca_file: str = "", client_cert: str = "", client_key: str = "") -> ssl.SSLContext:
    """The TLS settings of this process: the public authorities and those in `ca_file`, and who we are.

    Made once, since loading the bundle takes 10 ms. Raises OSError, of which `ssl.SSLError` is one, for a file that
    cannot be used.
    """
    key = ca_file, client_cert, client_key
    with _context_lock:
        context = _contexts.get(key)
        if context is None:
            context = ssl.create_default_context(cafile=certifi.where())
            context.set_alpn_protocols(["http/1.1"])
            if ca_file:
                context.load_verify_locations(cafile=ca_file)
            if client_cert:
                context.load_cert_chain(client_cert, client_key or None, password=_no_password)
            _contexts[key] = context
        return context


def _no_password() -> str:
    """Stands where OpenSSL would ask the terminal for the password of an encrypted key."""
    raise ssl.SSLError("the key is encrypted; a run cannot ask for its password")


def certificate_wanted(error: OSError, host: str) -> StageError | None:
    """The failure of a server that wants to know who we are, which it may say after the handshake (RFC 8446, 4.4.2)."""
    if not isinstance(error, ssl.SSLError) or "CERTIFICATE_REQUIRED" not in (error.reason or ""):
        return None
    return StageError(
        Code.TLS,
        f"{host} asks for a client certificate",
        hint="set client_cert in [download.hosts] for this host",
        retry=Retry.NEVER,
    )


class InnerTLS:
    """A TLS layer on a socket that is TLS already. Stands where a non-blocking `SSLSocket` does."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, server_name: str) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""
        self._layer = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def do_handshake(self) -> None:
        """As `SSLSocket.do_handshake`."""
        self._run(self._layer.do_handshake)

    def send(self, octets: memoryview) -> int:
        """As `SSLSocket.send`."""
        return self._run(lambda: self._layer.write(octets))

    def recv_into(self, room: memoryview) -> int:
        """As `SSLSocket.recv_into`."""
        try:
            return self._run(lambda: self._layer.read(len(room), room))  # type: ignore[return-value]
        except ssl.SSLEOFError:
            return 0

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._outer.fileno()

    def close(self) -> None:
        """Closes the socket below."""
        self._outer.close()

    def _run(self, operation: Callable[[], T]) -> T:
        """Does it, and moves what it needs and gives. Raises SSLWantReadError or SSLWantWriteError to wait for."""
        self._flush()
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush()
                octets = self._outer.recv(_RECORD_BYTES)
                if octets:
                    self._incoming.write(octets)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._outer.send(self._unsent) :]


AnySocket = socket.socket | InnerTLS


_EXPIRED = {
    Code.TIMEOUT_CONNECT: "the connection was not ready in time",
    Code.TIMEOUT_FIRST_BYTE: "the head of the reply was not complete in time",
    Code.TIMEOUT_IDLE: "the server fell silent inside the body",
    Code.TIMEOUT_TOTAL: "the download took longer than total_timeout",
}


class Deadline(Struct, frozen=True):
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


class SocketInterrupt:
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


class Patience(Struct, frozen=True):
    """After how many seconds of silence `give_up` is called, once; the wait goes on."""

    seconds: float
    give_up: Callable[[], None]


_READABLE, _WRITABLE = select.POLLIN, select.POLLOUT


class Connection:
    """A connected socket, plain or TLS. Used by one worker at a time; `interrupt` is that worker's."""

    def __init__(self, origin: Origin, raw: socket.socket, interrupt: SocketInterrupt) -> None:
        self.origin = origin
        self.patience: Patience | None = None
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

    def borrow(self, interrupt: SocketInterrupt) -> None:
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
        seconds, patience = deadline.seconds_left(), self.patience
        if patience is not None and patience.seconds < seconds:
            ready = poll.poll(patience.seconds * 1000)
            if not ready:
                self.patience = None
                patience.give_up()
                ready = poll.poll(deadline.seconds_left() * 1000)
        else:
            ready = poll.poll(seconds * 1000)
        self._interrupt.check()
        if not ready:
            raise deadline.error()
