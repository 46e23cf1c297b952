"""The address guard: which IP addresses a download may connect to.

`ipaddress` alone is not enough: on CPython 3.11 `is_global` is true for NAT64, 6to4, fec0::/10, every multicast address
and for cloud metadata services that live on public addresses. So the refused networks are written out here, addresses
that carry an IPv4 address inside are unwrapped, and both are judged.

Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890 and its updates); RFC 6052 (NAT64),
RFC 3056 (6to4), RFC 4380 (Teredo), RFC 4291 section 2.5.5 (mapped and compatible).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

REFUSED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and a metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host services on a public address
        "169.254.0.0/16",  # link-local, and metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

GLOBAL_IPV6 = IPv6Network("2000::/3")  # the only part that is given out; what lies outside is refused

REFUSED_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")

Address = IPv4Address | IPv6Address


class AddressGuard:
    """Says which addresses may be dialled. Immutable, safe to share between threads.

    `allow` opens networks in CIDR notation that the table refuses; an address inside another (as ::ffff:127.0.0.1) is
    open when the inner one is.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._open = tuple(ip_network(text, strict=False) for text in allow)

    def permits(self, text: str) -> bool:
        """Whether the address may be dialled; a scope (`%eth0`) is ignored."""
        address = ip_address(text.partition("%")[0])
        inner = embedded_ipv4(address)
        if self._opened(address) or (inner is not None and self._opened(inner)):
            return True
        return not is_refused(address) and (inner is None or not is_refused(inner))

    def _opened(self, address: Address) -> bool:
        return any(address in network for network in self._open)


def is_refused(address: Address) -> bool:
    """Whether the table refuses this address itself, whatever it may carry inside."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in REFUSED_IPV4)
    if address.ipv4_mapped is not None or address in _NAT64:
        return False  # judged by the address inside
    return address not in GLOBAL_IPV6 or any(address in network for network in REFUSED_IPV6)


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries (mapped, compatible, NAT64, 6to4, Teredo's client), or None."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour
