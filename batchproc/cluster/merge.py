"""One result of what the parts came to: their rows, as the list has their items now, what of them is tried again, and
what was measured on every machine, added up exactly, so that one report can judge."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from msgspec import Struct, field
from msgspec.structs import replace

from batchproc.cluster.part_ledger import PartLedger
from batchproc.cluster.scattering import LEFT, Change, ChangeKind, Changes
from batchproc.cluster.shard_plan import FOLDER, ClusterPlan, PartManifest, decode_line, form_of
from batchproc.cluster.shared_store import Store
from batchproc.columns import Columns
from batchproc.errors import DiskError, file_errors
from batchproc.explain.findings import explain
from batchproc.ledger import FACT_TYPES, name_columns
from batchproc.ledger.schema import INPUT_STAGE
from batchproc.measure.samples import Histogram
from batchproc.model import LINES_PER_LIST, ListedItem
from batchproc.pipeline.phase_record import percentiles
from batchproc.record.run_json import Counts, RunRecord, record_of
from batchproc.record.run_parts import (
    ClusterPart,
    ClusterWorker,
    ConnectionTotals,
    PhaseRecord,
    StageRecord,
    StepRecord,
    load_of,
)
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
            if change is None or change.kind == ChangeKind.MOVED:
                yield self._fitted(row, planned[key][place]) if key in planned else row
            elif change.kind == ChangeKind.CHANGED:
                yield self._fitted(row, change.items[place])
            elif not place:
                dropped.images += 1
                if self._remove is not None and change.kind == ChangeKind.GONE:
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
    with file_errors(metadata), replacing(metadata) as rows, replacing(failures) as left:
        for group in by_number(manifests):
            _write_group(store, group, amending, rows, left, merged)
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
    merged.counts["absent"] += sum(change.kind == ChangeKind.GONE for change in changes.values())
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
        ledger.retry_quarantined()
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
    name = f"{FOLDER}/{manifest.plan}/retried/{manifest.part}-{uuid4().hex}.jsonl"
    store.replace(name, rest)
    return replace(manifest, rest=name, rest_bytes=len(rest), due=len(keys))


PARTS_SHOWN = 100
SUMMED = ("spare_seconds", "busy_seconds", "cpu_seconds", "inside_seconds", "ipc_parent_cpu_seconds")
CONNECTIONS = ("opened", "reused", "dropped")
BY_NAME = ("account", "parts", "parts_cpu")


class _Stage(Struct):
    """One stage of all parts so far."""

    first: StageRecord
    workers: dict[str, int] = field(default_factory=dict)  # of each worker of the cluster
    whole_seconds: float = 0.0  # workers x wall
    tasks: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    by_name: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    notes: dict[str, None] = field(default_factory=dict)
    service: Histogram = field(default_factory=Histogram)
    waiting: Histogram = field(default_factory=Histogram)
    ipc_bytes: float = 0.0
    starts: int = 0
    process_cpu_seconds: float | None = None
    blocked_seconds: float | None = 0.0
    gil_error_seconds: float | None = 0.0
    connections: Counter[str] = field(default_factory=Counter)
    steps: dict[str, StepRecord] = field(default_factory=dict)


class Measured:
    """Adds up the records of parts, of all workers and of each by itself. Used by one thread."""

    def __init__(self) -> None:
        self._of_worker: dict[str, Measured] = {}
        self._stages: dict[str, _Stage] = {}
        self.parts: list[ClusterPart] = []  # in the order in which they were committed; of all workers together only
        self._at_once = 0  # workers
        self._count = 0  # of parts
        self._part_seconds = 0.0
        self._seconds = 0.0
        self._waits: dict[str, float] = defaultdict(float)
        self.counts: Counter[str] = Counter()  # of this run
        self.failures: Counter[str] = Counter()
        self.original_bytes = 0
        self.output_bytes = 0
        self.recipe = ""
        self.resampler_problem = ""

    def add(self, manifest: PartManifest) -> None:
        """A part that was committed in this run."""
        record = record_of(manifest.record)
        counts = record.counts
        self.parts.append(
            ClusterPart(
                number=manifest.number, generation=manifest.generation, worker=manifest.worker,
                seconds=manifest.seconds, processed=counts.processed, done=counts.done, left=manifest.due,
                failed=counts.failed + counts.quarantined,
            )
        )
        own = self._of_worker.setdefault(manifest.worker, Measured())
        own._at_once, self._at_once = 1, len(self._of_worker)
        for one in (self, own):
            one._add(manifest, record)

    def _add(self, manifest: PartManifest, record: RunRecord) -> None:
        counts = record.counts
        self._count += 1
        self._part_seconds += manifest.seconds
        for name in ("processed", "retried", "unchanged", "done"):
            self.counts[name] += getattr(counts, name)
        self.failures.update(record.failures_this_run or {})
        self.original_bytes += record.original_bytes or 0
        self.output_bytes += record.rendition_bytes or 0
        self.recipe = self.recipe or record.recipe
        self.resampler_problem = self.resampler_problem or record.resampler_problem
        self._seconds += record.measured_phase.seconds
        self._waits["retry"] += record.retry_wait_seconds or 0.0
        self._waits["pause"] += record.pause_wait_seconds or 0.0
        for name, stage in record.stages.items():
            self._add_stage(self._stages.setdefault(name, _Stage(first=stage)), manifest.worker, stage)

    def _add_stage(self, known: _Stage, worker: str, stage: StageRecord) -> None:
        known.workers[worker] = max(stage.workers, known.workers.get(worker, 0))
        known.whole_seconds += stage.workers * stage.wall_seconds
        known.tasks += stage.tasks
        known.starts += stage.worker_starts
        known.ipc_bytes += stage.ipc_bytes_per_item * stage.tasks
        for name in SUMMED:
            known.sums[name] += getattr(stage, name)
        for name in BY_NAME:
            known.by_name[name].update(getattr(stage, name))
        known.notes |= dict.fromkeys(stage.account_notes)
        for histogram, buckets, times in (
            (known.service, stage.service_histogram, stage.service_seconds),
            (known.waiting, stage.waiting_histogram, stage.waiting_seconds),
        ):
            histogram.merge(buckets, mean=times.mean or 0.0, largest=times.max or 0.0)
        known.process_cpu_seconds = _sum(known.process_cpu_seconds, stage.process_cpu_seconds, unknown_stays=False)
        blocked = None if stage.blocked_share is None else stage.blocked_share * stage.busy_seconds
        known.blocked_seconds = _sum(known.blocked_seconds, blocked)
        known.gil_error_seconds = _sum(known.gil_error_seconds, stage.gil_error_seconds)
        known.steps |= {step.op: step.pooled(known.steps.get(step.op)) for step in stage.steps}
        if stage.connections is not None:
            known.connections.update({name: getattr(stage.connections, name) for name in CONNECTIONS})

    def stages(self) -> dict[str, StageRecord]:
        """The stages of the whole run, as if its workers were one machine's."""
        return {name: _described(stage) for name, stage in self._stages.items()}

    def phase(self) -> PhaseRecord:
        """What the stages' figures are of: the time in which parts were worked on, on all workers at once."""
        at_once = max(1, self._at_once)
        return PhaseRecord(
            items=self.counts["processed"],
            seconds=self._seconds / at_once,
            retry_wait_seconds=self._waits["retry"] / at_once,
            pause_wait_seconds=self._waits["pause"] / at_once,
        )

    def explained(self, known: RunRecord) -> RunRecord:
        """`known` with what was measured, and the explanation that follows from it."""
        return explain(replace(known, stages=self.stages(), leg=self.phase()))

    def workers(self, known: RunRecord) -> tuple[ClusterWorker, ...]:
        """Every worker that did something, the one with most items first; `known` is what is not of one worker."""
        found = [own._as_worker(worker, known) for worker, own in self._of_worker.items()]
        return tuple(sorted(found, key=lambda one: (-one.processed, one.worker)))

    def _as_worker(self, worker: str, known: RunRecord) -> ClusterWorker:
        seconds, done = self._part_seconds, self.counts["done"]
        counts = replace(known.counts, processed=self.counts["processed"])
        record = replace(known, counts=counts, line_seconds=self._seconds)
        return ClusterWorker(
            worker=worker, parts=self._count, processed=self.counts["processed"], done=done, seconds=seconds,
            images_per_second=done / seconds if seconds else None,
            choices=tuple(choice.brief for choice in self.explained(record).choices) if self._stages else (),
        )  # fmt: skip

    def slowest_parts(self) -> tuple[ClusterPart, ...]:
        """Those that took longest."""
        return tuple(sorted(self.parts, key=lambda part: -part.seconds)[:PARTS_SHOWN])

    @property
    def skew(self) -> float | None:
        """The slowest part's time, divided by the mean; None without parts."""
        seconds = [part.seconds for part in self.parts if not part.generation]
        return max(seconds) * len(seconds) / sum(seconds) if seconds and sum(seconds) else None


