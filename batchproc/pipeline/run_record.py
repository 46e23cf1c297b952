"""The record of a run: what was counted and measured becomes run.json and spans.jsonl. Arithmetic, no judgement."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from batchproc.config import Config, resolved
from batchproc.explain.wording import nothing_done
from batchproc.measure.processes import describe_machine
from batchproc.measure.samples import Samples
from batchproc.pipeline.closing import Ending
from batchproc.pipeline.import_list import ImportedList
from batchproc.pipeline.observer import Observer
from batchproc.record.run_json import (
    Counts,
    HostsRecord,
    MachineRecord,
    RunCounts,
    RunRecord,
)
from batchproc.version import VERSION

if TYPE_CHECKING:
    from batchproc.pipeline.phase_record import PhaseMeasurements
    from batchproc.record.explanation import AutoRecord
    from batchproc.record.run_parts import ConcurrencyRecord, DataSetRecord


class LoopResult(Struct, kw_only=True):
    """What became of the items' way through the stages; as it is made, of a run that had nothing to do."""

    phase: "PhaseMeasurements | None" = None  # the last one
    snapshot: RunRecord | None = None  # what was said of a phase while modes were weighed
    auto: "AutoRecord | None" = None  # what became of the search for modes
    concurrency: "ConcurrencyRecord | None" = None
    hosts: HostsRecord = field(default_factory=HostsRecord)
    pauses: Mapping[str, float] = field(default_factory=dict)  # for the next run: until when, in UTC seconds, by host
    retry_wait_seconds: float = 0.0
    pause_wait_seconds: float = 0.0
    retried: int = 0


class RunMeasurements(Struct, frozen=True, kw_only=True):
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
    imported_list: ImportedList
    counts: Counts
    failures: Mapping[str, int]
    deferrals: Mapping[str, int]
    already_terminal: int
    observer: Observer
    loop_result: LoopResult
    stopped_by: str | None
    data_set: "DataSetRecord | None" = None


def describe_run(evidence: RunMeasurements, ending: Ending, *, explains: bool = True) -> RunRecord:
    """What was measured, and the explanation that follows from it."""
    record = _measured(evidence, ending)
    if not explains:
        return record
    record = _explained(record) if record.stages else nothing_done(record)
    return replace(record, command_seconds=_describe_command(evidence))


def _explained(record: RunRecord) -> RunRecord:
    from batchproc.explain.findings import explain  # where there is something to explain

    return explain(record)


def _measured(evidence: RunMeasurements, ending: Ending) -> RunRecord:
    observer, line_seconds = evidence.observer, evidence.line_ended - evidence.line_started
    first_start = observer.first_start
    return replace(
        _describe_stages(evidence),
        version=VERSION,
        job=evidence.config.job.name,
        run_id=evidence.run_id,
        started=iso_time(evidence.started),
        ended=iso_time(datetime.now(UTC)),
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
        retry_wait_seconds=evidence.loop_result.retry_wait_seconds,
        pause_wait_seconds=evidence.loop_result.pause_wait_seconds,
        list_remarks=tuple(evidence.imported_list.imported.remarks),
        recipe=evidence.imported_list.recipe,
        resampler_problem=evidence.imported_list.resampler_problem,
        due_again=evidence.imported_list.due_again,
        original_bytes=observer.original_bytes,
        rendition_bytes=observer.rendition_bytes,
        auto=evidence.loop_result.auto,
        concurrency=evidence.loop_result.concurrency,
        data_set=evidence.data_set,
    )


def _describe_command(evidence: RunMeasurements) -> dict[str, float] | None:
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


def _describe_stages(evidence: RunMeasurements) -> RunRecord:
    """Of the last phase; where that was stopped before its first item, what was seen of the one before."""
    loop_result = evidence.loop_result
    if loop_result.snapshot is not None and not evidence.observer.phase_items:
        return loop_result.snapshot
    known = describe_circumstances(evidence.config, loop_result.hosts, worked=loop_result.phase is not None)
    if loop_result.phase is None:
        return replace(known, samples=Samples(unknown="there was nothing to do"))
    from batchproc.pipeline.phase_record import describe_phase

    return describe_phase(known, loop_result.phase, evidence.observer)


def describe_circumstances(config: Config, hosts: HostsRecord, *, worked: bool = True) -> RunRecord:
    """Of whichever stages: the config, the hosts that were asked, the machine; its libraries, where they `worked`."""
    machine = MachineRecord(**describe_machine(with_libraries=worked))
    return RunRecord(hosts=hosts, host=machine, config=resolved(config))


def iso_time(moment: datetime) -> str:
    """A moment as run.json has it: UTC, ISO 8601, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counts(evidence: RunMeasurements) -> RunCounts:
    observer = evidence.observer
    return RunCounts(
        **to_builtins(evidence.counts),
        already_done=evidence.already_terminal,
        processed=observer.processed,
        retried=evidence.loop_result.retried,
        missing_files=evidence.imported_list.missing_files,
        pruned=evidence.imported_list.pruned,
        unchanged=observer.outcomes["unchanged"],
    )
