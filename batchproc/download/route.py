"""The way to an origin: straight, through a proxy that forwards plain requests, or through its tunnel."""

import ssl
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from msgspec import Struct

from batchproc.download.connection import Connection, Deadline, SocketInterrupt
from batchproc.download.dial import Dialler
from batchproc.download.guard import AddressGuard
from batchproc.download.reply import ReceiveBuffer, receive_head
from batchproc.download.settings import Settings, Site, Sites
from batchproc.download.tls import certificate_wanted, tls_context
from batchproc.download.urls import Origin, basic_authorization
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
        self._sites = Sites(settings)

    def forwarder(self, origin: Origin) -> Proxy | None:
        """The proxy that reads the request itself, and is told the whole URL and who we are; None without one."""
        return proxy_of(self._site(origin).proxy) if origin.scheme == "http" else None

    def connect(self, origin: Origin, deadline: Deadline, lap: Lap) -> Connection:
        """A connection over which `origin` can be asked. Books dns and connect on `lap`.

        Raises `StageError`: `dns`, `policy.address`, `connect`, `tls`, what the deadline says.
        """
        site = self._site(origin)
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

    def _site(self, origin: Origin) -> Site:
        return self._sites.of(origin.host, origin.port)

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
