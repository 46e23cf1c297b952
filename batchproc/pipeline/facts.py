"""The facts of a run: what was counted and measured becomes run.json and spans.jsonl. Arithmetic, no judgement."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.config import Config, resolved
from batchproc.errors import ExitCode
from batchproc.executors import Executor
from batchproc.ledger import Counts, Imported
from batchproc.measure.histogram import Histogram
from batchproc.measure.machine import describe_machine
from batchproc.pipeline.observer import Observer, StageSums
from batchproc.sink import write_atomically
from batchproc.version import VERSION

SCHEMA = 1
STAGES = ("download", "transform")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """Everything that run.json is made of. `clock_started`, `line_*`: perf_counter seconds."""

    config: Config
    run_id: str
    started: datetime
    wall_seconds: float
    clock_started: float
    line_started: float
    line_ended: float
    imported: Imported
    counts: Counts
    failures: Mapping[str, int]
    work: int
    already_terminal: int
    observer: Observer
    executors: Sequence[Executor]
    retried: int
    stopped_by: str | None


def describe_run(evidence: RunEvidence, exit_code: ExitCode) -> dict[str, Any]:
    """The content of run.json."""
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
        "exit_code": int(exit_code),
        "stopped_by": evidence.stopped_by or ("limit" if _is_limited(evidence) else None),
        "counts": _counts(evidence),
        "failures": dict(evidence.failures),
        "failures_this_run": dict(observer.failures),
        "images_per_second": observer.outcomes["done"] / line_seconds if line_seconds else 0.0,
        "startup_seconds": None if first_start is None else first_start - evidence.clock_started,
        "original_bytes": observer.original_bytes,
        "rendition_bytes": observer.rendition_bytes,
        "stages": {
            name: _describe_stage(executor, observer.stages.get(name, StageSums()), line_seconds)
            for name, executor in zip(STAGES, evidence.executors, strict=False)
        },
        "host": describe_machine(),
        "config": resolved(evidence.config),
    }


def write_facts(folder: Path, facts: Mapping[str, Any], observer: Observer) -> None:
    """Writes spans.jsonl, then run.json: who finds the latter finds all. Raises OSError."""
    write_atomically(folder / "spans.jsonl", observer.sample.items())
    write_atomically(folder / "run.json", [json.dumps(facts, indent=2, ensure_ascii=False).encode() + b"\n"])


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_limited(evidence: RunEvidence) -> bool:
    """`--limit` ended the run while there was more to do."""
    return evidence.counts.pending > 0 and evidence.observer.processed >= evidence.work > 0


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
    }


def _describe_stage(executor: Executor, sums: StageSums, line_seconds: float) -> dict[str, Any]:
    tasks = sums.service.count
    worker_seconds = executor.workers * line_seconds
    busy = sums.service.sum_seconds
    times = executor.times
    blocked = busy - sums.cpu_seconds - sums.runqueue_seconds
    return {
        "mode": str(executor.mode),
        "workers": executor.workers,
        "wall_seconds": line_seconds,
        "tasks": tasks,
        "service_seconds": _percentiles(sums.service),
        "waiting_seconds": _percentiles(sums.waiting),
        "busy_seconds": busy,
        "starved_seconds": sum(entry.starved_seconds for entry in times),
        "output_blocked_seconds": sum(entry.output_blocked_seconds for entry in times),
        "startup_seconds": sum(entry.startup_seconds for entry in times),
        "cpu_seconds": sums.cpu_seconds,
        "cpu_per_item_seconds": sums.cpu_seconds / tasks if tasks else None,
        "runqueue_seconds": sums.runqueue_seconds if sums.runqueue_known == tasks else None,
        "blocked_share": blocked / busy if busy and sums.runqueue_known == tasks else None,
        "utilisation": busy / worker_seconds if worker_seconds else None,
        "ipc_bytes_per_item": sum(entry.ipc_bytes for entry in times) / tasks if tasks else 0,
        "worker_starts": sum(entry.starts for entry in times),
        "parts": {name: wall for name, (wall, _) in sums.parts.items()},
        "parts_cpu": {name: cpu for name, (_, cpu) in sums.parts.items()},
    }


def _percentiles(histogram: Histogram) -> dict[str, float | None]:
    summary = histogram.summary()
    return {"mean": summary.mean, "p50": summary.p50, "p95": summary.p95, "p99": summary.p99, "max": summary.max}
