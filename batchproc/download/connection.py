"""Connections that urllib3's pools hand out, with the parts replaced that decide safety and cost.

Dialling goes through the flight (address guard, watchdog). A request is one `sendall`, its reply's head is parsed in
one pass. TLS, proxies and the pooling stay urllib3's. A connection and its pool belong to one worker.
"""

import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from threading import Lock
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.ssl_match_hostname import CertificateError

from batchproc.download.flight import Flight
from batchproc.download.wire import StaleConnectionError, WireReply, receive_head
from batchproc.errors import Code, Retry, StageError

_context_lock = Lock()  # guards the one below
_context: ssl.SSLContext | None = None


def tls_context() -> ssl.SSLContext:
    """The TLS settings and trusted authorities of this process: made once, since loading the bundle takes 10 ms."""
    global _context
    with _context_lock:
        if _context is None:
            _context = create_urllib3_context()
            _context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
            _context.verify_mode = ssl.CERT_REQUIRED
        return _context


class GuardedHTTPConnection(HTTPConnection):
    """A plain connection."""

    def __init__(self, *args: Any, flight: Flight, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flight = flight
        self._answered = False  # this connection has brought a reply: it may have been closed since
        self._deadline = 0.0

    def _new_conn(self) -> socket.socket:
        raw, self._deadline = self._flight.dial(self._dns_host, self.port)
        return raw

    def connect(self) -> None:
        """Dials. Raises `StageError`."""
        super().connect()
        self._settle()

    def _settle(self) -> None:
        assert self.sock is not None
        self._answered = False
        self.sock.settimeout(self._flight.settings.first_byte_timeout_seconds)
        self._flight.lap("connect")

    def request(  # type: ignore[override]
        self, method: str, url: str, body: None = None, headers: Mapping[str, str] | None = None, **_options: object
    ) -> None:
        """Sends a request without a body in one piece. `url` and `headers` must have been checked.

        Raises `StageError`; `StaleConnectionError` when a kept connection turns out to be closed.
        """
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in (headers or {}).items()), "\r\n"]
        self._flight.await_head(self.sock)
        try:
            self.sock.sendall("\r\n".join(lines).encode("latin-1"))
        except OSError:
            self._flight.watch.check()
            if self._answered:
                raise StaleConnectionError from None
            raise lost_before_reply(self._flight.host) from None

    def getresponse(self) -> WireReply:  # type: ignore[override]
        """Reads the head of the reply. Raises as `request` does, and `proto`, `timeout.first_byte`."""
        assert self.sock is not None
        reply = WireReply(receive_head(self._flight, self.sock, self._answered), self._flight, self.sock)
        self._answered = True
        return reply


class GuardedHTTPSConnection(GuardedHTTPConnection, HTTPSConnection):
    """A TLS connection. Server name and certificate are checked against the name, not the address."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        raw = super()._new_conn()
        # The handshake moves the descriptor into another object; a duplicate can still shut the connection down.
        self._handle = socket.socket(fileno=socket.dup(raw.fileno()))
        self._flight.await_connection(self._handle, self._deadline)
        return raw

    def connect(self) -> None:
        """Dials and shakes hands. Raises `StageError`."""
        try:
            HTTPSConnection.connect(self)
            if not (self.is_verified or self.proxy_is_verified):
                raise StageError(Code.TLS, f"the certificate of {self.host} was not checked")
        except (OSError, CertificateError, HTTPException) as error:  # TLS errors are OSErrors
            self._flight.watch.check()
            raise self._handshake_error(error) from None
        finally:
            self._drop_handle()
        self._settle()

    def _drop_handle(self) -> None:
        self._flight.watch.disarm()
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _handshake_error(self, error: Exception) -> StageError:
        host = self._flight.host
        if isinstance(error, (ssl.SSLCertVerificationError, CertificateError)):
            return StageError(Code.TLS, f"the certificate of {host} is not valid for it")
        if isinstance(error, TimeoutError):
            return StageError(Code.TIMEOUT_CONNECT, f"{host} did not finish the TLS handshake in time")
        if self.proxy is not None and not isinstance(error, ssl.SSLError):
            return StageError(Code.CONNECT, "the proxy did not open a tunnel")
        return StageError(Code.TLS, f"the TLS handshake with {host} failed", retry=Retry.ONCE)


def lost_before_reply(host: str) -> StageError:
    """The failure of a connection that ended before a byte of the reply."""
    return StageError(Code.CONNECT, f"{host} closed the connection without a reply")
