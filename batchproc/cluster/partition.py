"""Shares out a list: all URLs of a registrable domain come into one part, those of a large one into slices of it.

The lines go into files by the hash of their domain, each of those is read by itself, and its domains fill one part
after the other in the order of their hashes: neither the list nor a domain has to fit into memory. A domain with more
lines than a part takes is cut by its items' keys, so that what is listed twice is in one slice. The same lists and
settings make the same bytes everywhere. A job's plan is made once, and grows by what is new when its list has changed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import heappush, heappushpop
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from batchproc.cluster.scattering import (
    HASH,
    PREFIX,
    Changes,
    Comparison,
    Scattering,
    amend,
    beside_the_first,
    key_hex_of,
    place_of,
    read_bucket,
)  # fmt: skip
from batchproc.cluster.shard_plan import (
    CURRENT_NAME,
    FOLDER,
    LIST_NAME,
    ClusterPlan,
    DomainSize,
    ListShard,
    PendingPart,
    decode_line,
    read_plan,
    write_plan,
)  # fmt: skip
from batchproc.cluster.shared_store import Store
from batchproc.columns import Columns
from batchproc.config import ClusterTable, Config
from batchproc.errors import DiskError, UsageError
from batchproc.model import ListedItem
from batchproc.pipeline.import_list import JobList, check_list
from batchproc.signals import Counted, doing
from batchproc.sink import Layout, write_atomically

HELD_BYTES = 32 << 20  # of slices, before they go to their files
LARGEST = 20  # domains that a plan names


Check = Callable[[Columns, int, int], None]  # of columns, lines and bad rows: raises `UsageError`


class Earlier(Struct, frozen=True, kw_only=True):
    """What parts there are already. `lines`: all of theirs as they were planned, each with the part's number."""

    plan: ClusterPlan
    lines: Iterable[tuple[int, bytes]]
    changes: Changes


def make_plan(
    job_list: JobList,
    folder: Path,
    *,
    shard_urls: int,
    salt: str = "",
    earlier: Earlier | None = None,
    check: Check | None = None,
) -> ClusterPlan:
    """Shares out a list; `plan.json` and the parts' lines are in `folder` then. `salt` goes into the plan's digest.

    Where there is an `earlier` plan in the folder, it grows by parts of what is new. Raises `UsageError` for a list
    that cannot be read, and what `check` raises, before anything is changed, and `DiskError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partition-", dir=folder) as temporary:
            partition = _Partition(job_list, folder, Path(temporary), shard_urls, earlier)
            return partition.make(salt, check)
    except OSError as error:
        raise DiskError(f"{error.filename or folder}: the list cannot be shared out: {error.strerror}") from error


class _Partition:
    def __init__(
        self, job_list: JobList, folder: Path, temporary: Path, shard_urls: int, earlier: Earlier | None
    ) -> None:
        self._job_list = job_list
        self._folder = folder
        self._temporary = temporary
        self._shard_urls = shard_urls
        self._earlier = earlier
        self._list_name = f"list-{earlier.plan.lists}.jsonl" if earlier else LIST_NAME
        self._columns = Columns()
        self._scattering = Scattering(temporary)
        self._shards: list[ListShard] = [*earlier.plan.shards] if earlier else []
        self._largest: list[tuple[int, str]] = []  # a heap of lines and domain
        self._hosts = self._bad_rows = 0
        self._digest = hashlib.sha256()
        self._offset = 0
        self._filling: list[bytes] = []  # the part that is being filled: lines as they are scattered

    def make(self, salt: str, check: Check | None) -> ClusterPlan:
        items = Counted(self._items())
        with doing(lambda: f"sharing out the list, {items.number:,} lines so far"):
            lines = self._scattering.lines(items)
            if self._earlier is not None:
                return self._grow(self._earlier, items, lines, check)
            self._gather_all(chain.from_iterable(self._by_key(lines)) if self._is_keyed else lines)
        self._digest.update(json.dumps([self._shard_urls, salt, self._columns.dump()]).encode())
        return self._write(self._described(self._digest.hexdigest(), items.number), check)

    def _grow(
        self, earlier: Earlier, items: Counted[ListedItem], lines: Iterable[bytes], check: Check | None
    ) -> ClusterPlan:
        every_line = self._is_keyed or self._job_list.duplicates == "rows"
        with Comparison(self._scattering, earlier.lines, earlier.changes, every_line=every_line) as comparison:
            buckets = enumerate(self._by_key(lines))
            self._gather_all(chain.from_iterable(comparison.new_lines(*bucket) for bucket in buckets))
            name = f"changes-{earlier.plan.lists}"
            index = comparison.write(self._temporary / name)
        sizes = Counter({one.domain: one.items for one in earlier.plan.largest})
        sizes.update({domain: count for count, domain in self._largest})
        self._largest = [(count, domain) for domain, count in sizes.items()]
        self._hosts += earlier.plan.hosts
        described = self._described(earlier.plan.digest, items.number)
        changed = tuple((part, offset, size_bytes) for part, (offset, size_bytes) in index.items())
        described = replace(
            described, lists=earlier.plan.lists + 1, duplicates=comparison.duplicates, changes=name, changed=changed
        )
        return self._write(described, check)

    @property
    def _is_keyed(self) -> bool:
        return bool(self._job_list.format.id_column)

    def _by_key(self, lines: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
        """The lines of the list, bucket by bucket."""
        for bucket in self._scattering.scatter("key", ((key_hex_of(line), line) for line in lines)):
            yield beside_the_first(read_bucket(bucket)) if self._is_keyed else read_bucket(bucket)

    def _gather_all(self, lines: Iterable[bytes]) -> None:
        buckets = self._scattering.scatter("domain", ((line, line) for line in lines))  # in the order of their hashes
        with (self._temporary / self._list_name).open("wb") as file:
            for bucket in filter(Path.exists, buckets):
                self._gather(bucket, file)
            self._end_part(file)

    def _described(self, digest: str, items: int) -> ClusterPlan:
        largest = sorted(self._largest, key=lambda one: (-one[0], one[1]))[:LARGEST]
        return ClusterPlan(
            digest=digest,
            fingerprint=self._job_list.fingerprint(),
            columns=self._columns.dump(),
            names=self._job_list.names,
            items=items,
            bad_rows=self._bad_rows,
            hosts=self._hosts,
            shards=tuple(self._shards),
            largest=tuple(DomainSize(domain=domain, items=count) for count, domain in largest),
        )

    def _write(self, plan: ClusterPlan, check: Check | None) -> ClusterPlan:
        """The plan comes last: without it, nothing else is looked at."""
        if check is not None:
            check(self._columns, plan.items, plan.bad_rows)
        for name in filter(None, (self._list_name, plan.changes)):
            (self._temporary / name).replace(self._folder / name)
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
        for line in read_bucket(bucket):
            domain = line[:HASH]
            if counts[domain] > self._shard_urls:
                slices.add(domain, line)
            else:
                small.setdefault(domain, []).append(line)
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
                hosts=len({line[HASH:PREFIX] for line in lines}), after=after, domain=domain, list_name=self._list_name,
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


class Plans(Struct, frozen=True, kw_only=True):
    """The plans of one job. `settings`: what decides what its images are; `home`: on this machine's disk."""

    config: Config
    table: ClusterTable
    settings: str
    layout: Layout
    store: Store

    def find(self, job_list: JobList, *, fresh: bool, accept: bool) -> ClusterPlan:
        """The plan of the list as it is; a new one where everything is made again (`fresh`).

        Raises `UsageError` for settings that have changed, unless that is accepted, and for a list that the config does
        not allow.
        """
        known = self._current()
        plan = read_plan(self.layout.output / FOLDER / known["plan"]) if known else None
        if known is None or plan is None or fresh or (accept and known["settings"] != self.settings):
            return self._make(job_list, known["times"] + 1 if known else 0)
        if known["settings"] != self.settings:
            raise UsageError(
                f"{self.layout.output}: the settings have changed since its parts were planned. "
                "--accept-config-change makes every image again; another --output keeps both."
            )
        self._send_lists(plan)
        if plan.fingerprint and plan.fingerprint == job_list.fingerprint():
            return plan
        return self._grow(job_list, plan)

    def changes(self, plan: ClusterPlan) -> Changes:
        """What became of the lines of its parts."""
        index = {part: (offset, size_bytes) for part, offset, size_bytes in plan.changed}
        return Changes(path=self.layout.output / FOLDER / plan.name / plan.changes, index=index)

    def amended(self, plan: ClusterPlan, part: PendingPart) -> PendingPart:
        """A part that is still to be done, with its lines as the list has them now."""
        changes = self.changes(plan).of(part.number)
        if not changes:
            return part
        content = amend(self.store.get_range(part.list_name, part.offset, part.size_bytes), changes)
        name = f"{FOLDER}/{plan.name}/amended/{plan.changes}-{part.name}.jsonl"
        self.store.replace(name, content)
        return replace(part, list_name=name, offset=0, size_bytes=len(content), items=content.count(b"\n"))

    def _make(self, job_list: JobList, times: int) -> ClusterPlan:
        """A plan that has nothing of earlier ones: `times` is in its name."""
        home = self.layout.output / FOLDER
        new = home / "new"
        plan = make_plan(
            job_list, new, shard_urls=self.table.shard_urls, salt=f"{self.settings} {times}", check=self._check
        )
        place = home / plan.name
        place.mkdir(exist_ok=True)
        for path in new.iterdir():
            path.replace(place / path.name)
        new.rmdir()
        self._send_lists(plan)
        content = json.dumps({"plan": plan.name, "settings": self.settings, "times": times}).encode()
        write_atomically(home / CURRENT_NAME, [content])
        return plan

    def _grow(self, job_list: JobList, plan: ClusterPlan) -> ClusterPlan:
        place = self.layout.output / FOLDER / plan.name
        earlier = Earlier(plan=plan, lines=self._lines(plan), changes=self.changes(plan))
        grown = make_plan(
            job_list, place, shard_urls=self.table.shard_urls, earlier=earlier, check=self._check
        )
        self._send_lists(grown)
        return grown

    def _check(self, columns: Columns, items: int, bad_rows: int) -> None:
        check_list(self.config, lambda: columns, items=items, bad_rows=bad_rows)

    def _lines(self, plan: ClusterPlan) -> Iterator[tuple[int, bytes]]:
        """The lines of all parts as they were planned."""
        for shard in plan.shards:
            name = f"{FOLDER}/{plan.name}/{shard.list_name}"
            content = self.store.get_range(name, shard.offset, shard.size_bytes)
            yield from ((shard.number, line) for line in content.splitlines(keepends=True))

    def _send_lists(self, plan: ClusterPlan) -> None:
        """Sends what is still here to the bucket, if it is one: a folder is where the workers see it."""
        if not self.config.paths.bucket:
            return
        for name in dict.fromkeys([LIST_NAME, *(shard.list_name for shard in plan.shards)]):
            path = self.layout.output / FOLDER / plan.name / name
            if path.exists():
                self.store.put(f"{FOLDER}/{plan.name}/{name}", path)

    def _current(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.layout.output / FOLDER / CURRENT_NAME).read_bytes())
        except FileNotFoundError:
            return None
        return found
