"""What the record says of the stages of a phase: time breakdowns, percentiles, memory, checks. No judgement."""

import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from batchproc.executors import Executor
from batchproc.frontier import Waits
from batchproc.measure.breakdown import (
    Check,
    GilWait,
    StageTotals,
    TimeBreakdown,
    break_down,
    check_hidden_threads,
    check_littles_law,
    check_machine,
    check_remainder,
    residual_gil_wait,
    sampled_gil_wait,
)
from batchproc.measure.samples import Histogram, MachineUsage, Samples
from batchproc.model import GilAsks, Mode
from batchproc.pipeline.observer import Observer, StageSums
from batchproc.protocols import WorkerTimes
from batchproc.record.run_json import MemoryRecord, RunRecord
from batchproc.record.run_parts import (
    STAGES,
    Percentiles,
    PhaseRecord,
    StageRecord,
    StepRecord,
    WorkerRecord,
    load_of,
)
from batchproc.transform.plan import record_steps
from batchproc.transform.steps.step import Step

# Each counter has one writing thread: whoever pulls the stage behind it.
GAUGES = (
    "download_in_total",
    "download_out_total",
    "transform_out_total",
    "failed_total",
    "waiting",
    "held_bytes",
)
IN_TASK_WAITS = ("network", "pipe", "disk", "sleep", "other")  # a lock is waited for between tasks: the queue
MOVES = ("download_in_total", "download_out_total", "transform_out_total")  # one of them grows while a run is alive


def stage_totals(
    executor: Executor, sums: StageSums, name: str, samples: Samples | None, waits: Waits
) -> StageTotals:
    """What is known of one stage, added up over its workers; of workers still at it, up to now."""
    times, wall = executor.times, executor.wall_seconds
    workers, now = executor.workers, time.perf_counter()
    present = sum((entry.closed or now) - entry.opened - entry.rested_seconds for entry in times if entry.opened)
    spare = max(0.0, present - workers * wall) if len(times) > workers else 0.0
    totals = StageTotals(
        workers=workers,
        wall_seconds=wall,
        tasks=sums.service.count,
        task_wall_seconds=sums.service.sum_seconds,
        cpu_seconds=sums.cpu_seconds,
        runqueue_seconds=sums.runqueue_seconds if sums.runqueue_known == sums.service.count else None,
        parts={part: (wall, cpu) for part, (wall, cpu) in sums.parts.items()},
        output_blocked_seconds=sum(entry.output_blocked_seconds for entry in times),
        starved_seconds=sum(entry.starved_seconds for entry in times),
        ipc_seconds=sum(entry.ipc_seconds for entry in times),
        startup_seconds=sum(entry.startup_seconds for entry in times),
        not_running_seconds=workers * wall + spare - present + sum(entry.lost_seconds for entry in times),
        retry_wait_seconds=waits.retry_worker_seconds if name == "download" else workers * waits.retry_seconds,
        pause_wait_seconds=waits.pause_worker_seconds if name == "download" else workers * waits.pause_seconds,
        spare_seconds=spare,
    )
    gil = _gil_wait(totals, executor, name, samples)
    return replace(totals, gil=gil)


def _gil_wait(totals: StageTotals, executor: Executor, name: str, samples: Samples | None) -> GilWait | None:
    """By the sampler where the stage has threads of its own; a serial stage shares its puller's thread."""
    shares = samples.waits_of(name) if samples is not None and executor.mode != Mode.SERIAL else None
    if shares is None:
        return residual_gil_wait(totals)
    other = sum(shares.shares.get(kind, 0.0) for kind in IN_TASK_WAITS)
    sampled = sampled_gil_wait(totals, shares.gil_share, shares.gil_error, other_share=other)
    return sampled or residual_gil_wait(totals)


def stage_breakdowns(
    executors: Sequence[Executor], observer: Observer, samples: Samples | None, waits: Waits
) -> dict[str, tuple[StageTotals, TimeBreakdown]]:
    """The totals and the time breakdown of each stage."""
    breakdowns = {}
    for name, executor in zip(STAGES, executors, strict=False):
        totals = stage_totals(executor, observer.stages.get(name, StageSums()), name, samples, waits)
        breakdowns[name] = (totals, break_down(totals))
    return breakdowns


def self_checks(
    breakdowns: dict[str, tuple[StageTotals, TimeBreakdown]],
    observer: Observer,
    samples: Samples | None,
    line_seconds: float,
) -> list[Check]:
    """What the report prints of its own trustworthiness."""
    found = [check_remainder(name, breakdown) for name, (_, breakdown) in breakdowns.items()]
    watched = samples.wall_seconds if samples else line_seconds
    for name in breakdowns:
        sums = observer.stages.get(name, StageSums())
        found.append(
            check_littles_law(
                name,
                mean_in_flight=_mean_in_flight(samples, name),
                items=sums.service.count,
                inside_seconds=sums.inside_seconds,
                wall=watched,
                unwatched=max(0.0, line_seconds - watched),
            )
        )
    return [*found, *check_machine(samples.machine if samples else MachineUsage(), _origin_share(samples))]


def hidden_check(executor: Executor, totals: StageTotals, name: str) -> Check | None:
    """For a stage in processes of its own: their CPU time against that of the measured threads."""
    if executor.mode != Mode.PROCESS:
        return None
    processes = sum(entry.cpu_seconds for entry in executor.times)
    return check_hidden_threads(name, process_cpu_seconds=processes, thread_cpu_seconds=totals.cpu_seconds)


