"""The record of a run: what was counted and measured becomes run.json and spans.jsonl. Arithmetic, no judgement."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from batchproc.config import Config, resolved
from batchproc.explain.unknown import nothing_done
from batchproc.measure.hardware import describe_machine
from batchproc.pipeline.intake import Intake
from batchproc.pipeline.judging import Ending
from batchproc.pipeline.observer import Observer
from batchproc.record.run import (
    FILE_NAME,
    Counts,
    HostsRecord,
    MachineRecord,
    NotSampled,
    RunCounts,
    RunRecord,
    write_text,
)
from batchproc.sink import write_atomically
from batchproc.version import VERSION

if TYPE_CHECKING:
    from batchproc.pipeline.leg_facts import LegEvidence
    from batchproc.record.explanation import AutoRecord
    from batchproc.record.stage import ConcurrencyRecord


@dataclass(slots=True, kw_only=True)
class Passage:
    """What became of the items' way through the stages; as it is made, of a run that had nothing to do."""

    leg: "LegEvidence | None" = None  # the last one
    glimpse: RunRecord | None = None  # what was said of a leg while modes were weighed
    auto: "AutoRecord | None" = None  # what became of the search for modes
    concurrency: "ConcurrencyRecord | None" = None
    hosts: HostsRecord = field(default_factory=HostsRecord)
    pauses: Mapping[str, float] = field(default_factory=dict)  # for the next run: until when, in UTC seconds, by host
    retry_wait_seconds: float = 0.0
    pause_wait_seconds: float = 0.0
    retried: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """Everything that run.json is made of. `command_started`, `clock_started`, `line_*`: perf_counter seconds.

    `aside_seconds`: what lay between the command's start and the clock's, and is no work of this run's.
    """

    config: Config
    run_id: str
    started: datetime
    wall_seconds: float
    command_started: float | None
    aside_seconds: Mapping[str, float]
    clock_started: float
    line_started: float
    line_ended: float
    intake: Intake
    counts: Counts
    failures: Mapping[str, int]
    deferrals: Mapping[str, int]
    already_terminal: int
    observer: Observer
    passage: Passage
    stopped_by: str | None


def describe_run(evidence: RunEvidence, ending: Ending) -> RunRecord:
    """What was measured, and the explanation that follows from it."""
    record = _measured(evidence, ending)
    record = _explained(record) if record.stages else nothing_done(record)
    return replace(record, command_seconds=_describe_command(evidence))


def _explained(record: RunRecord) -> RunRecord:
    from batchproc.explain.explanation import explain  # where there is something to explain

    return explain(record)


def _measured(evidence: RunEvidence, ending: Ending) -> RunRecord:
    observer, line_seconds = evidence.observer, evidence.line_ended - evidence.line_started
    first_start = observer.first_start
    return replace(
        _describe_stages(evidence),
        version=VERSION,
        job=evidence.config.job.name,
        run_id=evidence.run_id,
        started=_iso(evidence.started),
        ended=_iso(datetime.now(UTC)),
        wall_seconds=evidence.wall_seconds,
        line_seconds=line_seconds,
        observer_started=observer.started,
        exit_code=int(ending.exit_code),
        reason=ending.reason,
        stopped_by=evidence.stopped_by,
        counts=_counts(evidence),
        failures=dict(evidence.failures),
        deferrals=dict(evidence.deferrals),
        failures_this_run=dict(observer.failures),
        deferred_this_run=observer.outcomes["deferred"],
        images_per_second=observer.outcomes["done"] / line_seconds if line_seconds else 0.0,
        startup_seconds=None if first_start is None else first_start - evidence.clock_started,
        retry_wait_seconds=evidence.passage.retry_wait_seconds,
        pause_wait_seconds=evidence.passage.pause_wait_seconds,
        list_remarks=tuple(evidence.intake.imported.remarks),
        recipe=evidence.intake.recipe,
        resampler_problem=evidence.intake.resampler_problem,
        due_again=evidence.intake.due_again,
        original_bytes=observer.original_bytes,
        rendition_bytes=observer.rendition_bytes,
        auto=evidence.passage.auto,
        concurrency=evidence.passage.concurrency,
    )


def _describe_command(evidence: RunEvidence) -> dict[str, float] | None:
    """The whole command by the clock, in parts that follow on each other: from the start of its process until now.

    `prepare`, `items` and `settle` are `wall_seconds`. What comes after, the summary and the page, is not in it: this
    is what they are made from. None where the run is not all that its process is for.
    """
    if evidence.command_started is None:
        return None
    aside = sum(evidence.aside_seconds.values())
    clock_ended = evidence.clock_started + evidence.wall_seconds
    return {
        "start": evidence.clock_started - evidence.command_started - aside,
        **evidence.aside_seconds,
        "prepare": evidence.line_started - evidence.clock_started,
        "items": evidence.line_ended - evidence.line_started,
        "settle": clock_ended - evidence.line_ended,
        "describe": time.perf_counter() - clock_ended,
    }


def _describe_stages(evidence: RunEvidence) -> RunRecord:
    """Of the last leg; where that was stopped before its first item, what was seen of the one before."""
    passage = evidence.passage
    if passage.glimpse is not None and not evidence.observer.leg_items:
        return passage.glimpse
    known = describe_circumstances(evidence.config, passage.hosts)
    if passage.leg is None:
        return replace(known, samples=NotSampled(unknown="there was nothing to do"))
    from batchproc.pipeline.leg_facts import describe_leg

    return describe_leg(known, passage.leg, evidence.observer)


def describe_circumstances(config: Config, hosts: HostsRecord) -> RunRecord:
    """Of whichever stages: the machine, the config, and the hosts that were asked."""
    return RunRecord(hosts=hosts, host=MachineRecord(**describe_machine()), config=resolved(config))


def write_record(folder: Path, record: RunRecord, observer: Observer) -> None:
    """Writes spans.jsonl, then run.json: who finds the latter finds all. Raises OSError."""
    write_atomically(folder / "spans.jsonl", observer.sample.items())
    write_atomically(folder / FILE_NAME, [write_text(record)])


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counts(evidence: RunEvidence) -> RunCounts:
    observer = evidence.observer
    return RunCounts(
        **asdict(evidence.counts),
        already_done=evidence.already_terminal,
        processed=observer.processed,
        retried=evidence.passage.retried,
        missing_files=evidence.intake.missing_files,
        pruned=evidence.intake.pruned,
        unchanged=observer.outcomes["unchanged"],
    )
