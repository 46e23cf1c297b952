"""What the record says of the stages of a leg: time breakdowns, percentiles, memory, checks. No judgement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchproc.executors import Executor
from batchproc.frontier import Waits
from batchproc.measure.breakdown import StageTotals, TimeBreakdown
from batchproc.measure.checks import Check
from batchproc.measure.histogram import Histogram
from batchproc.measure.samples import Samples
from batchproc.model import Mode
from batchproc.pipeline.evidence import hidden_check, self_checks, stage_breakdowns
from batchproc.pipeline.observer import STAGES, Observer, StageSums
from batchproc.protocols import WorkerTimes
from batchproc.record.run import MemoryRecord, NotSampled, RunRecord
from batchproc.record.stage import LegRecord, Percentiles, StageRecord, WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEvidence:
    """What was measured of a leg: a part of the line in one pair of modes. Most runs have one.

    `started` and `ended` are perf_counter seconds; a leg that goes on has not ended and is told of as of now.
    """

    number: int
    executors: Sequence[Executor]
    started: float
    ended: float
    waits: Waits
    samples: Samples | None
    sampler_failure: str


def describe_leg(known: RunRecord, leg: LegEvidence, observer: Observer) -> RunRecord:
    """`known` with the stages: of the last leg, or of one under way, so that modes can be chosen from it."""
    breakdowns = stage_breakdowns(leg.executors, observer, leg.samples, leg.waits)
    first_start = observer.leg_first_start
    startup_seconds = None if first_start is None else first_start - leg.started
    return replace(
        known,
        leg=LegRecord(
            number=leg.number,
            items=observer.leg_items,
            seconds=leg.ended - leg.started,
            startup_seconds=startup_seconds,
            retry_wait_seconds=leg.waits.retry_seconds,
            pause_wait_seconds=leg.waits.pause_seconds,
        ),
        line_startup_seconds=startup_seconds,
        stages={
            name: describe_stage(executor, observer.stages.get(name, StageSums()), *breakdowns[name])
            for name, executor in zip(STAGES, leg.executors, strict=False)
        },
        memory=_memory(leg.samples),
        checks=tuple(_checks(leg, observer, breakdowns)),
        samples=leg.samples or NotSampled(unknown=leg.sampler_failure or "nothing was sampled"),
    )


def describe_stage(executor: Executor, sums: StageSums, totals: StageTotals, breakdown: TimeBreakdown) -> StageRecord:
    """What was measured of one stage."""
    tasks, times = totals.tasks, executor.times
    busy, whole = totals.task_wall_seconds, totals.whole_seconds
    return StageRecord(
        mode=Mode(executor.mode).value,
        workers=executor.workers,
        capacity=executor.capacity,
        wall_seconds=totals.wall_seconds,
        tasks=tasks,
        service_seconds=_percentiles(sums.service),
        waiting_seconds=_percentiles(sums.waiting),
        busy_seconds=busy,
        cpu_seconds=totals.cpu_seconds,
        cpu_per_item_seconds=totals.cpu_seconds / tasks if tasks else None,
        blocked_share=None if totals.runqueue_seconds is None or not busy else totals.blocked_seconds / busy,
        utilisation=busy / whole if whole else None,
        account=dict(breakdown.categories),
        account_notes=breakdown.notes,
        gil_method=breakdown.gil_method,
        gil_error_seconds=totals.gil.error_seconds if totals.gil else None,
        inside_seconds=sums.inside_seconds,
        ipc_bytes_per_item=sum(entry.ipc_bytes for entry in times) / tasks if tasks else 0,
        ipc_parent_cpu_seconds=sum(entry.ipc_parent_cpu_seconds for entry in times),
        worker_starts=sum(entry.starts for entry in times),
        process_cpu_seconds=sum(entry.cpu_seconds for entry in times) if executor.mode == "process" else None,
        startup_per_worker_seconds=totals.startup_seconds / len(times) if times else None,
        parts={name: wall for name, (wall, _) in sums.parts.items()},
        connections=sums.connections.describe(),
        parts_cpu={name: cpu for name, (_, cpu) in sums.parts.items()},
        per_worker=tuple(map(_describe_worker, times)),
    )


def _describe_worker(times: WorkerTimes) -> WorkerRecord:
    return WorkerRecord(
        worker=times.worker,
        tasks=times.tasks,
        startup_seconds=times.startup_seconds,
        start_to_first_line_seconds=times.began - times.opened if times.began else None,
        first_line_to_ready_seconds=times.ready - times.began if times.ready else None,
        ready_to_first_task_seconds=times.first_task - times.ready if times.first_task else None,
        starved_seconds=times.starved_seconds,
        output_blocked_seconds=times.output_blocked_seconds,
        lost_seconds=times.lost_seconds,
        ipc_seconds=times.ipc_seconds,
        starts=times.starts,
        max_rss_bytes=times.max_rss_bytes,
    )


def _checks(
    leg: LegEvidence, observer: Observer, breakdowns: dict[str, tuple[StageTotals, TimeBreakdown]]
) -> list[Check]:
    hidden = [
        hidden_check(executor, breakdowns[name][0], name)
        for name, executor in zip(STAGES, leg.executors, strict=False)
    ]
    found = self_checks(breakdowns, observer, leg.samples, leg.ended - leg.started)
    return found + [check for check in hidden if check is not None]


def _memory(samples: Samples | None) -> MemoryRecord:
    """PSS of the tree, and of the largest worker process of each stage that has processes of its own."""
    if samples is None:
        return MemoryRecord()
    workers = [usage for usage in samples.processes if usage.role.startswith("transform-")]
    peaks = [usage.peak_pss_bytes for usage in workers if usage.peak_pss_bytes is not None]
    return MemoryRecord(
        peak_pss_bytes=samples.peak_pss_bytes,
        peak_uss_bytes=samples.peak_uss_bytes,
        per_worker_pss_bytes=max(peaks) if peaks else None,
    )


def _percentiles(histogram: Histogram) -> Percentiles:
    summary = histogram.summary()
    return Percentiles(mean=summary.mean, p50=summary.p50, p95=summary.p95, p99=summary.p99, max=summary.max)
