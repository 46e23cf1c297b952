"""What watches a run from outside its stages: gauges that the sampler reads, and the time breakdowns of the stages."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from batchproc.executors import Executor
from batchproc.frontier import Waits
from batchproc.measure import checks
from batchproc.measure.breakdown import (
    GilWait,
    StageTotals,
    TimeBreakdown,
    break_down,
    residual_gil_wait,
    sampled_gil_wait,
)
from batchproc.measure.gauges import Gauges
from batchproc.measure.samples import Samples
from batchproc.model import Mode
from batchproc.pipeline.observer import STAGES, Observer, StageSums

T = TypeVar("T")

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


def counted(items: Iterable[T], gauges: Gauges, name: str) -> Iterator[T]:
    """Passes items on and counts them; holds none back."""
    for item in items:
        gauges.add(name)
        yield item


def stage_totals(
    executor: Executor, sums: StageSums, name: str, samples: Samples | None, waits: Waits
) -> StageTotals:
    """What is known of one stage, added up over its workers; of workers still at it, up to now."""
    times, workers, wall = executor.times, executor.workers, executor.wall_seconds
    now = time.perf_counter()
    present = sum((entry.closed or now) - entry.opened for entry in times if entry.opened)
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
        not_running_seconds=workers * wall - present + sum(entry.lost_seconds for entry in times),
        retry_wait_seconds=waits.retry_worker_seconds if name == "download" else workers * waits.retry_seconds,
        pause_wait_seconds=waits.pause_worker_seconds if name == "download" else workers * waits.pause_seconds,
    )
    gil = _gil_wait(totals, executor, name, samples)
    return StageTotals(**{field: getattr(totals, field) for field in totals.__slots__} | {"gil": gil})


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
) -> list[checks.Check]:
    """What the report prints of its own trustworthiness."""
    found = [checks.remainder(name, breakdown) for name, (_, breakdown) in breakdowns.items()]
    for name in breakdowns:
        sums = observer.stages.get(name, StageSums())
        found.append(
            checks.littles_law(
                name,
                mean_in_flight=_mean_in_flight(samples, name),
                items=sums.service.count,
                inside_seconds=sums.inside_seconds,
                wall=samples.wall_seconds if samples else line_seconds,
            )
        )
    machine = samples.machine if samples else None
    found.append(checks.others(machine.others_cpu_share if machine else None))
    found.append(checks.steal(machine.steal_share if machine else None))
    found.append(checks.throttling(machine.throttled_seconds if machine else None))
    found.append(checks.origin(_origin_share(samples)))
    return found


def hidden_check(executor: Executor, totals: StageTotals, name: str) -> checks.Check | None:
    """For a stage in processes of its own: their CPU time against that of the measured threads."""
    if executor.mode != Mode.PROCESS:
        return None
    processes = sum(entry.cpu_seconds for entry in executor.times)
    return checks.hidden_threads(name, process_cpu_seconds=processes, thread_cpu_seconds=totals.cpu_seconds)


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
