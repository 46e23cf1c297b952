"""What one run of a case came to: the figures that are kept of its run.json."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from batchproc.bench.schedule import Conditions
from batchproc.measure.samples import ProcessUsage, Samples
from batchproc.record.run import RunRecord
from batchproc.record.stage import StageRecord

MAKESPAN = "line_seconds"
WHY_MAKESPAN = (
    "line_seconds of run.json: from opening the first worker to the last outcome and the end of the last worker, so "
    "start-up and drain of threads and processes are in it; the interpreter's start, reading the list and closing the "
    "ledger, which no mode changes, are not: they are the cold start, shown by itself"
)
STAGE_FIGURES = (
    "mode", "workers", "account", "cpu_seconds", "cpu_per_item_seconds", "utilisation", "service_seconds",
    "blocked_share", "ipc_bytes_per_item", "ipc_parent_cpu_seconds", "worker_starts", "process_cpu_seconds",
    "startup_per_worker_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One run. `seconds` is the makespan, `command_seconds` from the child's start to its end, interpreter and all.

    `outputs` maps each item's key to the hash of its image, or to its failure's code; it is compared and not stored.
    """

    seconds: float
    command_seconds: float
    startup_seconds: float | None
    done: int
    failed: int
    conditions: Conditions
    origin_cpu_seconds: float | None
    peak_pss_bytes: int | None
    per_worker_pss_bytes: int | None
    stages: Mapping[str, Mapping[str, Any]]
    outputs_sha256: str
    outputs: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def rate_per_second(self) -> float:
        """Images done per second of makespan."""
        return self.done / self.seconds

    def to_json(self) -> dict[str, Any]:
        """A run in bench.json."""
        facts = asdict(self)
        del facts["outputs"]
        return facts | {"rate_per_second": self.rate_per_second}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "CaseResult":
        """What `to_json` wrote; without `outputs`."""
        kept = {one.name: facts[one.name] for one in fields(cls) if one.name in facts}
        return cls(**{**kept, "conditions": Conditions(**facts["conditions"])})


def result_of(
    record: RunRecord,
    outputs: Mapping[str, str],
    *,
    command_seconds: float,
    origin_cpu_seconds: float | None,
) -> CaseResult:
    """From a record whose samples know the origin (see `with_origin`), and what the run left in its folder."""
    machine = record.sampled.machine
    return CaseResult(
        seconds=record.line_seconds,
        command_seconds=command_seconds,
        startup_seconds=record.startup_seconds,
        done=record.counts.done,
        failed=record.counts.processed - record.counts.done,
        conditions=Conditions(
            others_cpu_share=machine.others_cpu_share,
            steal_share=machine.steal_share,
            throttled_seconds=machine.throttled_seconds,
        ),
        origin_cpu_seconds=origin_cpu_seconds,
        peak_pss_bytes=record.memory.peak_pss_bytes,
        per_worker_pss_bytes=record.memory.per_worker_pss_bytes,
        stages={name: _figures(stage) for name, stage in record.stages.items()},
        outputs_sha256=digest(outputs),
        outputs=outputs,
    )


def _figures(stage: StageRecord) -> dict[str, Any]:
    figures = asdict(stage)
    return {name: figures[name] for name in STAGE_FIGURES}


def with_origin(record: RunRecord, origin_cpu_seconds: float | None) -> RunRecord:
    """The record with the bench's origin in its own row: the run did not know it and counted it among the others."""
    samples = record.samples
    if not isinstance(samples, Samples) or origin_cpu_seconds is None:
        return record
    machine, others = samples.machine, samples.machine.others_cpu_share
    if others is not None:
        whole = machine.cores * samples.wall_seconds
        machine = replace(machine, others_cpu_share=max(0.0, others - origin_cpu_seconds / whole))
    usage = ProcessUsage(role="origin", cpu_seconds=origin_cpu_seconds)
    return replace(record, samples=replace(samples, processes=(*samples.processes, usage), machine=machine))


def digest(outputs: Mapping[str, str]) -> str:
    """One hash of all that a run made."""
    text = "".join(f"{key} {value}\n" for key, value in sorted(outputs.items()))
    return hashlib.sha256(text.encode()).hexdigest()
