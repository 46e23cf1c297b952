"""The rows of the whole job from those of its parts, as the list has their items now; and what of them is tried again.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from msgspec import Struct, field
from msgspec.structs import replace

from batchproc.cluster.comparison import LEFT, Change, Changes, Kind
from batchproc.cluster.part_ledger import PartLedger
from batchproc.cluster.plan import FOLDER, ClusterPlan, PartManifest, decode_line, form_of
from batchproc.cluster.shared_store import Store
from batchproc.columns import Columns
from batchproc.errors import DiskError
from batchproc.ledger import FACT_TYPES, name_columns
from batchproc.ledger.url_changes import INPUT_STAGE
from batchproc.model import LINES_PER_LIST, ListedItem
from batchproc.record.run_json import Counts
from batchproc.sink.atomic import replacing
from batchproc.sink.data_card import Contents
from batchproc.sink.manifests import encode_rows


class Dropped(Struct):
    """What a part has no more: images and bad rows."""

    images: int = 0
    bad_rows: int = 0


class Amending:
    """The rows of one job's parts. `remove`: is given the names of images whose items left the list."""

    def __init__(
        self, store: Store, plan: ClusterPlan, changes: Changes, caption: str, remove: Callable[[str], None] | None
    ) -> None:
        self._store = store
        self._plan = plan
        self._changes = changes
        self._remove = remove
        self._columns = Columns.parse(plan.columns)
        self._names = name_columns(self._columns.types, caption)
        self._form = form_of(plan.columns)
        self._shards = {shard.number: shard for shard in plan.shards}

    def changes_of(self, number: int) -> dict[str, Change]:
        """What became of the items of one part, by key."""
        return self._changes.of(number)

    def rows(
        self, content: bytes, manifest: PartManifest, changes: Mapping[str, Change], dropped: Dropped
    ) -> bytes:
        """The rows of images, as they are to be; `dropped` comes to count those that are none any more."""
        is_other = manifest.columns != self._form
        if not changes and not is_other:
            return content
        planned = self._planned(manifest.number) if is_other else {}
        return b"".join(encode_rows(self._amended(content, planned, changes, dropped)))

    def _amended(
        self,
        content: bytes,
        planned: Mapping[str, list[ListedItem]],
        changes: Mapping[str, Change],
        dropped: Dropped,
    ) -> Iterator[dict[str, Any]]:
        places: dict[str, int] = {}  # the rows of a key, so far
        for line in content.splitlines():
            row = json.loads(line)
            key = row["key"]
            place = places[key] = places.get(key, -1) + 1
            change = changes.get(key)
            if change is None or change.kind == Kind.MOVED:
                yield self._fitted(row, planned[key][place]) if key in planned else row
            elif change.kind == Kind.CHANGED:
                yield self._fitted(row, change.items[place])
            elif not place:
                dropped.images += 1
                if self._remove is not None and change.kind == Kind.GONE:
                    self._remove(row["file_name"])

    def _fitted(self, row: Mapping[str, Any], item: ListedItem) -> dict[str, Any]:
        facts = {name: value for name, value in row.items() if name in FACT_TYPES}
        listed = self._columns.fit(json.loads(item.extra_json or "{}"))
        return facts | {self._names[column]: value for column, value in listed.items()}

    def failures(
        self, content: bytes, changes: Mapping[str, Change], dropped: Dropped
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The rows of what left early, as they are to be, each with its line."""
        for line in content.splitlines(keepends=True):
            row = json.loads(line)
            change = changes.get(row["key"])
            if change is None:
                yield row, line
            elif change.kind in LEFT:
                dropped.bad_rows += row["stage"] == "input"
            else:
                number, row["line"] = divmod(change.items[0].line, LINES_PER_LIST)
                if self._plan.names:
                    row["list"] = self._plan.names[number]
                yield row, b"".join(encode_rows([row]))

    def _planned(self, number: int) -> dict[str, list[ListedItem]]:
        shard = self._shards[number]
        name = f"{FOLDER}/{self._plan.name}/{shard.list_name}"
        found: dict[str, list[ListedItem]] = {}
        for line in self._store.get_range(name, shard.offset, shard.size_bytes).splitlines():
            item = decode_line(line)
            found.setdefault(item.key.hex(), []).append(item)
        return found


class Merged(Struct):
    """What stands in the manifests of the whole job."""

    counts: Counter[str] = field(default_factory=Counter)  # items by state, as the keys of `Counts`
    failures: Counter[str] = field(default_factory=Counter)  # by code
    deferrals: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    images: int = 0
    shards: int = 0
    size_bytes: int = 0

    def contents(self) -> Contents:
        """What the data card says of the images."""
        left = self.failures + self.deferrals + self.rejections
        return Contents(images=self.images, size_bytes=self.size_bytes, shards=self.shards, left=dict(left))

    def all_counts(self, plan: ClusterPlan) -> Counts:
        """The states of the whole list; what no part has come to is pending."""
        counts = self.counts
        if plan.duplicates is not None:
            counts["duplicates"] = plan.duplicates
        items = plan.items - counts["duplicates"]
        known = sum(counts[state] for state in ("done", "rejected", "failed", "quarantined", "deferred"))
        return Counts(**{name: counts[name] for name in counts} | {"items": items, "pending": max(0, items - known)})


def write_rows(
    store: Store, manifests: Iterable[PartManifest], amending: Amending, metadata: Path, failures: Path
) -> Merged:
    """Writes `metadata.jsonl` and `failures.jsonl` of the whole job, part after part. Raises `DiskError`.

    What a part failed to do and a later one of it did, or failed to do again, is told once: by the later.
    """
    merged = Merged()
    try:
        with replacing(metadata) as rows, replacing(failures) as left:
            for group in by_number(manifests):
                _write_group(store, group, amending, rows, left, merged)
    except OSError as error:
        raise DiskError(f"{error.filename}: cannot be written: {error.strerror}. The next run writes it.") from error
    return merged


def by_number(manifests: Iterable[PartManifest]) -> Iterator[list[PartManifest]]:
    """The generations of each part together, the first one first."""
    group: list[PartManifest] = []
    for manifest in manifests:
        if group and group[-1].number != manifest.number:
            yield group
            group = []
        group.append(manifest)
    if group:
        yield group


def _write_group(
    store: Store, group: list[PartManifest], amending: Amending, rows: Any, left: Any, merged: Merged
) -> None:
    changes, dropped = amending.changes_of(group[0].number), Dropped()
    for manifest, later in zip(group, [*group[1:], None], strict=True):
        content = store.get(manifest.rows)
        failed = store.get(manifest.failures)
        if content is None or failed is None:
            raise DiskError(f"{store.address}/{manifest.rows}: is gone; --fresh makes everything again.")
        rows.write(amending.rows(content, manifest, changes, dropped))
        record = manifest.record["counts"]
        for name in ("done", "duplicates", "bad_rows"):
            if name == "done" or manifest.generation == 0:
                merged.counts[name] += record[name]
        superseded = rest_keys(store, manifest) if later is not None else set()
        for row, line in amending.failures(failed, changes, dropped):
            if row["key"] not in superseded:
                left.write(line)
                _count_failure(row, merged)
        merged.shards += len(manifest.shards)
        merged.size_bytes += manifest.record.get("rendition_bytes") or 0
    merged.counts["done"] -= dropped.images
    merged.counts["bad_rows"] -= dropped.bad_rows
    merged.counts["absent"] += sum(change.kind == Kind.GONE for change in changes.values())
    merged.images = merged.counts["done"]


def rest_keys(store: Store, manifest: PartManifest) -> set[str]:
    """The items that a part left to be tried again."""
    rest = store.get(manifest.rest) if manifest.rest else None
    return {decode_line(line).key.hex() for line in (rest or b"").splitlines()}


def _count_failure(row: Mapping[str, Any], merged: Merged) -> None:
    state, code = row["outcome"], row["code"]
    merged.counts[state] += 1
    by_state = {"deferred": merged.deferrals, "rejected": merged.rejections}
    by_state.get(state, merged.failures)[code] += 1


FAILED = ("failed", "quarantined")


def retry_failed(plan: ClusterPlan, ledger: PartLedger, store: Store, codes: Collection[str]) -> None:
    """Parts in quarantine, and items that failed for good, are due again; with `codes` only what failed as these.

    Not bad lines. Raises `DiskError`.
    """
    if not codes:
        ledger.forgive()
    lists = {shard.number: shard for shard in plan.shards}
    for group in by_number(ledger.manifests()):
        keys = set(_failed_keys(store, group, codes))
        if keys:
            shard, last = lists[group[-1].number], group[-1]
            lines = store.get_range(f"{FOLDER}/{plan.name}/{shard.list_name}", shard.offset, shard.size_bytes)
            ledger.commit(_with_rest(store, last, lines, keys | rest_keys(store, last)))


def _failed_keys(store: Store, group: list[PartManifest], codes: Collection[str]) -> Iterator[str]:
    """What no later generation of the part has tried again."""
    for manifest, later in zip(group, [*group[1:], None], strict=True):
        superseded = rest_keys(store, manifest) if later is not None else set()
        for line in (store.get(manifest.failures) or b"").splitlines():
            row = json.loads(line)
            is_wanted = row["outcome"] in FAILED and row["stage"] != INPUT_STAGE
            if is_wanted and row["key"] not in superseded and (not codes or row["code"] in codes):
                yield row["key"]


def _with_rest(store: Store, manifest: PartManifest, lines: bytes, keys: set[str]) -> PartManifest:
    """The manifest as if its part had left these items; for the driver alone: the committed one stays."""
    rest = b"".join(line for line in lines.splitlines(keepends=True) if decode_line(line).key.hex() in keys)
    name = f"{FOLDER}/{manifest.plan}/retried/{manifest.number:06d}-{manifest.generation}-{uuid4().hex}.jsonl"
    store.replace(name, rest)
    return replace(manifest, rest=name, rest_bytes=len(rest), due=len(keys))
