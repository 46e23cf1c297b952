"""The lines of a list in files by a hash, so that what belongs together can be read at once, in bounded memory; and
what became of the lines of parts by now, which is found out that way.

Before each line of `list.jsonl` stand the hash of its registrable domain and that of its host, as hexadecimal digits.
Below such a domain one organisation answers, and one machine at a time asks: by the public suffix list
(publicsuffix.org) as the package `publicsuffixlist` brings it, without a network, and the same on every machine that
has the same version.

A list that has changed since its parts were planned is compared key by key, a 256th of them at a time. A line whose URL
is another one by now, or that left the list and came back, is new: its part forgets it, and a part of the new ones
brings it again.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from functools import cache, lru_cache
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import BinaryIO, Self

from msgspec import Struct, field

from batchproc.cluster.shard_plan import decode_line, encode_line
from batchproc.hostname import ascii_host
from batchproc.ledger import contradiction_key
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

    def scatter(self, name: str, lines: Iterable[tuple[bytes, bytes]]) -> Iterator[Path]:
        """Each line into the file that the first two digits of what decides name; a file without lines is missing."""
        with ExitStack() as stack:

            @cache
            def file_of(end: bytes) -> BinaryIO:
                return stack.enter_context((self.folder / f"{name}-{end.decode()}").open("wb", BUFFER_BYTES))

            for deciding, line in lines:
                file_of(deciding[:2]).write(line)
        return (self.folder / f"{name}-{number:02x}" for number in range(BUCKETS))


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


FILES = 64  # in which changes wait for their order


class ChangeKind(StrEnum):
    """What became of a key that a part had."""

    GONE = "-"  # it left the list
    AGAIN = "!"  # a later part has it
    MOVED = "="  # its lines stand elsewhere in the list
    CHANGED = "~"  # its columns are others


LEFT = frozenset({ChangeKind.GONE, ChangeKind.AGAIN})


class Change(Struct):
    """What became of one key of a part, and its lines as the list has them now."""

    kind: ChangeKind
    items: list[ListedItem] = field(default_factory=list)


class Changes(Struct, frozen=True, kw_only=True):
    """The changes of all parts since they were planned, in a file. `index`: offset and bytes by the part's number."""

    path: Path
    index: Mapping[int, tuple[int, int]]

    def of(self, number: int) -> dict[str, Change]:
        """Those of one part, by key. Raises OSError."""
        offset, size_bytes = self.index.get(number, (0, 0))
        found: dict[str, Change] = {}
        if size_bytes:
            with self.path.open("rb") as file:
                file.seek(offset)
                for line in file.read(size_bytes).splitlines():
                    item = decode_line(line[1:])
                    change = found.setdefault(item.key.hex(), Change(kind=ChangeKind(line[:1].decode())))
                    change.items.append(item)
        return found

    def lines(self) -> Iterator[bytes]:
        """All of them, scattered: the number of the part, the kind, the line."""
        for number in self.index:
            for change in self.of(number).values():
                for item in change.items[:1]:
                    yield b'%0*d[0,"%s",""]\n' % (PREFIX, number * 2 + (change.kind in LEFT), item.key.hex().encode())


def amend(lines: bytes, changes: Mapping[str, Change]) -> bytes:
    """Lines of a part without those that are gone, and the others as the list has them now."""
    kept: list[bytes] = []
    written: set[str] = set()
    for line in lines.splitlines(keepends=True):
        key = decode_line(line).key.hex()
        change = changes.get(key)
        if change is None:
            kept.append(line)
        elif change.kind not in LEFT and key not in written:
            written.add(key)
            kept += map(encode_line, change.items)
    return b"".join(kept)


