"""One run of a job, from the lock to run.json: opens everything in the right order and runs the line."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from batchproc.config import Config
from batchproc.errors import BatchprocError, DiskError, ExecutorError, ExitCode, ItemFailedError
from batchproc.explain import Variant
from batchproc.explain.measured import Measured, measure
from batchproc.frontier import Concurrency, Frontier, Waits
from batchproc.kinds import kind_of
from batchproc.ledger import Ledger
from batchproc.lock import RunLock
from batchproc.measure.gauges import Gauges
from batchproc.model import Disposition, Failure, Outcome, Source
from batchproc.origin import EmbeddedOrigin
from batchproc.pipeline import assembly
from batchproc.pipeline.certificates import check_certificates
from batchproc.pipeline.closing import write_down, write_manifests
from batchproc.pipeline.control import Brakes, Control
from batchproc.pipeline.evidence import GAUGES, MOVES
from batchproc.pipeline.facts import RunEvidence, describe_leg, describe_run
from batchproc.pipeline.intake import describe_intake, refuse_lost_ledger, take_in
from batchproc.pipeline.journal import log_ledger, log_line, log_start
from batchproc.pipeline.judging import find_stop, judge
from batchproc.pipeline.leg import Leg
from batchproc.pipeline.monitor import Monitor
from batchproc.pipeline.observer import SPANS_KEPT, SPANS_KEPT_FOR_TRACE, Observer
from batchproc.pipeline.pilot import Pilot
from batchproc.pipeline.stall import watch
from batchproc.pipeline.terms import Display, RunOptions, RunResult
from batchproc.redact import printable, redact_url
from batchproc.runlog import RunLog
from batchproc.shortage import find_shortage
from batchproc.signals import doing
from batchproc.sink import Layout
from batchproc.transform.stage import Transform
from batchproc.transform.steps.step import Step

LONGEST_KNOWN_PAUSE_SECONDS = 7 * 86_400.0  # of an earlier run: no server and no wrong clock is believed for longer


class Run:
    """One run under way. Made by `run_job`; used in the main thread alone."""

    def __init__(self, config: Config, steps: tuple[Step, ...], options: RunOptions, display: Display) -> None:
        self.config = config
        self.options = options
        self.display = display
        self.log = RunLog()
        self.layout = Layout(output=config.paths.output)
        self.transform: Transform = assembly.make_transform(config, steps)
        self.origin: EmbeddedOrigin | None = None
        self.leg: Leg | None = None  # under way, or the last one
        self.glimpse: dict[str, Any] | None = None  # of the leg in which modes were weighed
        self.auto: dict[str, Any] | None = None
        self.stopping = False
        self.observer = Observer(spans_kept=SPANS_KEPT_FOR_TRACE if config.report.trace else SPANS_KEPT)
        self.retried = 0
        self.waits = Waits()
        self.hosts: dict[str, Any] = {}
        self.known_pauses: Mapping[str, float] = {}  # of earlier runs: until when, in UTC seconds since 1970, by host
        self.pauses: Mapping[str, float] = {}  # for the next run
        self.concurrency: dict[str, Any] | None = None
        self.control = Control(self.note, grace_seconds=config.job.grace, max_duration_seconds=config.job.max_duration)
        self.error: BatchprocError | None = None
        self.line_ended = 0.0

    def execute(self, monitor: Monitor) -> RunResult:
        """Runs the job. See `run_job`."""
        with doing("checking the list and the output folder"):
            assembly.check_descriptors()
            assembly.check_list(self.config)
            check_certificates(self.config)
            self.layout.prepare()
        with ExitStack() as stack:
            lock = RunLock(self.layout.lock_path, wait_seconds=self.options.wait_seconds, tell=self.note)
            with doing(lock.describe):
                stack.enter_context(lock)
            stack.enter_context(doing("preparing the run"))
            stack.push(self._log_break)
            assembly.warm_up(self.config, self.transform)
            log_start(self.log, self.config)
            monitor.begin()
            self.layout.sweep()
            started, clock_started = datetime.now(UTC), time.perf_counter()
            if not self.options.fresh:
                refuse_lost_ledger(self.layout)
            ledger = stack.enter_context(assembly.open_ledger(self.config, self.layout))
            port = assembly.origin_port(self.layout.output) if self.config.origin else 0
            base_url = f"http://127.0.0.1:{port}/" if port else self.config.job.base_url
            intake = take_in(self.config, self.options, self.transform, ledger, base_url)
            due = ledger.count_work(max_runs=self.config.job.max_runs_per_item, refresh=self.options.refresh)
            work = min(due, self.options.limit or due)
            terminal = ledger.counts().items - due
            log_ledger(self.log, intake, work=work, items=terminal + due)
            for text in describe_intake(intake):
                self.note(text)
            folder = self.layout.new_run_folder(started)
            self.log.open(folder / "log.jsonl")
            self.control.take_over()
            if work and port:
                clock_started += self._start_origin(port, stack)
            self.known_pauses = ledger.pauses(time.time(), longest_seconds=LONGEST_KNOWN_PAUSE_SECONDS)
            ledger.begin_run(folder.name, started, intake.deciding)
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
                due_again=intake.due_again,
                missing_files=intake.missing_files,
                recipe=intake.recipe,
                pruned=intake.pruned,
                remarks=intake.imported.remarks,
                counts=ledger.counts(),
                failures=ledger.failures_by_code(),
                deferrals=ledger.deferrals_by_code(),
                work=work,
                already_terminal=terminal,
                observer=self.observer,
                leg=self.leg.evidence() if self.leg else None,
                glimpse=self.glimpse,
                retried=self.retried,
                waits=self.waits,
                hosts=self.hosts,
                concurrency=self.concurrency,
                auto=self.auto,
                stopped_by=find_stop(self.observer, work, ledger.counts().pending, self.control.stopped_by),
            )
            return self._finish(ledger, evidence, folder)

    def note(self, text: str) -> None:
        """Tells the user and the log. From any thread."""
        self.display.note(text)
        self.log.record("note", "warning" if text.startswith("warning") else "info", text=text)

    def _warn(self, text: str) -> None:
        if text:
            self.note(f"warning: {text}")

    def _log_break(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.log.record("run.broken", "error", error=type(error).__name__, message=str(error))

    def _run_line_to_its_end(self, ledger: Ledger, work: int, folder: Path) -> None:
        """Runs the line and settles the ledger, also when the disk or the workers give up on the way."""
        try:
            if work:
                self._run_line(ledger, work, folder)
        except ExecutorError as error:
            if self.control.stopped_by is None:
                self.error = self.error or error
            else:  # what was told to stop and did not end in time is no error of its own
                self.note(f"warning: {error}")
        except (DiskError, ItemFailedError) as error:
            self.error = self.error or error
        except (OSError, MemoryError, RuntimeError) as error:  # the output folder is gone; the machine has no more
            told = find_shortage(error, self.layout.output)
            if told is None:
                raise
            self.error = self.error or told
        self.control.let_go()
        self.line_ended = time.perf_counter()
        try:
            ledger.finish_recording()
            ledger.remember_pauses(self.pauses)
            write_manifests(ledger, self.layout)
        except DiskError as error:
            self.error = self.error or error

    def _finish(self, ledger: Ledger, evidence: RunEvidence, folder: Path) -> RunResult:
        """Writes what is to be known of this run: run.json, the spans, the ledger's row."""
        if self.error is not None:
            ledger.release_ballast()
        ending = judge(
            self.config.job, evidence.counts, self.observer,
            error=self.error, signalled=self.control.exit_code, stopped_by=evidence.stopped_by,
            missing_files=evidence.missing_files,
        )  # fmt: skip
        facts = describe_run(evidence, ending)
        facts["counts"] |= {"unchanged": self.observer.outcomes["unchanged"]}
        result = RunResult(exit_code=ending.exit_code, facts=facts, folder=folder, error=self.error)
        write_down(
            result, ledger=ledger, layout=self.layout, log=self.log, observer=self.observer,
            keep_runs=self.config.job.keep_runs,
        )  # fmt: skip
        self.control.settle(ending.exit_code)
        return result

    def _start_origin(self, port: int, stack: ExitStack) -> float:
        """Starts the embedded origin and returns the seconds it took: they are not the job's."""
        started = time.perf_counter()
        settings = assembly.make_origin_settings(self.config, port)
        self.note("making the embedded origin's pictures ...")
        with doing("making the embedded origin's pictures"):
            self.origin = stack.enter_context(EmbeddedOrigin(settings))
        return time.perf_counter() - started

    def _run_line(self, ledger: Ledger, work: int, folder: Path) -> None:
        """Runs the line, leg by leg, to its end."""
        concurrency = assembly.make_concurrency(self.config)
        frontier = assembly.make_frontier(
            self.config, self._sources(ledger), reread=ledger.reread, concurrency=concurrency
        )
        now = time.time()
        frontier.leave_alone({host: until - now for host, until in self.known_pauses.items()})
        pilot = Pilot(self.config, work, fragile=_lost_workers(ledger.failures_by_code()))
        self._warn(assembly.why_fewer_workers(self.config, pilot.crew))
        brakes = Brakes(
            admit_no_more=frontier.close,
            stop_at_once=self._stop_at_once,
            save=partial(self._save, ledger),
        )
        self.control.take(brakes)
        with ExitStack() as stack:
            gauges = stack.enter_context(Gauges(GAUGES, self.layout.temporary_folder))
            stack.callback(self._remember, frontier, pilot, concurrency)
            moves = partial(map, gauges.get, MOVES)
            stacks = folder / "stacks.txt"
            stack.enter_context(watch(self.config, moves, self._give_up, partial(self._save, ledger), stacks))
            stack.enter_context(doing(lambda: f"{self.observer.describe(work)}, {frontier.in_flight:,} under way"))
            stack.callback(self.display.end)
            self.display.begin(work)
            make_leg = self._leg_maker(frontier, gauges, work, folder)
            ended_early = True
            while ended_early and self._may_go_on(work):
                ended_early = self._run_leg(make_leg(pilot.crew), pilot, ledger, frontier, gauges)

    def _may_go_on(self, work: int) -> bool:
        stopped = self.stopping or self.control.stopped_by is not None
        return not stopped and self.observer.processed < work

    def _leg_maker(self, frontier: Frontier, gauges: Gauges, work: int, folder: Path) -> Callable[[Variant], Leg]:
        """What makes a leg in the modes that it is given; all else stays the same from leg to leg."""
        download = assembly.make_download(self.config, "127.0.0.1/32" if self.origin else "")
        transform = assembly.with_gallery(self.transform, self.config, folder, work)
        numbers = itertools.count(1)
        return lambda crew: Leg(
            self.config,
            crew,
            download,
            transform,
            number=next(numbers),
            frontier=frontier,
            gauges=gauges,
            log_folder=folder,
            origin_pid=self.origin.pid if self.origin else None,
        )

    def _run_leg(self, leg: Leg, pilot: Pilot, ledger: Ledger, frontier: Frontier, gauges: Gauges) -> bool:
        """Runs one leg until everything that it let in has come out; whether another is to go on from there."""
        self.leg = leg
        ended_early = False
        self.observer.begin_leg()
        pilot.begin_leg()
        with leg:
            log_line(self.log, leg.executors)
            for outcome in leg.outcomes():
                self._hear(outcome, frontier, ledger)
                gauges.put("failed_total", self.observer.failures.total())
                gauges.put("waiting", frontier.waiting)
                gauges.put("held_bytes", frontier.held_bytes)
                pilot.fragile = pilot.fragile or _lost_workers(self.observer.failures)
                if pilot.heard(self.observer.leg_items, lambda: self._look_at(leg, pilot, frontier)):
                    ended_early = True
                    leg.end_early()
        pilot.end_leg(leg.crew, self.observer.leg_items, leg.seconds)
        return ended_early

    def _look_at(self, leg: Leg, pilot: Pilot, frontier: Frontier) -> Measured | None:
        """The leg under way in the terms of the model. Kept, for the case that no later leg comes to anything."""
        pilot.fragile = pilot.fragile or any(times.starts > 1 for one in leg.executors for times in one.times)
        self.glimpse = describe_leg(leg.glance(), self.observer, self.config, frontier.describe_hosts())
        return measure(self.glimpse)

    def _remember(self, frontier: Frontier, pilot: Pilot, concurrency: Concurrency | None) -> None:
        self.retried, self.waits = frontier.retried, frontier.waits
        self.hosts = frontier.describe_hosts()
        self._warn(frontier.describe_trouble())
        self.pauses = {host: time.time() + seconds for host, seconds in frontier.pauses().items()}
        self.auto = pilot.describe()
        self.concurrency = concurrency.describe() if concurrency else None

    def _give_up(self, reason: str) -> None:
        """Ends a run that no longer moves. Called by the watch's thread."""
        self.error = self.error or ExecutorError(reason)
        self.log.record("run.stalled", "error", reason=reason)
        self._stop_at_once()

    def _stop_at_once(self) -> None:
        """Ends the leg under way, and lets no other begin. From any thread."""
        self.stopping = True
        if self.leg is not None:
            self.leg.stop()

    def _save(self, ledger: Ledger, exit_code: ExitCode) -> None:
        """Commits what was recorded and ends the run's row, before the process leaves by force. From any thread."""
        self.log.record("run.left", "error", exit_code=int(exit_code))
        counters = {"processed": self.observer.processed}
        with suppress(BatchprocError):
            ledger.break_off_run(ended=datetime.now(UTC), exit_code=exit_code, counters=counters)

    def _hear(self, outcome: Outcome, frontier: Frontier, ledger: Ledger) -> None:
        """The loop's body: frontier, observer and ledger hear of an outcome."""
        if isinstance(outcome, Failure) and kind_of(outcome.code).stops_run:
            raise DiskError(f"{self.layout.output}: {outcome.message}; what is unfinished stays pending")
        final = frontier.heard(outcome)
        self.observer.heard(outcome, final)
        if final is not None:
            ledger.record(final)
        if isinstance(final, Failure):
            self.log.failed(final)
        self.display.advance(self.observer)
        if self.options.strict and isinstance(final, Failure) and final.disposition is not Disposition.DEFERRED:
            raise ItemFailedError(
                f"line {final.source.line} of the list, {printable(redact_url(final.source.url))}: "
                f"{final.code}: {final.message}; --strict stops at the first failure"
            )

    def _sources(self, ledger: Ledger) -> Iterator[Source]:
        work = ledger.work(max_runs=self.config.job.max_runs_per_item, refresh=self.options.refresh)
        return itertools.islice(work, self.options.limit or None)


def _lost_workers(failures: Mapping[str, int]) -> bool:
    return any(kind_of(code).loses_worker for code in failures)


def run_job(config: Config, steps: tuple[Step, ...], options: RunOptions, display: Display) -> RunResult:
    """Runs a job once, resuming what an earlier run left. Call it in the main thread.

    Raises `UsageError` before anything is touched, `LockHeldError` when another run is under way, `DiskError` and
    `ExecutorError` when it cannot go on; what was done by then is kept in the ledger.
    """
    run = Run(config, steps, options, display)
    with run.control, doing("telling the health check how it ended"), Monitor(config, run.note) as monitor:
        result = run.execute(monitor)
        monitor.result = result
    return result
