"""The lines of a list in files by a hash, so that what belongs together can be read at once, in bounded memory.

Before each line of `list.jsonl` stand the hash of its domain and that of its host, as hexadecimal digits.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from batchproc.cluster.domains import authority_of, domain_finder, host_of
from batchproc.cluster.plan import encode_line
from batchproc.model import ListedItem

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
