"""The transport: one GET after the other over the run's connections, straight or through a proxy, each wait bound.

A library's client knows neither a deadline per exchange nor a pool that all threads of a run share, and costs three
to ten times the CPU of an exchange. What an exchange is made of: `dial`, `pool`, `connection` and `reply`.
"""

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from urllib.parse import urlsplit

from msgspec import Struct

from batchproc.download.connection import (
    Connection,
    Deadline,
    Patience,
    SocketInterrupt,
    certificate_wanted,
    tls_context,
)
from batchproc.download.dial import AddressGuard, Dialler
from batchproc.download.pool import Pool
from batchproc.download.reply import ReceiveBuffer, StaleConnectionError, WireReply, receive_head
from batchproc.download.settings import Settings, Site
from batchproc.download.urls import Location, Origin, basic_authorization
from batchproc.errors import Code, Retry, StageError
from batchproc.protocols import Lap

_UNKNOWN_ISSUER = frozenset((2, 18, 19, 20, 21))  # X509_V_ERR_*: OpenSSL's x509_vfy.h
_WRONG_NAME = frozenset((62, 64))


class Proxy(Struct, frozen=True, kw_only=True):
    """A proxy, and what it is told of us."""

    scheme: str
    host: str
    port: int
    headers: Mapping[str, str]


@lru_cache(maxsize=256)
def proxy_of(url: str) -> Proxy | None:
    """The proxy of a URL that was checked before; None for an empty one."""
    if not url:
        return None
    parts = urlsplit(url)
    user_info = parts.netloc.rpartition("@")[0]
    return Proxy(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=parts.port or (443 if parts.scheme == "https" else 80),
        headers={"Proxy-Authorization": basic_authorization(user_info)} if user_info else {},
    )


class Route:
    """Makes connections for one worker."""

    def __init__(self, settings: Settings, interrupt: SocketInterrupt, inbox: ReceiveBuffer) -> None:
        self._dialler = Dialler(AddressGuard(settings.allow_addresses), interrupt)
        self._interrupt = interrupt
        self._inbox = inbox

    def connect(self, origin: Origin, site: Site, deadline: Deadline, lap: Lap) -> Connection:
        """A connection over which `origin` can be asked. Books dns and connect on `lap`.

        Raises `StageError`: `dns`, `policy.address`, `connect`, `tls`, what the deadline says.
        """
        proxy = proxy_of(site.proxy)
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        raw = self._dialler.dial(host, port, deadline, lap)
        connection = Connection(origin, raw, self._interrupt)
        try:
            self._interrupt.check()
            if proxy and proxy.scheme == "https":
                _secure(connection, host, tls_context(site.ca_file), deadline)
            if origin.scheme == "https":
                if proxy:
                    self._open_tunnel(connection, proxy, deadline)
                context = tls_context(site.ca_file, site.client_cert, site.client_key)
                _secure(connection, origin.host, context, deadline)
        except BaseException:
            connection.hand_back()
            connection.close()
            raise
        lap("connect")
        return connection

    def _open_tunnel(self, connection: Connection, proxy: Proxy, deadline: Deadline) -> None:
        """Asks the proxy to pass bytes on (RFC 9110, section 9.3.6)."""
        target = f"{_bracketed(connection.origin.host)}:{connection.origin.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
        try:
            connection.send("\r\n".join((*lines, "\r\n")).encode("latin-1"), deadline)
            status_code = receive_head(self._inbox, connection, deadline).status_code
        except OSError:
            status_code = 0
        except StageError as error:
            if error.code not in (Code.CONNECT, Code.TRUNCATED, Code.PROTO):
                raise
            status_code = 0
        if not 200 <= status_code < 300 or self._inbox.start != self._inbox.end:
            said = f": it answered {status_code}" if status_code else ""
            raise StageError(Code.PROXY, f"the proxy did not open a tunnel to {connection.origin.host}{said}")
        connection.answered = False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _secure(connection: Connection, host: str, context: ssl.SSLContext, deadline: Deadline) -> None:
    """Server name and certificate are checked against the name, not the address."""
    try:
        connection.secure(context, host.rstrip("."), deadline)
    except ssl.SSLCertVerificationError as error:
        raise _refused_certificate(host, error) from None
    except (OSError, ValueError) as error:  # TLS errors are OSErrors; a name that cannot be sent is a ValueError
        wanted = certificate_wanted(error, host) if isinstance(error, OSError) else None
        raise wanted or StageError(Code.TLS, f"the TLS handshake with {host} failed", retry=Retry.ONCE) from None


