"""What all parts came to, put together: the manifests of the whole job, its counts, and what was measured."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from batchproc.cluster.amending import Amending, Dropped
from batchproc.cluster.comparison import Kind
from batchproc.cluster.manifest import PartManifest
from batchproc.cluster.plan import ClusterPlan, decode_line
from batchproc.cluster.shared_store import Store
from batchproc.errors import DiskError
from batchproc.record.run_json import Counts
from batchproc.sink.atomic import replacing
from batchproc.sink.data_card import Contents


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
