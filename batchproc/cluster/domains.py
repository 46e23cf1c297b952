"""The registrable domain of a URL's host: below it one organisation answers, and one machine at a time asks.

By the public suffix list (publicsuffix.org) as the package `publicsuffixlist` brings it: no network, and the same on
every machine that has the same version.
"""

import re
from collections.abc import Callable
from functools import cache
from ipaddress import AddressValueError, IPv6Address

from batchproc.hostname import ascii_host

_PLAIN = re.compile(r"(?!xn--)[a-z0-9-]{1,63}(?:\.(?!xn--)[a-z0-9-]{1,63}){0,3}")  # a name in its one spelling
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def authority_of(url: str) -> str:
    """The authority of an absolute URL, as the list spells it; empty where there is none."""
    found = _AUTHORITY.match(url)
    return found[1] if found else ""


def host_of(authority: str) -> str:
    """The host in an authority, in the one spelling by which two URLs are known for one; any text is taken."""
    name = authority.rpartition("@")[2]
    if name.startswith("["):
        return f"[{_compressed(name[1:].partition(']')[0])}]"
    name = name.partition(":")[0]
    if _PLAIN.fullmatch(name):
        return name
    try:
        return ascii_host(name)
    except ValueError:
        return name.lower()


@cache
def domain_finder() -> Callable[[str], str]:
    """What finds the registrable domain of a host; an address, and a name without a suffix, is its own."""
    from publicsuffixlist import PublicSuffixList

    suffixes = PublicSuffixList()

    def domain_of(host: str) -> str:
        if host.startswith("[") or host.replace(".", "").isdecimal():
            return host
        return suffixes.privatesuffix(host) or host

    return domain_of


def _compressed(address: str) -> str:
    try:
        return IPv6Address(address).compressed
    except AddressValueError:
        return address
