"""TLS: whom this process trusts, and TLS inside the TLS of a proxy, which the standard library's socket cannot do."""

import socket
import ssl
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from requests.utils import DEFAULT_CA_BUNDLE_PATH

T = TypeVar("T")

_RECORD_BYTES = 16_384

_context_lock = Lock()  # guards the one below
_context: ssl.SSLContext | None = None


def tls_context() -> ssl.SSLContext:
    """The TLS settings and trusted authorities of this process: made once, since loading the bundle takes 10 ms."""
    global _context
    with _context_lock:
        if _context is None:
            _context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
            _context.set_alpn_protocols(["http/1.1"])
        return _context


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
