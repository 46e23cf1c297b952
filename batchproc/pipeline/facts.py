"""The facts of a run: what was counted and measured becomes run.json and spans.jsonl. Arithmetic, no judgement."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.config import Config, resolved
from batchproc.executors import Executor
from batchproc.explain import explain
from batchproc.frontier import Waits
from batchproc.ledger import Counts, DueAgain
from batchproc.measure.account import Account, StageTotals
from batchproc.measure.checks import Check
from batchproc.measure.histogram import Histogram
from batchproc.measure.machine import describe_machine
from batchproc.measure.samples import Samples
from batchproc.pipeline.evidence import STAGES, describe_samples, hidden_check, self_checks, stage_accounts
from batchproc.pipeline.judging import Ending
from batchproc.pipeline.observer import Observer, StageSums
from batchproc.protocols import WorkerTimes
from batchproc.sink import write_atomically
from batchproc.version import VERSION

SCHEMA = 1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """Everything that run.json is made of. `clock_started`, `line_*`: perf_counter seconds.

    `leg` is the last one, None when there was nothing to do; `auto` is what became of the search for modes.
    """

    config: Config
    run_id: str
    started: datetime
    wall_seconds: float
    clock_started: float
    line_started: float
    line_ended: float
    due_again: DueAgain
    missing_files: int  # of items that were done at the start
    recipe: str  # of the images that this run made
    pruned: int  # files deleted whose sources left the list
    remarks: tuple[str, ...]  # on the list's rows, where it was read
    counts: Counts
    failures: Mapping[str, int]
    deferrals: Mapping[str, int]
    work: int
    already_terminal: int
    observer: Observer
    leg: LegEvidence | None
    glimpse: Mapping[str, Any] | None  # what `describe_leg` said while modes were weighed
    retried: int
    waits: Waits
    hosts: Mapping[str, Any]
    concurrency: Mapping[str, Any] | None
    auto: Mapping[str, Any] | None
    stopped_by: str | None


def describe_run(evidence: RunEvidence, ending: Ending) -> dict[str, Any]:
    """The content of run.json: what was measured, and the explanation that follows from it."""
    facts = _measured(evidence, ending)
    return facts | explain(facts)


def _measured(evidence: RunEvidence, ending: Ending) -> dict[str, Any]:
    observer, line_seconds = evidence.observer, evidence.line_ended - evidence.line_started
    first_start = observer.first_start
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "job": evidence.config.job.name,
        "run_id": evidence.run_id,
        "started": _iso(evidence.started),
        "ended": _iso(datetime.now(UTC)),
        "wall_seconds": evidence.wall_seconds,
        "line_seconds": line_seconds,
        "observer_started": observer.started,
        "exit_code": int(ending.exit_code),
        "reason": ending.reason,
        "stopped_by": evidence.stopped_by,
        "counts": _counts(evidence),
        "failures": dict(evidence.failures),
        "deferrals": dict(evidence.deferrals),
        "failures_this_run": dict(observer.failures),
        "deferred_this_run": observer.outcomes["deferred"],
        "images_per_second": observer.outcomes["done"] / line_seconds if line_seconds else 0.0,
        "startup_seconds": None if first_start is None else first_start - evidence.clock_started,
        **_describe_waits(evidence.waits),
        "list_remarks": list(evidence.remarks),
        "recipe": evidence.recipe,
        "due_again": {"items": evidence.due_again.items, "because": list(evidence.due_again.keys)},
        "original_bytes": observer.original_bytes,
        "rendition_bytes": observer.rendition_bytes,
        "auto": evidence.auto,
        "concurrency": evidence.concurrency,
        **_describe_stages(evidence),
    }


def _describe_stages(evidence: RunEvidence) -> Mapping[str, Any]:
    """Of the last leg; where that was stopped before its first item, what was seen of the one before."""
    if evidence.glimpse is not None and not evidence.observer.leg_items:
        return evidence.glimpse
    return describe_leg(evidence.leg, evidence.observer, evidence.config, evidence.hosts)


def describe_leg(
    leg: LegEvidence | None, observer: Observer, config: Config, hosts: Mapping[str, Any]
) -> dict[str, Any]:
    """What run.json says of the stages: of the last leg, or of one under way, so that modes can be chosen from it."""
    known: dict[str, Any] = {"hosts": dict(hosts), "host": describe_machine(), "config": resolved(config)}
    if leg is None:
        nothing = {"memory": _memory(None), "samples": describe_samples(None, "there was nothing to do")}
        return {**known, **nothing, "leg": None, "line_startup_seconds": None, "stages": {}, "checks": []}
    accounts = stage_accounts(leg.executors, observer, leg.samples, leg.waits)
    first_start = observer.leg_first_start
    startup_seconds = None if first_start is None else first_start - leg.started
    return {
        **known,
        "leg": {
            "number": leg.number,
            "items": observer.leg_items,
            "seconds": leg.ended - leg.started,
            "startup_seconds": startup_seconds,
            **_describe_waits(leg.waits),
        },
        "line_startup_seconds": startup_seconds,
        "stages": {
            name: _describe_stage(executor, observer.stages.get(name, StageSums()), *accounts[name])
            for name, executor in zip(STAGES, leg.executors, strict=False)
        },
        "memory": _memory(leg.samples),
        "checks": [asdict(check) for check in _checks(leg, observer, accounts)],
        "samples": describe_samples(leg.samples, leg.sampler_failure),
    }


def _describe_waits(waits: Waits) -> dict[str, float]:
    """For how long there was nothing to do but wait for a retry, or for a paused host."""
    return {"retry_wait_seconds": waits.retry_seconds, "pause_wait_seconds": waits.pause_seconds}


def write_facts(folder: Path, facts: Mapping[str, Any], observer: Observer) -> None:
    """Writes spans.jsonl, then run.json: who finds the latter finds all. Raises OSError."""
    write_atomically(folder / "spans.jsonl", observer.sample.items())
    write_atomically(folder / "run.json", [json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n"])


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counts(evidence: RunEvidence) -> dict[str, int]:
    counts, observer = evidence.counts, evidence.observer
    return {
        "items": counts.items,
        "done": counts.done,
        "rejected": counts.rejected,
        "failed": counts.failed,
        "quarantined": counts.quarantined,
        "deferred": counts.deferred,
        "pending": counts.pending,
        "already_done": evidence.already_terminal,
        "processed": observer.processed,
        "retried": evidence.retried,
        "duplicates": counts.duplicates,
        "absent": counts.absent,
        "bad_rows": counts.bad_rows,
        "missing_files": evidence.missing_files,
        "pruned": evidence.pruned,
    }


def _describe_stage(executor: Executor, sums: StageSums, totals: StageTotals, account: Account) -> dict[str, Any]:
    tasks, times = totals.tasks, executor.times
    busy, whole = totals.task_wall_seconds, totals.whole_seconds
    return {
        "mode": str(executor.mode),
        "workers": executor.workers,
        "capacity": executor.capacity,
        "wall_seconds": totals.wall_seconds,
        "tasks": tasks,
        "service_seconds": _percentiles(sums.service),
        "waiting_seconds": _percentiles(sums.waiting),
        "busy_seconds": busy,
        "cpu_seconds": totals.cpu_seconds,
        "cpu_per_item_seconds": totals.cpu_seconds / tasks if tasks else None,
        "blocked_share": None if totals.runqueue_seconds is None or not busy else totals.blocked_seconds / busy,
        "utilisation": busy / whole if whole else None,
        "account": dict(account.buckets),
        "account_notes": list(account.notes),
        "gil_method": account.gil_method,
        "gil_error_seconds": totals.gil.error_seconds if totals.gil else None,
        "inside_seconds": sums.inside_seconds,
        "ipc_bytes_per_item": sum(entry.ipc_bytes for entry in times) / tasks if tasks else 0,
        "ipc_parent_cpu_seconds": sum(entry.ipc_parent_cpu_seconds for entry in times),
        "worker_starts": sum(entry.starts for entry in times),
        "process_cpu_seconds": sum(entry.cpu_seconds for entry in times) if executor.mode == "process" else None,
        "startup_per_worker_seconds": totals.startup_seconds / len(times) if times else None,
        "parts": {name: wall for name, (wall, _) in sums.parts.items()},
        "connections": sums.connections.describe(),
        "parts_cpu": {name: cpu for name, (_, cpu) in sums.parts.items()},
        "per_worker": [_describe_worker(entry) for entry in times],
    }


def _describe_worker(times: WorkerTimes) -> dict[str, Any]:
    return {
        "worker": times.worker,
        "tasks": times.tasks,
        "startup_seconds": times.startup_seconds,
        "start_to_first_line_seconds": times.began - times.opened if times.began else None,
        "first_line_to_ready_seconds": times.ready - times.began if times.ready else None,
        "ready_to_first_task_seconds": times.first_task - times.ready if times.first_task else None,
        "starved_seconds": times.starved_seconds,
        "output_blocked_seconds": times.output_blocked_seconds,
        "lost_seconds": times.lost_seconds,
        "ipc_seconds": times.ipc_seconds,
        "starts": times.starts,
        "max_rss_bytes": times.max_rss_bytes,
    }


def _checks(
    leg: LegEvidence, observer: Observer, accounts: dict[str, tuple[StageTotals, Account]]
) -> list[Check]:
    hidden = [
        hidden_check(executor, accounts[name][0], name)
        for name, executor in zip(STAGES, leg.executors, strict=False)
    ]
    found = self_checks(accounts, observer, leg.samples, leg.ended - leg.started)
    return found + [check for check in hidden if check is not None]


def _memory(samples: Samples | None) -> dict[str, Any]:
    """PSS of the tree, and of the largest worker process of each stage that has processes of its own."""
    if samples is None:
        return {"peak_pss_bytes": None, "per_worker_pss_bytes": None}
    workers = [usage for usage in samples.processes if usage.role.startswith("transform-")]
    peaks = [usage.peak_pss_bytes for usage in workers if usage.peak_pss_bytes is not None]
    return {
        "peak_pss_bytes": samples.peak_pss_bytes,
        "peak_uss_bytes": samples.peak_uss_bytes,
        "per_worker_pss_bytes": max(peaks) if peaks else None,
    }


def _percentiles(histogram: Histogram) -> dict[str, float | None]:
    summary = histogram.summary()
    return {"mean": summary.mean, "p50": summary.p50, "p95": summary.p95, "p99": summary.p99, "max": summary.max}
