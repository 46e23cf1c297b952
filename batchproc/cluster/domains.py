"""The registrable domain of a URL's host: below it one organisation answers, and one machine at a time asks.

By the public suffix list (publicsuffix.org) as the package `publicsuffixlist` brings it: no network, and the same on
every machine that has the same version.
"""

from collections.abc import Callable
from functools import lru_cache


def host_of(url: str) -> str:
    """The host in an absolute URL, without user, port and case. As the lists have it: nothing is checked."""
    authority = url.split("/", 3)[2] if url.count("/") >= 2 else ""
    name = authority.rpartition("@")[2]
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].lower().rstrip(".")


def domain_finder() -> Callable[[str], str]:
    """What finds the registrable domain of a host; an address, and a name without a suffix, is its own."""
    from publicsuffixlist import PublicSuffixList

    suffixes = PublicSuffixList()

    @lru_cache(maxsize=1 << 16)
    def domain_of(host: str) -> str:
        if host.startswith("[") or host.replace(".", "").isdecimal():
            return host
        return suffixes.privatesuffix(host) or host

    return domain_of
