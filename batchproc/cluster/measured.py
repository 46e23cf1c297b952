"""What was measured on every machine, added up: seconds, bytes and histograms exactly, so that one report can judge."""

from collections import Counter, defaultdict
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from batchproc.cluster.plan import PartManifest
from batchproc.explain.findings import explain
from batchproc.measure.samples import Histogram
from batchproc.pipeline.phase_record import percentiles
from batchproc.record.run_json import RunRecord, record_of
from batchproc.record.run_parts import (
    ClusterPart,
    ClusterWorker,
    ConnectionTotals,
    PhaseRecord,
    StageRecord,
    StepRecord,
    load_of,
)

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
        self._seconds += record.measured_leg.seconds
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
