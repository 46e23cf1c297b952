"""What the download stage is told: limits, identity, and where it may go. Plain, frozen, picklable."""

import ipaddress
import re
from urllib.parse import urlsplit

from msgspec import Struct

from batchproc import defaults
from batchproc.hostname import closest

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_MOST_KNOWN = 4096
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, section 5.5


class Site(Struct, frozen=True, kw_only=True):
    """How the hosts of one pattern are asked. Raises ValueError for a header that cannot be sent."""

    per_host: int
    honour_robots: bool
    headers: tuple[tuple[str, str], ...] = ()  # sent to these hosts alone, however a request came to them
    proxy: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""

    def __post_init__(self) -> None:
        _check_headers(self.headers)


class Settings(Struct, frozen=True, kw_only=True):
    """The `[download]` keys that a worker needs. Durations in seconds, sizes in bytes.

    Raises ValueError for a network, header or proxy that cannot be used.
    """

    # name look-up, TCP over all addresses and TLS together
    connect_timeout_seconds: float = defaults.CONNECT_TIMEOUT_SECONDS
    # until the whole head is here; then the longest silence inside a body
    first_byte_timeout_seconds: float = defaults.FIRST_BYTE_TIMEOUT_SECONDS
    total_timeout_seconds: float = defaults.TOTAL_TIMEOUT_SECONDS  # redirects included
    min_speed_bytes_per_second: float = defaults.MIN_SPEED_BYTES_PER_SECOND  # over 10 s
    max_bytes: int = defaults.MAX_BYTES
    user_agent: str = "batchproc"
    allow_addresses: tuple[str, ...] = ()  # networks in CIDR notation
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str = ""
    honour_robots: bool = True
    ca_file: str = ""  # PEM with authorities to trust beside the public ones
    client_cert: str = ""  # PEM; with its key, unless `client_key` has it
    client_key: str = ""
    sites: tuple[tuple[str, "Site"], ...] = ()  # by host pattern: what differs from all this
    per_host: int = defaults.PER_HOST  # connections to one origin that this process may have at once
    most_connections: int = 256  # of this process, idle ones included
    local_roots: tuple[str, ...] = ()  # folders below which file:// may be read
    robots_folder: str = ""  # where worker processes tell each other what they have read; empty = in memory alone

    def __post_init__(self) -> None:
        for network in self.allow_addresses:
            ipaddress.ip_network(network, strict=False)
        _check_headers((("User-Agent", self.user_agent), *self.headers))
        if self.proxy and (urlsplit(self.proxy).scheme not in ("http", "https") or not urlsplit(self.proxy).hostname):
            raise ValueError("proxy must be an http:// or https:// URL with a host")


class Sites:
    """Looks up how a host is asked. Not thread-safe, but for the pool's, which has a lock."""

    def __init__(self, settings: Settings) -> None:
        self._patterns = dict(settings.sites)
        self._known: dict[tuple[str, int], Site] = {}
        self._usual = Site(
            per_host=settings.per_host,
            honour_robots=settings.honour_robots,
            proxy=settings.proxy,
            ca_file=settings.ca_file,
            client_cert=settings.client_cert,
            client_key=settings.client_key,
        )

    def of(self, host: str, port: int) -> Site:
        """How a host is asked at a port."""
        if not self._patterns:
            return self._usual
        site = self._known.get((host, port))
        if site is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            site = self._known[host, port] = closest(self._patterns, host.rstrip("."), port) or self._usual
        return site


def _check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"header {name!r} cannot be sent: a name is a token, a value is one line of Latin-1")
