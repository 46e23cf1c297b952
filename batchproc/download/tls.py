"""TLS: whom this process trusts, and TLS inside the TLS of a proxy, which the standard library's socket cannot do."""

import socket
import ssl
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import certifi

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