def _refused_certificate(host: str, error: ssl.SSLCertVerificationError) -> StageError:
    """The failure of a certificate: what is wrong with it, in OpenSSL's few words, which name nobody."""
    if error.verify_code in _UNKNOWN_ISSUER:
        message, hint = f"the certificate of {host} is of an unknown authority", "if it is yours, name it in ca_file"
    elif error.verify_code in _WRONG_NAME:
        message, hint = f"the certificate of {host} is for another name", ""
    else:
        message, hint = f"the certificate of {host} is not valid: {error.verify_message}", ""
    return StageError(Code.TLS, message, hint=hint)


LEAST_PATIENCE_SECONDS = 0.25
PATIENCE = 2  # times the usual time: what takes longer is a long wait


class Request(Struct, frozen=True):
    """A GET that needs no preparation: its location was parsed and its headers were checked before."""

    location: Location
    site: Site
    headers: Mapping[str, str]
    total: Deadline
    lap: Lap

    @property
    def forwarder(self) -> Proxy | None:
        """The proxy that reads the request itself, and is told the whole URL and who we are; None without one."""
        return proxy_of(self.site.proxy) if self.location.origin.scheme == "http" else None


class Transport:
    """One worker's transport. Only `interrupt` is for other threads."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.interrupt = SocketInterrupt()
        self._settings = settings
        self._pool = pool
        self._inbox = ReceiveBuffer()
        self._route = Route(settings, self.interrupt, self._inbox)

    def send(self, request: Request) -> WireReply:
        """Sends a GET and reads the head of its reply, whose body may be read then; at most one is open at a time.

        A kept connection that turns out to be closed is replaced once. The limits of time are the settings'; whom to
        trust and which proxy to use are theirs, too. Raises `StageError`.
        """
        try:
            return self._exchange(request)
        except StaleConnectionError:
            return self._exchange(request, fresh=True)

    def give_up_idle(self, refused: Request, reply: WireReply) -> None:
        """Closes the connection of a refusal and those that are idle: the host may need their slots for others."""
        reply.close()
        self._pool.drop_idle(refused.location.origin, refused.lap)

    def _exchange(self, request: Request, *, fresh: bool = False) -> WireReply:
        connection = self._connect(request, fresh)
        give_back = partial(self._give_back, request.lap)
        try:
            seconds = self._settings.first_byte_timeout_seconds
            deadline = Deadline.after(seconds, Code.TIMEOUT_FIRST_BYTE).or_earlier(request.total)
            self._ask(request, connection, deadline)
            connection.patience = self._patience(request)
            asked = time.monotonic()
            head = receive_head(self._inbox, connection, deadline)
            connection.patience = None
            request.lap.long_wait_over()
            self._pool.note_head(time.monotonic() - asked)
            connection.keep_seconds = head.keep_seconds
            return WireReply(head, self._inbox, connection, give_back, idle_seconds=seconds, total=request.total)
        except BaseException:
            give_back(connection, False)
            raise

    def _patience(self, request: Request) -> Patience | None:
        """None before the first reply: a host that is slow and well is not to be taken for a silent one."""
        usual = self._pool.usual_seconds
        if usual is None:
            return None
        seconds = max(LEAST_PATIENCE_SECONDS, PATIENCE * usual)
        return Patience(seconds, partial(request.lap.long_wait, request.location.origin.authority))

    def _connect(self, request: Request, fresh: bool) -> Connection:
        origin, lap = request.location.origin, request.lap
        seconds = self._settings.connect_timeout_seconds
        deadline = Deadline.after(seconds, Code.TIMEOUT_CONNECT).or_earlier(request.total)
        connection = self._pool.take(origin, deadline, self.interrupt.check, lap, fresh=fresh)
        if connection is not None:
            connection.borrow(self.interrupt)
            lap.count(f"reused {origin.authority}")
            return connection
        try:
            connection = self._route.connect(origin, request.site, deadline, lap)
        except BaseException:
            self._pool.give_up(origin)
            raise
        lap.count(f"opened {origin.authority}")
        return connection

    def _give_back(self, lap: Lap, connection: Connection, keep: bool) -> None:
        self._pool.give_back(connection, lap, keep=keep)

    def _ask(self, request: Request, connection: Connection, deadline: Deadline) -> None:
        """Sends the request in one piece."""
        location, headers = request.location, request.headers
        target = location.target
        if proxy := request.forwarder:
            target, headers = location.url, {**headers, **proxy.headers}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "\r\n"]
        with suppress(OSError):  # what the other side said before it hung up, and why, is read next
            connection.send("\r\n".join(lines).encode("latin-1"), deadline)