def _origin_share(samples: Samples | None) -> float | None:
    """The embedded origin's CPU as a share of the machine's: it takes it from the run."""
    usage = samples.process("origin") if samples else None
    if samples is None or usage is None or not samples.wall_seconds:
        return None
    return usage.cpu_seconds / (samples.wall_seconds * samples.machine.cores)


def _mean_in_flight(samples: Samples | None, name: str) -> float | None:
    if samples is None:
        return None
    means = samples.gauge_means
    entered, left = {"download": ("download_in_total", "download_out_total")}.get(
        name, ("download_out_total", "transform_out_total")
    )
    return means[entered] - means[left] if entered in means and left in means else None


class PhaseMeasurements(Struct, frozen=True, kw_only=True):
    """What was measured of a phase: a part of the line in one pair of modes. Most runs have one.

    `started` and `ended` are perf_counter seconds; a phase that goes on has not ended and is told of as of now.
    """

    number: int
    executors: Sequence[Executor]
    started: float
    ended: float
    waits: Waits
    samples: Samples | None
    sampler_failure: str
    steps: Sequence[Step]  # of the transform stage


def describe_phase(known: RunRecord, phase: PhaseMeasurements, observer: Observer) -> RunRecord:
    """`known` with the stages: of the last phase, or of one under way, so that modes can be chosen from it."""
    breakdowns = stage_breakdowns(phase.executors, observer, phase.samples, phase.waits)
    first_start = observer.phase_first_start
    startup_seconds = None if first_start is None else first_start - phase.started
    return replace(
        known,
        leg=PhaseRecord(
            number=phase.number,
            items=observer.phase_items,
            seconds=phase.ended - phase.started,
            startup_seconds=startup_seconds,
            retry_wait_seconds=phase.waits.retry_seconds,
            pause_wait_seconds=phase.waits.pause_seconds,
        ),
        line_startup_seconds=startup_seconds,
        stages={
            name: describe_stage(
                executor,
                observer.stages.get(name, StageSums()),
                *breakdowns[name],
                steps=phase.steps if name == "transform" else (),
            )
            for name, executor in zip(STAGES, phase.executors, strict=False)
        },
        memory=_memory(phase.samples),
        checks=tuple(_checks(phase, observer, breakdowns)),
        samples=phase.samples or Samples(unknown=phase.sampler_failure or "nothing was sampled"),
    )


def describe_stage(
    executor: Executor, sums: StageSums, totals: StageTotals, breakdown: TimeBreakdown, *, steps: Sequence[Step] = ()
) -> StageRecord:
    """What was measured of one stage."""
    tasks, times = totals.tasks, executor.times
    busy, whole = totals.task_wall_seconds, totals.whole_seconds
    ready = [entry for entry in times if entry.ready]  # the others had not started when the work ended
    return StageRecord(
        mode=Mode(executor.mode).value,
        workers=executor.workers,
        spare_workers=max(0, len(times) - executor.workers),
        spare_seconds=totals.spare_seconds,
        capacity=executor.capacity,
        wall_seconds=totals.wall_seconds,
        tasks=tasks,
        service_seconds=percentiles(sums.service),
        waiting_seconds=percentiles(sums.waiting),
        service_histogram=sums.service.buckets(),
        waiting_histogram=sums.waiting.buckets(),
        busy_seconds=busy,
        cpu_seconds=totals.cpu_seconds,
        cpu_per_item_seconds=totals.cpu_seconds / tasks if tasks else None,
        blocked_share=None if totals.runqueue_seconds is None or not busy else totals.blocked_seconds / busy,
        utilisation=load_of(breakdown.categories, whole_seconds=whole, busy_seconds=busy).busy if whole else None,
        account=dict(breakdown.categories),
        account_notes=breakdown.notes,
        gil_method=breakdown.gil_method,
        gil_error_seconds=totals.gil.error_seconds if totals.gil else None,
        inside_seconds=sums.inside_seconds,
        ipc_bytes_per_item=sum(entry.ipc_bytes for entry in times) / tasks if tasks else 0,
        ipc_parent_cpu_seconds=sum(entry.ipc_parent_cpu_seconds for entry in times),
        worker_starts=sum(entry.starts for entry in times),
        process_cpu_seconds=sum(entry.cpu_seconds for entry in times) if executor.mode == "process" else None,
        startup_per_worker_seconds=totals.startup_seconds / len(ready) if ready else None,
        parts={name: wall for name, (wall, _) in sums.parts.items()},
        connections=sums.connections.describe(),
        parts_cpu={name: cpu for name, (_, cpu) in sums.parts.items()},
        steps=tuple(_with_gil(step, sums.gil.get(f"steps.{step.op}")) for step in record_steps(steps)),
        per_worker=tuple(map(_describe_worker, times)),
    )


def _with_gil(step: StepRecord, asks: GilAsks | None) -> StepRecord:
    """The step with what its workers found by asking for the GIL."""
    return replace(step, gil_held_fraction=asks.held_seconds / asks.seconds, gil_asks=asks.asks) if asks else step


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
    phase: PhaseMeasurements, observer: Observer, breakdowns: dict[str, tuple[StageTotals, TimeBreakdown]]
) -> list[Check]:
    hidden = [
        hidden_check(executor, breakdowns[name][0], name)
        for name, executor in zip(STAGES, phase.executors, strict=False)
    ]
    found = self_checks(breakdowns, observer, phase.samples, phase.ended - phase.started)
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


def percentiles(histogram: Histogram) -> Percentiles:
    """What the record says of a distribution."""
    p50, p95, p99, most = map(histogram.percentile, (50, 95, 99, 100))
    return Percentiles(mean=histogram.mean, p50=p50, p95=p95, p99=p99, max=most)
