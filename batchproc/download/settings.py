"""What the download stage is told: limits, identity, and where it may go. Plain, frozen, picklable."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, section 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The `[download]` keys that a worker needs. Durations in seconds, sizes in bytes.

    Raises ValueError for a network, header or proxy that cannot be used.
    """

    connect_timeout_seconds: float = 5.0  # name look-up, TCP over all addresses and TLS together
    first_byte_timeout_seconds: float = 15.0  # until the whole head is here; then the longest silence inside a body
    total_timeout_seconds: float = 60.0  # redirects included
    min_speed_bytes_per_second: float = 1000.0  # over 10 s
    max_bytes: int = 32_000_000
    user_agent: str = "batchproc"
    allow_addresses: tuple[str, ...] = ()  # networks in CIDR notation
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str = ""
    honour_robots: bool = True
    per_host: int = 8  # connections to one origin that this process may have at once
    most_connections: int = 256  # of this process, idle ones included

    def __post_init__(self) -> None:
        for network in self.allow_addresses:
            ipaddress.ip_network(network, strict=False)
        for name, value in (("User-Agent", self.user_agent), *self.headers):
            if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
                raise ValueError(f"header {name!r} cannot be sent: a name is a token, a value is one line of Latin-1")
        if self.proxy and (urlsplit(self.proxy).scheme not in ("http", "https") or not urlsplit(self.proxy).hostname):
            raise ValueError("proxy must be an http:// or https:// URL with a host")
