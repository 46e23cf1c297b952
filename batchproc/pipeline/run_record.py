"""The record of a run: what was counted and measured becomes run.json and spans.jsonl. Arithmetic, no judgement."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from batchproc.config import Config, resolved
from batchproc.errors import BatchprocError
from batchproc.explain.wording import nothing_done
from batchproc.measure.processes import describe_machine
from batchproc.measure.samples import Samples
from batchproc.pipeline.closing import Ending
from batchproc.pipeline.import_list import ImportedList
from batchproc.pipeline.observer import Observer
from batchproc.pipeline.types import Display, RunOptions
from batchproc.record.run_json import (
    Counts,
    HostsRecord,
    MachineRecord,
    RunCounts,
    RunRecord,
)
from batchproc.runlog import RunLog
from batchproc.sink import Layout
from batchproc.transform.steps.step import Step
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


class RunState(Struct, kw_only=True):
    """A run under way: what its parts share, and what has become of it. Changed by the main thread, but for `error`.

    `clock_*` and `line_*` are perf_counter seconds. `aside_seconds`: what lay between the command's start and the
    clock's, and is no work of this run's.
    """

    config: Config
    steps: tuple[Step, ...]
    options: RunOptions
    display: Display
    layout: Layout
    observer: Observer
    log: RunLog = field(default_factory=RunLog)
    loop_result: LoopResult = field(default_factory=LoopResult)
    error: BatchprocError | None = None  # what ended it before its time, the first of all
    started: datetime = datetime.min
    folder: Path = Path()
    origin_pid: int | None = None
    known_pauses: Mapping[str, float] = field(default_factory=dict)  # of earlier runs: until when, in UTC s, by host
    aside_seconds: dict[str, float] = field(default_factory=dict)
    clock_started: float = 0.0
    clock_ended: float = 0.0
    line_started: float = 0.0
    line_ended: float = 0.0

    def note(self, text: str) -> None:
        """Tells the user and the log. From any thread."""
        self.display.note(text)
        self.log.record("note", "warning" if text.startswith("warning") else "info", text=text)

    def fail(self, error: BatchprocError) -> None:
        """Keeps what ends the run, if it is the first. From any thread."""
        self.error = self.error or error


class LedgerEnd(Struct, frozen=True, kw_only=True):
    """How the ledger stands when a run has done what it could."""

    counts: Counts
    failures: Mapping[str, int]
    deferrals: Mapping[str, int]
    already_terminal: int
    stopped_by: str | None
    data_set: "DataSetRecord | None" = None


def describe_run(run: RunState, found: ImportedList, end: LedgerEnd, ending: Ending) -> RunRecord:
    """What was measured, and the explanation that follows from it."""
    record = _measured(run, found, end, ending)
    if run.options.is_part:
        return record
    record = _explained(record) if record.stages else nothing_done(record)
    return replace(record, command_seconds=_describe_command(run))


def _explained(record: RunRecord) -> RunRecord:
    from batchproc.explain.findings import explain  # where there is something to explain

    return explain(record)


def _measured(run: RunState, found: ImportedList, end: LedgerEnd, ending: Ending) -> RunRecord:
    observer, line_seconds = run.observer, run.line_ended - run.line_started
    first_start = observer.first_start
    return replace(
        _describe_stages(run),
        version=VERSION,
        job=run.config.job.name,
        run_id=run.folder.name,
        started=iso_time(run.started),
        ended=iso_time(datetime.now(UTC)),
        wall_seconds=run.clock_ended - run.clock_started,
        line_seconds=line_seconds,
        observer_started=observer.started,
        exit_code=int(ending.exit_code),
        reason=ending.reason,
        stopped_by=end.stopped_by,
        counts=_counts(run, found, end),
        failures=dict(end.failures),
        deferrals=dict(end.deferrals),
        failures_this_run=dict(observer.failures),
        deferred_this_run=observer.outcomes["deferred"],
        images_per_second=observer.outcomes["done"] / line_seconds if line_seconds else 0.0,
        startup_seconds=None if first_start is None else first_start - run.clock_started,
        retry_wait_seconds=run.loop_result.retry_wait_seconds,
        pause_wait_seconds=run.loop_result.pause_wait_seconds,
        list_remarks=tuple(found.imported.remarks),
        recipe=found.recipe,
        resampler_problem=found.resampler_problem,
        due_again=found.due_again,
        original_bytes=observer.original_bytes,
        rendition_bytes=observer.rendition_bytes,
        auto=run.loop_result.auto,
        concurrency=run.loop_result.concurrency,
        data_set=end.data_set,
    )


def _describe_command(run: RunState) -> dict[str, float] | None:
    """The whole command by the clock, in parts that follow on each other: from the start of its process until now.

    `prepare`, `items` and `settle` are `wall_seconds`. What comes after, the summary and the page, is not in it: this
    is what they are made from. None where the run is not all that its process is for.
    """
    if run.options.command_started is None:
        return None
    aside = sum(run.aside_seconds.values())
    return {
        "start": run.clock_started - run.options.command_started - aside,
        **run.aside_seconds,
        "prepare": run.line_started - run.clock_started,
        "items": run.line_ended - run.line_started,
        "settle": run.clock_ended - run.line_ended,
        "describe": time.perf_counter() - run.clock_ended,
    }


def _describe_stages(run: RunState) -> RunRecord:
    """Of the last phase; where that was stopped before its first item, what was seen of the one before."""
    loop_result = run.loop_result
    if loop_result.snapshot is not None and not run.observer.phase_items:
        return loop_result.snapshot
    known = describe_circumstances(run.config, loop_result.hosts, worked=loop_result.phase is not None)
    if loop_result.phase is None:
        return replace(known, samples=Samples(unknown="there was nothing to do"))
    from batchproc.pipeline.phase_record import describe_phase

    return describe_phase(known, loop_result.phase, run.observer)


def describe_circumstances(config: Config, hosts: HostsRecord, *, worked: bool = True) -> RunRecord:
    """Of whichever stages: the config, the hosts that were asked, the machine; its libraries, where they `worked`."""
    machine = MachineRecord(**describe_machine(with_libraries=worked))
    return RunRecord(hosts=hosts, host=machine, config=resolved(config))


def iso_time(moment: datetime) -> str:
    """A moment as run.json has it: UTC, ISO 8601, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counts(run: RunState, found: ImportedList, end: LedgerEnd) -> RunCounts:
    observer = run.observer
    return RunCounts(
        **to_builtins(end.counts),
        already_done=end.already_terminal,
        processed=observer.processed,
        retried=run.loop_result.retried,
        missing_files=found.missing_files,
        pruned=found.pruned,
        unchanged=observer.outcomes["unchanged"],
    )
