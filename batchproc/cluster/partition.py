"""Shares out a list: all URLs of a registrable domain come into one part, those of a large one into slices of it.

The lines go into files by the hash of their domain, each of those is read by itself, and its domains fill one part
after the other in the order of their hashes: neither the list nor a domain has to fit into memory. A domain with more
lines than a part takes is cut by its items' keys, so that what is listed twice is in one slice. The same lists and
settings make the same bytes everywhere.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from heapq import heappush, heappushpop
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from batchproc.cluster.plan import LIST_NAME, ClusterPlan, DomainSize, ListShard, decode_line, write_plan
from batchproc.cluster.scattering import HASH, PREFIX, Scattering, key_hex_of, place_of
from batchproc.columns import Columns
from batchproc.errors import DiskError
from batchproc.ledger import ListedItem
from batchproc.pipeline.job_list import JobList
from batchproc.signals import Counted, doing

HELD_BYTES = 32 << 20  # of slices, before they go to their files
LARGEST = 20  # domains that a plan names


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


class _Partition:
    def __init__(self, job_list: JobList, folder: Path, temporary: Path, shard_urls: int, salt: str) -> None:
        self._job_list = job_list
        self._folder = folder
        self._temporary = temporary
        self._shard_urls = shard_urls
        self._columns = Columns()
        self._scattering = Scattering(temporary)
        self._shards: list[ListShard] = []
        self._largest: list[tuple[int, str]] = []  # a heap of lines and domain
        self._hosts = self._bad_rows = 0
        self._digest = hashlib.sha256(json.dumps([shard_urls, salt]).encode())
        self._offset = 0
        self._filling: list[bytes] = []  # the part that is being filled: lines as they are scattered

    def make(self) -> ClusterPlan:
        lines = Counted(self._items())
        with doing(lambda: f"sharing out the list, {lines.number:,} lines so far"):
            buckets = self._scattering.by_domain(lines, keyed_by_id=bool(self._job_list.format.id_column))
            path = self._temporary / LIST_NAME
            with path.open("wb") as file:
                for bucket in buckets:
                    self._gather(bucket, file)
                self._end_part(file)
        columns = self._columns.dump()
        self._digest.update(columns.encode())
        plan = ClusterPlan(
            digest=self._digest.hexdigest(),
            fingerprint=self._job_list.fingerprint(),
            columns=columns,
            names=self._job_list.names,
            items=lines.number,
            bad_rows=self._bad_rows,
            hosts=self._hosts,
            shards=tuple(self._shards),
            largest=tuple(
                DomainSize(domain=domain, items=items)
                for items, domain in sorted(self._largest, key=lambda one: (-one[0], one[1]))
            ),
        )
        path.replace(self._folder / LIST_NAME)
        write_plan(self._folder, plan)
        return plan

    def _items(self) -> Iterator[ListedItem]:
        for row in self._job_list.rows(self._columns, None):
            if isinstance(row, ListedItem):
                self._bad_rows += bool(row.code)
                yield row

    def _gather(self, bucket: Path, file: BinaryIO) -> None:
        """The domains of one bucket: small ones into parts, large ones into slices."""
        counts, hosts = _count(bucket)
        self._hosts += hosts
        small: dict[bytes, list[bytes]] = {}
        slices = _Slices(self._temporary, self._shard_urls, counts)
        with bucket.open("rb") as lines:
            for line in lines:
                domain = line[:HASH]
                if counts[domain] > self._shard_urls:
                    slices.add(domain, line)
                else:
                    small.setdefault(domain, []).append(line)
        bucket.unlink()
        for domain in sorted(counts):
            if domain not in small:
                self._write_slices(domain, counts[domain], slices, file)
                continue
            lines_of = small.pop(domain)
            if len(self._filling) + len(lines_of) > self._shard_urls:
                self._end_part(file)
            self._filling += lines_of
            self._note_size(len(lines_of), lines_of)

    def _write_slices(self, domain: bytes, count: int, slices: "_Slices", file: BinaryIO) -> None:
        waiting, self._filling = self._filling, []
        after: int | None = None
        name = self._name_of(slices.first[domain])
        self._note_size(count, slices.first[domain])
        for content in slices.read(domain):
            if content:
                self._filling = content
                self._end_part(file, domain=name, after=after)
                after = self._shards[-1].number
        self._filling = waiting

    def _end_part(self, file: BinaryIO, *, domain: str | None = None, after: int | None = None) -> None:
        """Writes the lines of a part, in the order of the list."""
        lines, self._filling = self._filling, []
        if not lines:
            return
        lines.sort(key=place_of)
        content = b"".join([line[PREFIX:] for line in lines])
        file.write(content)
        self._digest.update(content)
        self._shards.append(
            ListShard(
                number=len(self._shards), offset=self._offset, size_bytes=len(content), items=len(lines),
                hosts=len({line[HASH:PREFIX] for line in lines}), after=after, domain=domain,
            )
        )  # fmt: skip
        self._offset += len(content)

    def _note_size(self, count: int, lines: list[bytes]) -> None:
        if len(self._largest) < LARGEST:
            heappush(self._largest, (count, self._name_of(lines)))
        elif count > self._largest[0][0]:
            heappushpop(self._largest, (count, self._name_of(lines)))

    def _name_of(self, lines: list[bytes]) -> str:
        """The domain whose lines these are: the first one is of it, where another may be there for its id."""
        return self._scattering.place(decode_line(min(lines, key=place_of)[PREFIX:]).url).domain


def _count(bucket: Path) -> tuple[Counter[bytes], int]:
    """How many lines each domain has, by its hash, and how many hosts all have."""
    with bucket.open("rb") as lines:
        counts = Counter(line[:PREFIX] for line in lines)
    domains: Counter[bytes] = Counter()
    for prefix, count in counts.items():
        domains[prefix[:HASH]] += count
    return domains, len(counts)


class _Slices:
    """The lines of large domains, each in the file of its slice once they are many."""

    def __init__(self, folder: Path, shard_urls: int, counts: Counter[bytes]) -> None:
        self._folder = folder
        self._shard_urls = shard_urls
        self._counts = counts
        self._held: dict[tuple[bytes, int], list[bytes]] = {}
        self._held_bytes = 0
        self.first: dict[bytes, list[bytes]] = {}  # the first line of each domain

    def add(self, domain: bytes, line: bytes) -> None:
        """One line of a domain."""
        self.first.setdefault(domain, [line])
        place = domain, int(key_hex_of(line)[:16], 16) % self._slices(domain)
        self._held.setdefault(place, []).append(line)
        self._held_bytes += len(line)
        if self._held_bytes > HELD_BYTES:
            self._flush()

    def read(self, domain: bytes) -> Iterator[list[bytes]]:
        """The lines of each of a domain's slices."""
        for number in range(self._slices(domain)):
            path = self._path(domain, number)
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            path.unlink(missing_ok=True)
            yield lines + self._held.pop((domain, number), [])

    def _slices(self, domain: bytes) -> int:
        return -(-self._counts[domain] // self._shard_urls)

    def _flush(self) -> None:
        for place, lines in self._held.items():
            with self._path(*place).open("ab") as file:
                file.writelines(lines)
        self._held, self._held_bytes = {}, 0

    def _path(self, domain: bytes, number: int) -> Path:
        return self._folder / f"slice-{domain.decode()}-{number}"
