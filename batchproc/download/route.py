"""The way to an origin: straight, through a proxy that forwards plain requests, or through its tunnel."""

import ssl
from urllib.parse import urlsplit

from batchproc.download.connection import Connection
from batchproc.download.deadline import Deadline, Interrupt
from batchproc.download.dial import Dialler
from batchproc.download.guard import AddressGuard
from batchproc.download.settings import Settings
from batchproc.download.tls import tls_context
from batchproc.download.urls import Origin, basic_authorization
from batchproc.download.wire import Inbox, receive_head
from batchproc.errors import Code, Retry, StageError
from batchproc.protocols import Lap


class Route:
    """Makes connections for one worker."""

    def __init__(self, settings: Settings, interrupt: Interrupt, inbox: Inbox) -> None:
        self._dialler = Dialler(AddressGuard(settings.allow_addresses), interrupt)
        self._interrupt = interrupt
        self._inbox = inbox
        proxy = urlsplit(settings.proxy) if settings.proxy else None
        self._proxy_scheme = proxy.scheme if proxy else ""
        self._proxy_host = (proxy.hostname or "") if proxy else ""
        self._proxy_port = (proxy.port or (443 if proxy.scheme == "https" else 80)) if proxy else 0
        user_info = proxy.netloc.rpartition("@")[0] if proxy else ""
        self._proxy_headers = {"Proxy-Authorization": basic_authorization(user_info)} if user_info else {}

    def is_forwarded(self, origin: Origin) -> bool:
        """Whether a proxy reads the request itself: it is then told the whole URL, and who we are."""
        return bool(self._proxy_scheme) and origin.scheme == "http"

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What the proxy is told of us."""
        return self._proxy_headers

    def connect(self, origin: Origin, deadline: Deadline, lap: Lap) -> Connection:
        """A connection over which `origin` can be asked. Books dns and connect on `lap`.

        Raises `StageError`: `dns`, `policy.address`, `connect`, `tls`, what the deadline says.
        """
        host, port = (self._proxy_host, self._proxy_port) if self._proxy_scheme else (origin.host, origin.port)
        raw = self._dialler.dial(host, port, deadline, lap)
        connection = Connection(origin, raw, self._interrupt)
        try:
            self._interrupt.check()
            if self._proxy_scheme == "https":
                _secure(connection, host, deadline)
            if origin.scheme == "https":
                if self._proxy_scheme:
                    self._open_tunnel(connection, deadline)
                _secure(connection, origin.host, deadline)
        except BaseException:
            connection.hand_back()
            connection.close()
            raise
        lap("connect")
        return connection

    def _open_tunnel(self, connection: Connection, deadline: Deadline) -> None:
        """Asks the proxy to pass bytes on (RFC 9110, section 9.3.6)."""
        target = f"{_bracketed(connection.origin.host)}:{connection.origin.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in self._proxy_headers.items()]
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
            raise StageError(Code.CONNECT, "the proxy did not open a tunnel")
        connection.answered = False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _secure(connection: Connection, host: str, deadline: Deadline) -> None:
    """Server name and certificate are checked against the name, not the address."""
    try:
        connection.secure(tls_context(), host.rstrip("."), deadline)
    except ssl.SSLCertVerificationError:
        raise StageError(
            Code.TLS, f"the certificate of {host} is not valid for it"
        ) from None
    except (OSError, ValueError):  # TLS errors are OSErrors; a name that cannot be sent is a ValueError
        raise StageError(Code.TLS, f"the TLS handshake with {host} failed", retry=Retry.ONCE) from None
