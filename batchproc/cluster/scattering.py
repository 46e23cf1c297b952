"""The lines of a list in files by a hash, so that what belongs together can be read at once, in bounded memory.

Before each line of `list.jsonl` stand the hash of its registrable domain and that of its host, as hexadecimal digits.
Below such a domain one organisation answers, and one machine at a time asks: by the public suffix list
(publicsuffix.org) as the package `publicsuffixlist` brings it, without a network, and the same on every machine that
has the same version.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache, lru_cache
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from batchproc.cluster.plan import encode_line
from batchproc.hostname import ascii_host
from batchproc.model import ListedItem

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


BUCKETS = 256
BUFFER_BYTES = 64 << 10
HASH = 16  # digits
PREFIX = 2 * HASH
KEY = 32  # digits
CACHED = 1 << 18  # hosts of which the place is known: some 350 bytes each


class Placed(Struct, frozen=True, kw_only=True):
    """Where a host belongs. `prefix`: what stands before its lines."""

    domain: str
    prefix: bytes


class Scattering:
    """Files below `folder`, of which each is used up by whoever reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        domain_of = domain_finder()

        @lru_cache(maxsize=CACHED)
        def place(authority: str) -> Placed:
            host = host_of(authority)
            domain = domain_of(host)
            return Placed(domain=domain, prefix=_hash(domain) + _hash(host))

        self._place = place

    def place(self, url: str) -> Placed:
        """Where a line with this URL, or whatever stands in its place, belongs."""
        return self._place(authority_of(url))

    def lines(self, items: Iterable[ListedItem]) -> Iterator[bytes]:
        """The lines of a list, each with where it belongs before it."""
        place = self._place
        return (place(authority_of(item.url)).prefix + encode_line(item) for item in items)

    def by_key(self, lines: Iterable[bytes]) -> Iterator[Path]:
        """Files of which each has all lines of some keys, in their order."""
        return self.scatter("key", ((key_hex_of(line), line) for line in lines))

    def by_domain(self, lines: Iterable[bytes]) -> Iterator[Path]:
        """Files in the order of the domains' hashes, each of all lines of some domains."""
        return self.scatter("domain", ((line, line) for line in lines))

    def scatter(self, name: str, lines: Iterable[tuple[bytes, bytes]]) -> Iterator[Path]:
        """Each line into the file that the first two digits of what decides name; a file without lines is missing."""
        with ExitStack() as stack:
            files = _Files(stack, self.folder, name)
            for deciding, line in lines:
                files[deciding[:2]].write(line)
        return (self.folder / f"{name}-{number:02x}" for number in range(BUCKETS))


class _Files(dict[bytes, BinaryIO]):
    """Files by the end of their names, opened at their first line."""

    def __init__(self, stack: ExitStack, folder: Path, name: str) -> None:
        super().__init__()
        self._stack = stack
        self._folder = folder
        self._name = name

    def __missing__(self, end: bytes) -> BinaryIO:
        path = self._folder / f"{self._name}-{end.decode()}"
        file = self[end] = self._stack.enter_context(path.open("wb", BUFFER_BYTES))
        return file


def read_bucket(path: Path) -> Iterator[bytes]:
    """The lines of a file, which is gone then."""
    if path.exists():
        with path.open("rb") as lines:
            yield from lines
        path.unlink()


def beside_the_first(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Each line with the place of the first one that has its key: one with the id of an earlier line comes to that
    line, whatever its URL, as one of both is wrong."""
    first: dict[bytes, bytes] = {}
    for line in lines:
        yield first.setdefault(key_hex_of(line), line[:PREFIX]) + line[PREFIX:]


def place_of(line: bytes) -> int:
    """Where a scattered line stands in the lists."""
    return int(line[PREFIX + 1 : line.index(b",", PREFIX)])


def key_hex_of(line: bytes) -> bytes:
    """The key of a scattered line."""
    start = line.index(b'"', PREFIX) + 1
    return line[start : start + KEY]


def text_of(line: bytes) -> bytes:
    """All of a scattered line but where it belongs and stands."""
    return line[line.index(b",", PREFIX) :]


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH // 2).hexdigest().encode()
