"""One run of a job, from the lock to run.json: opens everything in the right order and runs the line."""

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from batchproc.config import Config
from batchproc.errors import BatchprocError, DiskError, ExecutorError, ExitCode, UsageError
from batchproc.executors import Executor
from batchproc.frontier import Frontier
from batchproc.ledger import Imported, Ledger
from batchproc.lock import RunLock
from batchproc.measure.gauges import Gauges
from batchproc.measure.sampler import Sampler
from batchproc.model import Failure, Outcome, Source
from batchproc.origin import EmbeddedOrigin
from batchproc.pipeline import assembly
from batchproc.pipeline.control import Brakes, Control
from batchproc.pipeline.evidence import GAUGES, counted
from batchproc.pipeline.facts import RunEvidence, describe_run, write_facts
from batchproc.pipeline.observer import SPANS_KEPT, SPANS_KEPT_FOR_TRACE, Observer
from batchproc.sink import ImageFolder, Layout, write_manifest
from batchproc.transform.plan_fingerprint import fingerprint, plan_settings
from batchproc.transform.stage import Transform
from batchproc.transform.steps.step import Step

DISK_CODES = frozenset({"io.nospace", "io.perm", "io.other"})


class Display(Protocol):
    """What shows a run to its user. `note` may be called from any thread."""

    def begin(self, total: int) -> None: ...

    def advance(self, observer: Observer) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the command line asks of one run, beyond the config."""

    limit: int = 0  # items at most; 0 = all
    retry_failed: bool = False
    fresh: bool = False
    accept_config_change: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to: its exit code, the facts of run.json, and the folder they are in."""

    exit_code: ExitCode
    facts: dict[str, Any]
    folder: Path
    error: BatchprocError | None = None  # what ended the run before its time


