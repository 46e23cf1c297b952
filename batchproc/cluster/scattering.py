"""The lines of a list in files by a hash, so that what belongs together can be read at once, in bounded memory.

Before each line of `list.jsonl` stand the hash of its domain and that of its host, as hexadecimal digits.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from batchproc.cluster.domains import authority_of, domain_finder, host_of
from batchproc.cluster.plan import encode_line
from batchproc.ledger import ListedItem

BUCKETS = 256
BUFFER_BYTES = 64 << 10
HASH = 16  # digits
PREFIX = 2 * HASH
KEY = 32  # digits
CACHED = 1 << 18  # hosts of which the place is known: some 350 bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a host belongs. `prefix`: what stands before its lines."""

    domain: str
    prefix: bytes


class Scattering:
    """Files below `folder`, of which each is used up by whoever reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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

    def by_domain(self, items: Iterable[ListedItem], *, keyed_by_id: bool) -> Iterator[Path]:
        """The lines by domain: files in the order of the domains' hashes, each of all lines of some domains.

        `keyed_by_id`: what has the id of an earlier line comes to that line, whatever its URL, as one of both is wrong.
        """
        lines = (self.place(item.url).prefix + encode_line(item) for item in items)
        if keyed_by_id:
            keyed = self._scatter("key", ((key_hex_of(line), line) for line in lines))
            lines = (line for bucket in keyed for line in _beside_the_first(bucket))
        return self._scatter("domain", ((line, line) for line in lines))

    def _scatter(self, name: str, lines: Iterable[tuple[bytes, bytes]]) -> Iterator[Path]:
        """Each line into the file that the first two digits of what decides name."""
        paths = [self._folder / f"{name}-{number:03d}" for number in range(BUCKETS)]
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb", BUFFER_BYTES)) for path in paths]
            write = {b"%02x" % number: file.write for number, file in enumerate(files)}
            for deciding, line in lines:
                write[deciding[:2]](line)
        return iter(paths)


def _beside_the_first(bucket: Path) -> Iterator[bytes]:
    """The lines of a file in their order, each with the place of the first one that has its key."""
    first: dict[bytes, bytes] = {}
    with bucket.open("rb") as lines:
        for line in lines:
            yield first.setdefault(key_hex_of(line), line[:PREFIX]) + line[PREFIX:]
    bucket.unlink()


def place_of(line: bytes) -> int:
    """Where a scattered line stands in the lists."""
    return int(line[PREFIX + 1 : line.index(b",", PREFIX)])


def key_hex_of(line: bytes) -> bytes:
    """The key of a scattered line."""
    start = line.index(b'"', PREFIX) + 1
    return line[start : start + KEY]


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH // 2).hexdigest().encode()
