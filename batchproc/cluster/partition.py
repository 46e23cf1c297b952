"""Shares out a list: all URLs of a registrable domain come into one part, those of a large one into slices of it.

Two passes over files of a bounded size, so that neither the list nor a domain has to fit into memory. The lines go into
files by the hash of their domain; each of those is read whole, and its domains fill one part after the other in the
order of their hashes. A domain with more lines than a part takes is cut by its items' keys, so that a URL which is
listed twice is in one slice. The same lists and settings make the same bytes everywhere.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from batchproc.cluster.domains import domain_finder, host_of
from batchproc.cluster.plan import LIST_NAME, ClusterPlan, ListShard, decode_line, encode_line, write_plan
from batchproc.columns import Columns
from batchproc.errors import DiskError
from batchproc.ledger import ListedItem
from batchproc.pipeline.job_list import JobList
from batchproc.signals import Counted, doing

BUCKETS = 256
HELD_BYTES = 32 << 20  # of slices, before they go to their files


def make_plan(job_list: JobList, folder: Path, *, shard_urls: int, salt: str = "") -> ClusterPlan:
    """Shares out a list; `plan.json` and `list.jsonl` are in `folder` then. `salt` goes into the plan's digest.

    Raises `UsageError` for a list that cannot be read, and `DiskError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partition-", dir=folder) as temporary:
            return _Partition(job_list, folder, Path(temporary), shard_urls, salt).make()
    except OSError as error:
        raise DiskError(f"{error.filename or folder}: the list cannot be shared out: {error.strerror}") from error


@dataclass(slots=True)
class _Filling:
    """The part that is being filled."""

    lines: list[bytes] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


class _Partition:
    def __init__(self, job_list: JobList, folder: Path, temporary: Path, shard_urls: int, salt: str) -> None:
        self._job_list = job_list
        self._folder = folder
        self._temporary = temporary
        self._shard_urls = shard_urls
        self._columns = Columns()
        self._domain_of = domain_finder()
        self._lines_of: Counter[str] = Counter()  # by domain
        self._shards: list[ListShard] = []
        self._digest = hashlib.sha256(json.dumps([shard_urls, salt]).encode())
        self._offset = 0
        self._filling = _Filling()

    def make(self) -> ClusterPlan:
        lines = Counted(self._items())
        with doing(lambda: f"sharing out the list, {lines.number:,} lines so far"):
            self._scatter(lines)
            path = self._temporary / LIST_NAME
            with path.open("wb") as file:
                for number in range(BUCKETS):
                    self._gather(number, file)
                self._end_part(file)
        columns = self._columns.dump()
        self._digest.update(columns.encode())
        plan = ClusterPlan(
            digest=self._digest.hexdigest(),
            fingerprint=self._job_list.fingerprint(),
            columns=columns,
            names=self._job_list.names,
            items=lines.number,
            hosts=sum(shard.hosts for shard in self._shards if shard.after is None),
            shards=tuple(self._shards),
        )
        path.replace(self._folder / LIST_NAME)
        write_plan(self._folder, plan)
        return plan

    def _items(self) -> Iterator[ListedItem]:
        return (row for row in self._job_list.rows(self._columns, None) if isinstance(row, ListedItem))

    def _scatter(self, items: Counted[ListedItem]) -> None:
        """Every line into the file of its domain's hash."""
        with ExitStack() as stack:
            files = [stack.enter_context(self._bucket(number).open("wb")) for number in range(BUCKETS)]
            buckets: dict[str, BinaryIO] = {}
            for item in items:
                domain = self._domain_of(host_of(item.url))
                file = buckets.get(domain)
                if file is None:
                    file = buckets[domain] = files[_hash(domain)[0]]
                self._lines_of[domain] += 1
                file.write(encode_line(item))

    def _gather(self, number: int, file: BinaryIO) -> None:
        """The domains of one bucket: small ones into parts, large ones into slices."""
        small: dict[str, list[bytes]] = {}
        slices = _Slices(self._temporary, self._shard_urls)
        with self._bucket(number).open("rb") as lines:
            for line in lines:
                item = decode_line(line)
                domain = self._domain_of(host_of(item.url))
                count = self._lines_of[domain]
                if count > self._shard_urls:
                    slices.add(domain, count, item.key, line)
                else:
                    small.setdefault(domain, []).append(line)
        self._bucket(number).unlink()
        for domain in sorted(small, key=lambda one: (_hash(one), one)):
            if len(self._filling.lines) + len(small[domain]) > self._shard_urls:
                self._end_part(file)
            self._filling.lines += small[domain]
        for domain, contents in slices.contents():
            self._write_slices(domain, contents, file)

    def _write_slices(self, domain: str, contents: Iterator[list[bytes]], file: BinaryIO) -> None:
        waiting, self._filling = self._filling, _Filling()
        after: int | None = None
        for content in contents:
            if content:
                self._filling.lines = content
                self._end_part(file, domain=domain, after=after)
                after = self._shards[-1].number
        self._filling = waiting

    def _end_part(self, file: BinaryIO, *, domain: str | None = None, after: int | None = None) -> None:
        """Writes the lines of a part, in the order of the list."""
        lines, self._filling = self._filling.lines, _Filling()
        if not lines:
            return
        lines.sort(key=_place)
        content = b"".join(lines)
        file.write(content)
        self._digest.update(content)
        hosts = {host_of(decode_line(line).url) for line in lines}
        self._shards.append(
            ListShard(
                number=len(self._shards), offset=self._offset, size_bytes=len(content), items=len(lines),
                hosts=len(hosts), after=after, domain=domain,
            )
        )
        self._offset += len(content)

    def _bucket(self, number: int) -> Path:
        return self._temporary / f"bucket-{number:03d}"


class _Slices:
    """The lines of large domains, each in the file of its slice once they are many."""

    def __init__(self, folder: Path, shard_urls: int) -> None:
        self._folder = folder
        self._shard_urls = shard_urls
        self._held: dict[tuple[str, int], bytearray] = {}
        self._held_bytes = 0
        self._counts: dict[str, int] = {}

    def add(self, domain: str, count: int, key: bytes, line: bytes) -> None:
        """One line of a domain that has `count`."""
        slices = self._counts[domain] = -(-count // self._shard_urls)
        place = domain, int.from_bytes(key[:8], "big") % slices
        self._held.setdefault(place, bytearray()).extend(line)
        self._held_bytes += len(line)
        if self._held_bytes > HELD_BYTES:
            self._flush()

    def contents(self) -> Iterator[tuple[str, Iterator[list[bytes]]]]:
        """The lines of each slice, domain by domain."""
        for domain in sorted(self._counts, key=lambda one: (_hash(one), one)):
            yield domain, (self._read(domain, number) for number in range(self._counts[domain]))

    def _flush(self) -> None:
        for place, content in self._held.items():
            with self._path(*place).open("ab") as file:
                file.write(content)
        self._held, self._held_bytes = {}, 0

    def _read(self, domain: str, number: int) -> list[bytes]:
        path = self._path(domain, number)
        content = path.read_bytes() if path.exists() else b""
        path.unlink(missing_ok=True)
        return (content + bytes(self._held.pop((domain, number), b""))).splitlines(keepends=True)

    def _path(self, domain: str, number: int) -> Path:
        return self._folder / f"slice-{_hash(domain).hex()}-{number}"


def _hash(domain: str) -> bytes:
    return hashlib.blake2b(domain.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _place(line: bytes) -> int:
    """Where a line of `list.jsonl` stands in the lists."""
    return int(line[1 : line.index(b",")])
