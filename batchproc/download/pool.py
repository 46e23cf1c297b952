"""Kept-alive connections: one pool per origin, few origins per worker, handed to `requests` through its adapter."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import ProxyConfig
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers, parse_url

from batchproc.download.connection import GuardedHTTPConnection, GuardedHTTPSConnection, tls_context
from batchproc.download.flight import Flight
from batchproc.download.urls import Location
from batchproc.download.wire import WireReply
from batchproc.redact import silence_urllib3

silence_urllib3()  # here, so that every process that downloads does it

_NO_HEADERS: Mapping[str, str] = {}

# A worker that visits thousands of hosts keeps this many sockets at most.
_MOST_POOLS = 8


class LeasingHTTPPool(HTTPConnectionPool):
    """The connection to one origin. Lends it for one exchange; the reply gives it back. Used by one worker."""

    ConnectionCls = GuardedHTTPConnection  # type: ignore[assignment]
    forwarded = False  # by a proxy that reads the request, instead of through its tunnel

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, body: None = None, headers: Mapping[str, str] = _NO_HEADERS, **_options: object
    ) -> WireReply:
        """Sends a request without a body and reads the head of its reply.

        urllib3's own method spends more time on retries, redirects, time-out objects and URL encoding, none of which
        is wanted here, than the exchange takes. Raises what the connection raises.
        """
        connection: Any = self._get_conn()
        try:
            if self.proxy is not None and not self.forwarded and connection.is_closed:
                self._prepare_proxy(connection)
            connection.request(method, url, headers={**headers, **self.proxy_headers} if self.forwarded else headers)
            reply: WireReply = connection.getresponse()
        except BaseException:
            self.take_back(connection, keep=False)
            raise
        reply.lease(self, connection)
        return reply

    def take_back(self, connection: Any, keep: bool) -> None:
        """Keeps the connection for the next request, or closes it."""
        if not keep:
            connection.close()
        self._put_conn(connection if keep else None)


class LeasingHTTPSPool(LeasingHTTPPool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = GuardedHTTPSConnection  # type: ignore[assignment]


class LeanRequest(requests.PreparedRequest):
    """A request that needs no preparation: its location was parsed and its headers were checked before."""

    def __init__(self, location: Location, headers: dict[str, str]) -> None:
        super().__init__()
        self.location = location
        self.method = "GET"
        self.url = location.url
        self.headers = headers  # type: ignore[assignment]


class LeanReply(requests.Response):
    """A response without cookie jar, history and encoding guess: making those costs more than reading a small head.

    Its `headers` are looked up by lower-case name.
    """

    def __init__(self, request: LeanRequest, raw: Any) -> None:
        self.request = request
        self.raw = raw
        self.status_code = raw.status
        self.reason = raw.reason
        self.headers = raw.headers
        self.url = request.url or ""
        self._content = False  # type: ignore[assignment]
        self._content_consumed = False


class LeanAdapter(HTTPAdapter):
    """The transport adapter of one worker. `send` is `requests`' own."""

    def __init__(self, flight: Flight) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._flight = flight
        self._pools: OrderedDict[tuple[str, str], LeasingHTTPPool] = OrderedDict()  # least recently used first
        proxy = flight.settings.proxy
        self._proxy = parse_url(proxy) if proxy else None
        self._proxy_headers = make_headers(proxy_basic_auth=self._proxy.auth) if self._proxy else {}

    def get_connection_with_tls_context(self, request: Any, *_args: Any, **_options: Any) -> Any:
        """The pool for the request's origin."""
        origin = request.location.origin
        key = (origin.scheme, origin.authority)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._new_pool(origin.scheme, origin.host, origin.port)
            if len(self._pools) > _MOST_POOLS:
                self._pools.popitem(last=False)[1].close()
        self._pools.move_to_end(key)
        return pool

    def _new_pool(self, scheme: str, host: str, port: int) -> LeasingHTTPPool:
        options: dict[str, Any] = {"maxsize": 1, "flight": self._flight}
        forwarded = self._proxy is not None and scheme == "http"
        if self._proxy is not None:
            options |= {"_proxy": self._proxy, "_proxy_headers": self._proxy_headers}
            options["_proxy_config"] = ProxyConfig(tls_context(), False, None, None)
            if forwarded:  # the connection is to the proxy itself
                scheme = self._proxy.scheme or "http"
                host, port = self._proxy.host or "", self._proxy.port or (443 if scheme == "https" else 80)
        if scheme == "https":
            options["ssl_context"] = tls_context()
        pool = LeasingHTTPSPool(host, port, **options) if scheme == "https" else LeasingHTTPPool(host, port, **options)
        pool.forwarded = forwarded
        return pool

    def cert_verify(self, *_args: object, **_options: object) -> None:
        """Nothing: every pool for https carries the one verifying context."""

    def request_url(self, request: Any, *_args: object) -> str:
        """What stands in the request line: the whole URL for a forwarding proxy, else path and query."""
        location: Location = request.location
        return location.url if self._proxy is not None and location.origin.scheme == "http" else location.target

    def build_response(self, req: Any, resp: Any) -> LeanReply:
        """Wraps the reply, without cookies."""
        return LeanReply(req, resp)

    def close(self) -> None:
        """Closes every kept connection."""
        while self._pools:
            self._pools.popitem()[1].close()
        super().close()