class Run:
    """One run under way. Made by `run_job`; used in the main thread alone."""

    def __init__(self, config: Config, steps: tuple[Step, ...], options: RunOptions, display: Display) -> None:
        self.config = config
        self.options = options
        self.display = display
        self.layout = Layout(output=config.paths.output)
        self.transform: Transform = assembly.make_transform(config, steps)
        self.origin: EmbeddedOrigin | None = None
        self.executors: list[Executor] = []
        self.observer = Observer(spans_kept=SPANS_KEPT_FOR_TRACE if config.report.trace else SPANS_KEPT)
        self.retried = 0
        self.retry_wait_seconds = 0.0
        self.stopped_by: str | None = None
        self.exit_code: ExitCode | None = None
        self.error: BatchprocError | None = None
        self.sampler: Sampler | None = None
        self.line_ended = 0.0

    def execute(self) -> RunResult:
        """Runs the job. See `run_job`."""
        assembly.check_list(self.config)
        self.layout.prepare()
        with ExitStack() as stack:
            stack.enter_context(RunLock(self.layout.lock_path))
            self.layout.sweep()
            started, clock_started = datetime.now(UTC), time.perf_counter()
            ledger = stack.enter_context(self._open_ledger())
            port = _free_port() if self.config.origin else 0
            imported = self._import(ledger, port)
            due = ledger.count_work(max_runs=self.config.job.max_runs_per_item)
            work = min(due, self.options.limit or due)
            terminal = ledger.counts().items - due
            folder = self.layout.new_run_folder(started)
            if work and port:
                clock_started += self._start_origin(port, stack)
            ledger.begin_run(folder.name, started)
            line_started = time.perf_counter()
            self._run_line_to_its_end(ledger, work, folder)
            evidence = RunEvidence(
                config=self.config,
                run_id=folder.name,
                started=started,
                wall_seconds=time.perf_counter() - clock_started,
                clock_started=clock_started,
                line_started=line_started,
                line_ended=self.line_ended,
                imported=imported,
                counts=ledger.counts(),
                failures=ledger.failures_by_code(),
                work=work,
                already_terminal=terminal,
                observer=self.observer,
                executors=self.executors,
                retried=self.retried,
                retry_wait_seconds=self.retry_wait_seconds,
                stopped_by=self.stopped_by,
                samples=self.sampler.result() if self.sampler else None,
                sampler_failure=self.sampler.failure if self.sampler else "[report] sampling is off",
            )
            return self._finish(ledger, evidence, folder)

    def _run_line_to_its_end(self, ledger: Ledger, work: int, folder: Path) -> None:
        """Runs the line and settles the ledger, also when the disk or the workers give up on the way."""
        try:
            if work:
                self._run_line(ledger, work, folder)
        except (DiskError, ExecutorError) as error:
            self.error = error
        self.line_ended = time.perf_counter()
        try:
            ledger.finish_recording()
            self._write_manifests(ledger)
        except DiskError as error:
            self.error = self.error or error

    def _finish(self, ledger: Ledger, evidence: RunEvidence, folder: Path) -> RunResult:
        """Writes what is to be known of this run: run.json, the spans, the ledger's row."""
        if self.error is not None:
            ledger.release_ballast()
            exit_code = self.error.exit_code
        else:
            exit_code = self.exit_code or self._judge(evidence)
        facts = describe_run(evidence, exit_code)
        try:
            write_facts(folder, facts, self.observer)
            self.layout.point_latest(folder)
            self.layout.prune_runs(self.config.job.keep_runs)
        except OSError as error:
            raise DiskError(f"{folder}: cannot be written: {error.strerror}") from error
        ledger.end_run(ended=datetime.now(UTC), exit_code=exit_code, counters=facts["counts"])
        return RunResult(exit_code=exit_code, facts=facts, folder=folder, error=self.error)

    def _open_ledger(self) -> Ledger:
        power = self.config.output.durability == "power"
        images = ImageFolder(self.layout.output, power=power)
        return Ledger.open(
            self.layout.ledger_path, images=images, ballast_path=self.layout.ballast_path, power=power
        )

    def _import(self, ledger: Ledger, port: int) -> Imported:
        """Takes over what an earlier run left, compares the plans, and brings the ledger up to the list."""
        ledger.recover()
        self._adopt_plan(ledger)
        base_url = f"http://127.0.0.1:{port}/" if port else self.config.job.base_url
        imported = ledger.import_sources(
            assembly.listed_items(self.config, base_url),
            fingerprint=assembly.list_fingerprint(self.config, base_url),
            keyed_by_id=bool(self.config.job.id_column),
        )
        job = self.config.job
        counts = ledger.counts()
        if job.max_bad_rows and counts.bad_rows > job.max_bad_rows:
            raise UsageError(
                f"{job.input}: {counts.bad_rows} bad rows, more than max_bad_rows = {job.max_bad_rows}; "
                "mend the list or raise the limit"
            )
        if job.fail_on_empty and not counts.items:
            raise UsageError(f"{job.input}: the list is empty, and fail_on_empty is set")
        if self.options.fresh:
            ledger.start_afresh()
        elif self.options.retry_failed:
            ledger.retry_failed()
        return imported

    def _adopt_plan(self, ledger: Ledger) -> None:
        plan, settings = fingerprint(self.transform), plan_settings(self.transform)
        change = ledger.compare_plan(plan, settings)
        accepted = self.options.accept_config_change or self.options.fresh
        if change is not None and not accepted:
            what = "\n  ".join(change.differences)
            raise UsageError(
                f"{self.layout.output}: {change.stale} items were made by another plan:\n  {what}\n"
                "--accept-config-change makes them again; another --output keeps both."
            )
        ledger.adopt_plan(plan, settings, remake_stale=accepted)

    def _start_origin(self, port: int, stack: ExitStack) -> float:
        """Starts the embedded origin and returns the seconds it took: they are not the job's."""
        started = time.perf_counter()
        settings = assembly.make_origin_settings(self.config, port)
        self.display.note("making the embedded origin's pictures ...")
        self.origin = stack.enter_context(EmbeddedOrigin(settings))
        return time.perf_counter() - started

    def _run_line(self, ledger: Ledger, work: int, folder: Path) -> None:
        """Opens the executors, processes first, and runs the line to its end."""
        download = assembly.make_download(self.config, "127.0.0.1/32" if self.origin else "")
        frontier = Frontier(
            self._sources(ledger),
            per_host=self.config.download.per_host,
            retries=self.config.download.retries,
            buffer_bytes=self.config.download.buffer,
        )
        transform = assembly.with_gallery(self.transform, self.config, folder, work)
        self.executors = assembly.make_executors(self.config, download, transform, folder)
        downloading, transforming = self.executors
        brakes = Brakes(
            admit_no_more=frontier.close,
            stop_at_once=self._stop_executors,
            tell=self.display.note,
            show_progress=lambda: self.display.note(f"{self.observer.processed} of {work} items, {frontier!r}"),
        )
        job = self.config.job
        control = Control(brakes, grace_seconds=job.grace, max_duration_seconds=job.max_duration)
        with ExitStack() as stack:
            gauges = stack.enter_context(Gauges(GAUGES))
            stack.enter_context(downloading)
            stack.enter_context(transforming)
            if self.config.report.sampling:
                origin_pid = self.origin.pid if self.origin else None
                self.sampler = stack.enter_context(Sampler(gauges, origin_pid=origin_pid))
            stack.enter_context(control)
            stack.callback(self.display.end)
            stack.callback(frontier.close)
            self.display.begin(work)
            admitted = counted(frontier, gauges, "download_in_total")
            originals = counted(downloading.run(download, admitted), gauges, "download_out_total")
            for outcome in transforming.run(transform, map(frontier.downloaded, originals)):
                gauges.add("transform_out_total")
                self._hear(outcome, frontier, ledger)
                gauges.put("failed_total", self.observer.outcomes["failed"])
                gauges.put("waiting", frontier.waiting)
                gauges.put("held_bytes", frontier.held_bytes)
        self.retried, self.retry_wait_seconds = frontier.retried, frontier.retry_wait_seconds
        self.stopped_by, self.exit_code = control.stopped_by, control.exit_code or self.exit_code

    def _stop_executors(self) -> None:
        for executor in self.executors:
            executor.stop()

    def _hear(self, outcome: Outcome, frontier: Frontier, ledger: Ledger) -> None:
        """The loop's body: frontier, observer and ledger hear of an outcome."""
        if isinstance(outcome, Failure) and outcome.code in DISK_CODES:
            raise DiskError(f"{self.layout.output}: {outcome.message}; what is unfinished stays pending")
        final = frontier.heard(outcome)
        self.observer.heard(outcome, final)
        if final is not None:
            ledger.record(final)
        self.display.advance(self.observer)
        if self.options.strict and isinstance(final, Failure):
            frontier.close()
            self.exit_code = ExitCode.TOO_MANY_FAILED

    def _sources(self, ledger: Ledger) -> Iterator[Source]:
        work = ledger.work(max_runs=self.config.job.max_runs_per_item)
        return itertools.islice(work, self.options.limit or None)

    def _write_manifests(self, ledger: Ledger) -> None:
        if ledger.manifests_are_current():
            return
        images = ImageFolder(self.layout.output)
        write_manifest(self.layout.metadata_path, ledger.metadata_rows(images.file_name))
        write_manifest(self.layout.failures_path, ledger.failure_rows())
        ledger.note_manifests()

    def _judge(self, evidence: RunEvidence) -> ExitCode:
        """The exit code of a run that nobody interrupted, as the ledger stands at the end."""
        job, counts = self.config.job, evidence.counts
        failed = counts.failed + counts.quarantined
        if failed > job.max_failed_ratio * counts.items or (job.max_failed and failed > job.max_failed):
            return ExitCode.TOO_MANY_FAILED
        if job.exit_on_limit and counts.pending:
            return ExitCode.LIMIT
        return ExitCode.DONE


def run_job(config: Config, steps: tuple[Step, ...], options: RunOptions, display: Display) -> RunResult:
    """Runs a job once, resuming what an earlier run left. Call it in the main thread.

    Raises `UsageError` before anything is touched, `LockHeldError` when another run is under way, `DiskError` and
    `ExecutorError` when it cannot go on; what was done by then is kept in the ledger.
    """
    return Run(config, steps, options, display).execute()


def _free_port() -> int:
    """A port that nobody listens on: the list is joined with it before the origin has to be started at all."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