class Comparison:
    """One comparison under way. A context manager; `new_lines` has to be asked for every bucket in turn."""

    def __init__(
        self, scattering: Scattering, known: Iterable[tuple[int, bytes]], before: Changes, *, every_line: bool
    ) -> None:
        self._folder = scattering.folder
        self._every_line = every_line
        lines = (b"%0*d%s" % (PREFIX, number, line) for number, line in known)
        self._known = [*scattering.scatter("known", ((key_hex_of(line), line) for line in lines))]
        self._before = [*scattering.scatter("before", ((key_hex_of(line), line) for line in before.lines()))]
        self._files: list[BinaryIO] = []
        self._stack = ExitStack()
        self.duplicates = 0

    def __enter__(self) -> Self:
        self._files = [self._stack.enter_context(self._path(number).open("wb")) for number in range(FILES)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def new_lines(self, number: int, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of one bucket of the list whose keys no part has."""
        listed: dict[bytes, list[bytes]] = {}
        for line in lines:
            listed.setdefault(key_hex_of(line), []).append(line)
        self.duplicates += sum(len(found) - len({_url_of(line) for line in found}) for found in listed.values())
        left, touched = self._read_before(number, listed)
        known: dict[bytes, list[bytes]] = {}
        for line in read_bucket(self._known[number]):
            key = key_hex_of(line)
            if (key, int(line[:PREFIX])) not in left:
                known.setdefault(key, []).append(line)
        for key, old in known.items():
            new = listed.get(key)
            kind = self._kind(old, new, was_touched=key in touched)
            if kind is None or kind not in LEFT:
                del listed[key]
            if kind is not None:
                self._note(int(old[0][:PREFIX]), kind, key, new or [])
            if kind in LEFT:
                self._forget_contradictions(old)
        for found in listed.values():
            yield from found

    def write(self, path: Path) -> dict[int, tuple[int, int]]:
        """Writes the changes, those of a part together; where those of each are."""
        self._stack.close()
        index: dict[int, tuple[int, int]] = {}
        offset = 0
        with path.open("wb") as file:
            for number in range(FILES):
                by_part: dict[int, list[bytes]] = {}
                for line in read_bucket(self._path(number)):
                    by_part.setdefault(int(line[:PREFIX]), []).append(line[PREFIX:])
                for part, lines in sorted(by_part.items()):
                    content = b"".join(lines)
                    file.write(content)
                    index[part] = offset, len(content)
                    offset += len(content)
        return index

    def _read_before(
        self, number: int, listed: Mapping[bytes, object]
    ) -> tuple[set[tuple[bytes, int]], set[bytes]]:
        """Which keys had left which parts, and which were others than planned already."""
        left: set[tuple[bytes, int]] = set()
        touched: set[bytes] = set()
        for line in read_bucket(self._before[number]):
            key, (part, has_left) = key_hex_of(line), divmod(int(line[:PREFIX]), 2)
            if has_left:
                left.add((key, part))
                self._note(part, ChangeKind.AGAIN if key in listed else ChangeKind.GONE, key, [])
            else:
                touched.add(key)
        return left, touched

    def _kind(self, old: list[bytes], new: list[bytes] | None, *, was_touched: bool) -> ChangeKind | None:
        """What became of a key; None where nothing did."""
        if new is None:
            return ChangeKind.GONE
        if not self._every_line:  # the first one decides
            old, new = old[:1], new[:1]
        if [*map(text_of, old)] == [*map(text_of, new)]:
            if was_touched:
                return ChangeKind.CHANGED
            return None if [line[PREFIX:] for line in old] == [line[PREFIX:] for line in new] else ChangeKind.MOVED
        return ChangeKind.CHANGED if [*map(self._what, old)] == [*map(self._what, new)] else ChangeKind.AGAIN

    def _what(self, line: bytes) -> tuple[str, str, str]:
        """What decides what an item comes to: its URL too, where the key is not of that."""
        item = decode_line(line[PREFIX:])
        return item.url if self._every_line else "", item.code, item.message

    def _note(self, part: int, kind: ChangeKind, key: bytes, new: list[bytes]) -> None:
        lines = [line[PREFIX:] for line in new] if kind not in LEFT else [b'[0,"%s",""]\n' % key]
        for line in lines:
            self._files[part % FILES].write(b"%0*d%s%s" % (PREFIX, part, kind.encode(), line))

    def _forget_contradictions(self, old: list[bytes]) -> None:
        """What had the same id as another line is a bad row under a key of its own."""
        first, *others = [decode_line(line[PREFIX:]) for line in old]
        for item in others:
            if item.url != first.url:
                key = contradiction_key(item.key, item.url).hex().encode()
                self._note(int(old[0][:PREFIX]), ChangeKind.AGAIN, key, [])

    def _path(self, number: int) -> Path:
        return self._folder / f"changes-{number:02d}"


def _url_of(line: bytes) -> str:
    return decode_line(line[PREFIX:]).url
