"""One run of a job, from the lock to run.json: opens everything in the right order and runs the line."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from batchproc.config import Config, is_remote
from batchproc.errors import DiskError, ExecutorError, ItemFailedError
from batchproc.explain.words import count
from batchproc.job_file import warm_up
from batchproc.ledger import Ledger
from batchproc.lock import RunLock
from batchproc.model import Outcome
from batchproc.pipeline.closing import card_settings, find_stop, judge, write_down, write_manifests
from batchproc.pipeline.import_list import ImportedList, JobList, describe_import, refuse_lost_ledger, take_in
from batchproc.pipeline.monitoring import RunMonitoring, log_ledger, log_start
from batchproc.pipeline.observer import SPANS_KEPT, SPANS_KEPT_FOR_TRACE, Observer
from batchproc.pipeline.opening import (
    check_certificates,
    check_descriptors,
    check_layout,
    make_transform,
    open_ledger,
    origin_port,
)
from batchproc.pipeline.run_record import LedgerEnd, RunState, describe_run
from batchproc.pipeline.stopping import Control
from batchproc.pipeline.types import Display, RunOptions, RunResult
from batchproc.shortage import find_shortage
from batchproc.signals import doing
from batchproc.sink import Layout
from batchproc.transform.plan import unique_bits
from batchproc.transform.steps.step import Step

if TYPE_CHECKING:  # what only a run that packs its images needs
    from batchproc.pipeline.shard_maker import ShardMaker

LONGEST_KNOWN_PAUSE_SECONDS = 7 * 86_400.0  # of an earlier run: no server and no wrong clock is believed for longer


class Run:
    """One run under way. Made by `run_job`; used in the main thread alone."""

    def __init__(self, state: RunState) -> None:
        job = state.config.job
        self.state = state
        self.config = state.config
        self.options = state.options
        self.layout = state.layout
        self.control = Control(state.note, grace_seconds=job.grace, max_duration_seconds=job.max_duration)
        self.shards: ShardMaker | None = None  # of layouts other than files

    def execute(self, monitor: RunMonitoring) -> RunResult:
        """Runs the job. See `run_job`."""
        with doing("checking the list and the output folder"):
            check_descriptors()
            if self.options.listing is not None:
                self.options.listing.check()
            elif not any(map(is_remote, self.config.paths.inputs)):  # such a list is fetched under the lock
                JobList.of(self.config, self.config.job.base_url).check()
            check_layout(self.config)
            check_certificates(self.config)
            self.layout.prepare()
        with ExitStack() as stack:
            self.state.aside_seconds["lock"] = self._take_lock(stack)
            stack.enter_context(doing("preparing the run"))
            stack.push(self._log_break)
            log_start(self.state.log, self.config)
            monitor.begin()
            self.layout.sweep()
            return self._execute_locked(stack)

    def _take_lock(self, stack: ExitStack) -> float:
        """Waits for the job's lock as long as was asked for; returns the seconds it took."""
        lock = RunLock(self.layout.lock_path, wait_seconds=self.options.wait_seconds, notify=self.state.note)
        asked = time.perf_counter()
        with doing(lock.describe):
            stack.enter_context(lock)
        return time.perf_counter() - asked

    def _execute_locked(self, stack: ExitStack) -> RunResult:
        run = self.state
        run.started, run.clock_started = datetime.now(UTC), time.perf_counter()
        ledger = self._open_ledger(stack)
        port = origin_port(self.layout.output) if self.config.origin else 0
        found, due = self._take_in(ledger, port)
        work = min(due, self.options.limit or due)
        if work:
            warm_up(self.config)
        log_ledger(run.log, found, work=work, items=found.items)
        for text in describe_import(found):
            run.note(text)
        run.folder = self.layout.new_run_folder(run.started)
        run.log.open(run.folder / "log.jsonl")
        self.control.take_over()
        run.aside_seconds["origin"] = self._start_origin(port, stack) if work and port else 0.0
        run.clock_started += run.aside_seconds["origin"]
        self._begin_run(ledger, found, stack)
        run.line_started = time.perf_counter()
        self._run_line_to_its_end(ledger, work)
        counts = ledger.counts()
        run.clock_ended = time.perf_counter()
        end = LedgerEnd(
            counts=counts,
            failures=ledger.failures_by_code(),
            deferrals=ledger.deferrals_by_code(),
            already_terminal=found.items - due,
            stopped_by=find_stop(run.observer, work, counts.pending, self.control.stopped_by),
            data_set=None if isinstance(run.error, DiskError) or self.options.is_part else ledger.data_set(),
        )
        return self._finish(ledger, found, end)

    def _open_ledger(self, stack: ExitStack) -> Ledger:
        if not self.options.fresh:
            refuse_lost_ledger(self.layout)
        ledger = stack.enter_context(open_ledger(self.config, self.layout))
        if self._expects_work(ledger):
            warm_up(self.config)
        return ledger

    def _take_in(self, ledger: Ledger, port: int) -> tuple[ImportedList, int]:
        """Reads the list into the ledger; what came of it, and how many items are due."""
        base_url = f"http://127.0.0.1:{port}/" if port else self.config.job.base_url
        settings = make_transform(self.config, self.state.steps)
        found = take_in(self.config, self.options, settings, ledger, base_url)
        due = ledger.count_work(max_runs=self.config.job.max_runs_per_item, refresh=self.options.refresh)
        return found, due

    def _begin_run(self, ledger: Ledger, found: ImportedList, stack: ExitStack) -> None:
        audience = self.options.audience
        if audience is not None:
            audience.begun(self.control.interrupt)
        self._prepare_shards(ledger, stack)
        self.state.known_pauses = ledger.pauses(time.time(), longest_seconds=LONGEST_KNOWN_PAUSE_SECONDS)
        ledger.begin_run(self.state.folder.name, self.state.started, found.deciding, committed=self._committed)

    def _prepare_shards(self, ledger: Ledger, stack: ExitStack) -> None:
        """Begins to pack images, or unpacks what was packed before. Most jobs need neither, nor what is imported."""
        if self.config.output.layout == "files":
            if ledger.knows_shards():
                from batchproc.pipeline.shard_maker import unpack

                unpack(self.config, self.layout, ledger)
            return
        from batchproc.pipeline.shard_maker import ShardMaker

        work = ledger.count_work_by(
            self.config.output.shard_items,
            max_runs=self.config.job.max_runs_per_item,
            refresh=self.options.refresh,
        )
        is_decided_late = unique_bits(self.state.steps) is not None
        maker = ShardMaker(
            self.config, self.layout, ledger, work=work, is_decided_late=is_decided_late,
            first_number=self.options.first_shard,
        )  # fmt: skip
        self.shards = stack.enter_context(maker)

    def _committed(self, outcomes: Sequence[Outcome]) -> None:
        """These outcomes are on disk. In the thread of the ledger's writer."""
        if self.shards is not None:
            self.shards.committed(outcomes)
        if self.options.audience is not None:
            self.options.audience.committed(outcomes)

    def _expects_work(self, ledger: Ledger) -> bool:
        """Whether there will be something to do, as far as it is known before the list is read."""
        counts = ledger.counts()
        asked = self.options.fresh or self.options.retry_failed or self.options.refresh
        return asked or not counts.items or bool(counts.pending or counts.deferred)

    def _log_break(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.state.log.record("run.broken", "error", error=type(error).__name__, message=str(error))

    def _run_line_to_its_end(self, ledger: Ledger, work: int) -> None:
        """Runs the line and settles the ledger, also when the disk or the workers give up on the way."""
        try:
            if work:
                self._work(ledger, work)
        except ExecutorError as error:
            if self.control.stopped_by is None:
                self.state.fail(error)
            else:  # what was told to stop and did not end in time is no error of its own
                self.state.note(f"warning: {error}")
        except (DiskError, ItemFailedError) as error:
            self.state.fail(error)
        except (OSError, MemoryError, RuntimeError) as error:  # the output folder is gone; the machine has no more
            told = find_shortage(error, self.layout.output)
            if told is None:
                raise
            self.state.fail(told)
        self.control.let_go()
        self.state.line_ended = time.perf_counter()
        try:
            if self.shards is not None:
                self.shards.stop()
            ledger.finish_recording()
            self._keep_unique(ledger)
            ledger.remember_pauses(self.state.loop_result.pauses)
            if self.shards is not None and not isinstance(self.state.error, DiskError):
                self.shards.finish()
            remark = write_manifests(
                ledger,
                self.layout,
                self.config.output,
                originals=self.config.download.keep_originals,
                settings=card_settings(self.config),
                gallery=self.state.folder / "gallery",
                with_card=not self.options.is_part,
            )
            if remark:
                self.state.note(remark)
            if self.shards is not None and not isinstance(self.state.error, DiskError) and not self.options.is_part:
                self.shards.publish_card()
        except DiskError as error:
            self.state.fail(error)

    def _keep_unique(self, ledger: Ledger) -> None:
        """Decides which images look alike, where a step asks for it and the disk still writes. Raises `DiskError`."""
        bits = unique_bits(self.state.steps)
        if bits is None or isinstance(self.state.error, DiskError):
            return
        with doing("looking for images that look alike"):
            decided = ledger.reject_duplicates(bits)
        if decided.rejected:
            rejected = count(decided.rejected, "image")
            self.state.note(f"{rejected} rejected: they look like one that the list names earlier")
        if decided.returned:
            self.state.note(f"{count(decided.returned, 'item')} due again: they look like no other image any more")

    def _finish(self, ledger: Ledger, found: ImportedList, end: LedgerEnd) -> RunResult:
        """Writes what is to be known of this run: run.json, the spans, the ledger's row."""
        run = self.state
        if run.error is not None:
            ledger.release_reserve()
        ending = judge(
            self.config.job, end.counts, run.observer,
            error=run.error, signalled=self.control.exit_code, stopped_by=end.stopped_by,
            missing_files=found.missing_files,
        )  # fmt: skip
        record = describe_run(run, found, end, ending)
        result = RunResult(exit_code=ending.exit_code, record=record, folder=run.folder, error=run.error)
        write_down(run, ledger, result)
        self.control.settle(ending.exit_code)
        return result

    def _start_origin(self, port: int, stack: ExitStack) -> float:
        """Starts the embedded origin and returns the seconds it took: they are not the job's."""
        from batchproc.origin import EmbeddedOrigin
        from batchproc.pipeline.stages import make_origin_settings

        started = time.perf_counter()
        settings = make_origin_settings(self.config, port)
        self.state.note("starting the embedded origin; the first time it draws its pictures ...")
        with doing("making the embedded origin's pictures"):
            self.state.origin_pid = stack.enter_context(EmbeddedOrigin(settings)).pid
        return time.perf_counter() - started

    def _work(self, ledger: Ledger, items: int) -> None:
        """Runs what is due through both stages. What that needs is imported here: most nights bring little or nothing.
        """
        from batchproc.executors import start_context
        from batchproc.job_file import worker_modules

        if "process" in (self.config.download.mode, self.config.transform.mode):
            start_context(worker_modules(self.config))  # it has its own imports to do: beside ours, on another core

        from batchproc.pipeline.loop import Loop

        transform = make_transform(self.config, self.state.steps)
        Loop(self.state, transform, items=items, ledger=ledger).run(self.control)


def run_job(config: Config, steps: tuple[Step, ...], options: RunOptions, display: Display) -> RunResult:
    """Runs a job once, resuming what an earlier run left. Call it in the main thread.

    Raises `UsageError` before anything is touched, `LockHeldError` when another run is under way, `DiskError` and
    `ExecutorError` when it cannot go on; what was done by then is kept in the ledger.
    """
    observer = Observer(spans_kept=SPANS_KEPT_FOR_TRACE if config.report.trace else SPANS_KEPT)
    layout = Layout(output=config.paths.output)
    state = RunState(config=config, steps=steps, options=options, display=display, layout=layout, observer=observer)
    run = Run(state)
    with run.control, doing("telling the health check how it ended"), RunMonitoring(config, state.note) as monitor:
        result = run.execute(monitor)
        monitor.result = result
    return result