def _described(stage: _Stage) -> StageRecord:
    workers = sum(stage.workers.values())
    busy, tasks = stage.sums["busy_seconds"], stage.tasks
    whole = stage.whole_seconds + stage.sums["spare_seconds"]
    values: dict[str, Any] = {name: stage.sums[name] for name in SUMMED}
    values |= {name: dict(stage.by_name[name]) for name in BY_NAME}
    return StageRecord(
        mode=stage.first.mode,
        workers=workers,
        capacity=stage.first.capacity,
        wall_seconds=stage.whole_seconds / workers if workers else 0.0,
        tasks=tasks,
        service_seconds=percentiles(stage.service),
        waiting_seconds=percentiles(stage.waiting),
        service_histogram=stage.service.buckets(),
        waiting_histogram=stage.waiting.buckets(),
        cpu_per_item_seconds=stage.sums["cpu_seconds"] / tasks if tasks else None,
        blocked_share=None if stage.blocked_seconds is None or not busy else stage.blocked_seconds / busy,
        utilisation=load_of(stage.by_name["account"], whole_seconds=whole, busy_seconds=busy).busy if whole else None,
        account_notes=tuple(stage.notes),
        gil_method=stage.first.gil_method,
        steps=tuple(stage.steps.values()),
        gil_error_seconds=stage.gil_error_seconds,
        ipc_bytes_per_item=stage.ipc_bytes / tasks if tasks else 0.0,
        worker_starts=stage.starts,
        process_cpu_seconds=stage.process_cpu_seconds,
        startup_per_worker_seconds=stage.first.startup_per_worker_seconds,
        connections=_connections(stage.connections) if stage.connections else None,
        **values,
    )


def _connections(counts: Counter[str]) -> ConnectionTotals:
    return ConnectionTotals(opened=counts["opened"], reused=counts["reused"], dropped=counts["dropped"])


def _sum(known: float | None, more: float | None, *, unknown_stays: bool = True) -> float | None:
    if more is None:
        return None if unknown_stays else known
    return None if known is None and unknown_stays else (known or 0.0) + more
