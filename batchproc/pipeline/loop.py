"""The items that are due, on their way through both stages: phase by phase, until the last one has come out.

A phase is a part of the work in one pair of modes, from the opening of its workers until the last of them has ended. A
run with fixed modes is one phase. Where modes are found out, a phase may end early: the frontier pauses, what is in
flight comes to its end, and the next phase goes on from there. Imported where there is work.
"""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from batchproc.config import Config
from batchproc.download.fetch import Download
from batchproc.errors import BatchprocError, DiskError, ExecutorError, ExitCode, ItemFailedError
from batchproc.executors import Executor, keep_freed_memory
from batchproc.explain.run_model import RunModel, measure
from batchproc.frontier import LONGEST_BACKOFF_SECONDS, Concurrency, Frontier
from batchproc.kinds import kind_of
from batchproc.ledger import Ledger
from batchproc.lifecycle import exit_by_force
from batchproc.measure.sampler import Gauges, Sampler
from batchproc.measure.samples import Samples
from batchproc.model import Disposition, Failure, Item, Outcome, Source, SourceImage, Unchanged, describe_line
from batchproc.pipeline import stages
from batchproc.pipeline.mode_selector import ModeSelector
from batchproc.pipeline.monitoring import log_line
from batchproc.pipeline.phase_record import GAUGES, MOVES, PhaseMeasurements, describe_phase
from batchproc.pipeline.run_record import RunState, describe_circumstances
from batchproc.pipeline.stages import for_plan, make_executors
from batchproc.pipeline.stopping import Control, StopHandlers, Watchdog
from batchproc.record.explanation import ExecutionPlan
from batchproc.redact import printable, redact_url
from batchproc.signals import doing
from batchproc.transform.plan import Transform

NOT_MODIFIED = 304  # RFC 9110, section 15.4.5


def settle_unchanged(outcome: Outcome) -> Outcome:
    """Turns a download that brought nothing new into an `Unchanged`, which executors pass on as it is. Thread-safe."""
    known = outcome.source.refresh
    if known is None or not isinstance(outcome, Item) or not isinstance(outcome.value, SourceImage):
        return outcome
    original = outcome.value
    if original.reply.status_code == NOT_MODIFIED:
        return Unchanged(source=outcome.source, spans=outcome.spans)
    if known.source_sha256 and hashlib.sha256(original.content).hexdigest() == known.source_sha256:
        return Unchanged(source=outcome.source, reply=original.reply, spans=outcome.spans)
    return outcome


NOT_SAMPLED = "[report] sampling is off"


class Phase:
    """One phase. Made and run in the main thread; `executors` may be stopped from any."""

    def __init__(
        self,
        run: RunState,
        plan: ExecutionPlan,
        download: Download,
        transform: Transform,
        *,
        number: int,
        frontier: Frontier,
        gauges: Gauges,
    ) -> None:
        self.plan = plan
        self.number = number
        self.executors: tuple[Executor, Executor] = make_executors(run.config, plan, run.folder)
        self.started = time.perf_counter()
        self._download = for_plan(download, plan)
        self._transform = transform
        self._frontier = frontier
        self._gauges = gauges
        self._sampler = Sampler(gauges, origin_pid=run.origin_pid) if run.config.report.sampling else None
        self._waits_before = replace(frontier.waits)
        self._ended = 0.0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Opens the executors, then what watches them. Raises `ExecutorError`."""
        if self.plan.transform != "process":
            keep_freed_memory()  # as the workers do, so that modes differ in nothing else
        with ExitStack() as stack:
            stack.callback(self._note_end)
            for executor in self.executors:
                stack.enter_context(executor)
            if self._sampler is not None:
                stack.enter_context(self._sampler)  # inside, so that its last look still finds the workers
            self._frontier.resume(workers=self.executors[0].workers)
            stack.callback(self._frontier.pause)  # whatever ends the phase: nobody may wait for an item any more
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # nobody takes what is still inside: it must not be waited for
            self.stop()
        self._open.__exit__(kind, error, trace)

    def outcomes(self) -> Iterator[Outcome]:
        """What becomes of each item; ends when the frontier pauses or has nothing more, and nothing is in flight."""
        originals = _counted(self._downloaded(), self._gauges, "download_out_total")
        return _counted(self.executors[1].run(self._transform, originals), self._gauges, "transform_out_total")

    def _downloaded(self) -> Iterator[Outcome]:
        """Begins once it is asked: the workers of the transform are on their way by then."""
        for outcome in map(settle_unchanged, self.executors[0].run(self._download, self._admitted())):
            landed = self._frontier.downloaded(outcome)
            if landed is not None:
                yield landed

    def _admitted(self) -> Iterator[Outcome]:
        for item in self._frontier:
            self._gauges.put("download_in_total", self._frontier.admitted)
            yield item

    def end_early(self) -> None:
        """Lets nothing more in; what is inside comes out. Nobody will ask what was seen of this phase."""
        self._frontier.pause()
        if self._sampler is not None:
            self._sampler.dismiss()

    def stop(self) -> None:
        """Ends the work at once. From any thread."""
        for executor in self.executors:
            executor.stop()

    @property
    def seconds(self) -> float:
        """From its making to the end of its last worker."""
        return self._ended - self.started

    def snapshot(self) -> PhaseMeasurements:
        """What was measured so far, while the phase goes on."""
        return self._measurements(self._sampler.snapshot() if self._sampler else None, time.perf_counter())

    def measurements(self) -> PhaseMeasurements:
        """What was measured of the phase, which has ended."""
        return self._measurements(self._sampler.result() if self._sampler else None, self._ended)

    def _note_end(self) -> None:
        self._ended = time.perf_counter()

    def _measurements(self, samples: Samples | None, ended: float) -> PhaseMeasurements:
        return PhaseMeasurements(
            number=self.number,
            executors=self.executors,
            started=self.started,
            ended=ended,
            waits=self._frontier.waits.since(self._waits_before),
            samples=samples,
            sampler_failure=self._sampler.failure if self._sampler else NOT_SAMPLED,
            steps=self._transform.steps,
        )


SLACK_SECONDS = 60.0  # of a stalled run, above all limits of its parts
AUDIENCE_SECONDS = 0.5  # between two looks at whether it has taken what it has


class Loop:
    """What a run has to do. Made and run in the main thread alone; the run's `loop_result` is what became of it."""

    def __init__(self, run: RunState, transform: Transform, *, items: int, ledger: Ledger) -> None:
        self._run = run
        self._config = run.config
        self._transform = transform
        self._items = items
        self._ledger = ledger
        self._observer = run.observer
        self._phase: Phase | None = None  # under way, or the last one
        self._stopping = False
        self._kept_waiting = 0  # how often the audience was not ready: the run has not stalled

    def run(self, control: Control) -> None:
        """Runs what is due, phase by phase, to its end. Raises `DiskError`, `ExecutorError` and `ItemFailedError`."""
        concurrency = stages.make_concurrency(self._config)
        frontier = stages.make_frontier(
            self._config, self._sources(), reread=self._ledger.reread, concurrency=concurrency
        )
        now = time.time()
        frontier.leave_alone({host: until - now for host, until in self._run.known_pauses.items()})
        selector = ModeSelector(self._config, self._items, fragile=_lost_workers(self._ledger.failures_by_code()))
        self._warn(stages.why_fewer_workers(self._config, selector.plan))
        control.take(StopHandlers(admit_no_more=frontier.close, stop_at_once=self._stop_at_once, save=self._save))
        with ExitStack() as stack:
            stack.callback(self._remember_phase)
            gauges = stack.enter_context(Gauges(GAUGES, self._run.layout.temporary_folder))
            stack.callback(self._remember, frontier, selector, concurrency)
            moves, stacks = partial(self._moves, gauges), self._run.folder / "stacks.txt"
            stack.enter_context(_watch(self._config, moves, self._give_up, self._save, stacks))
            stack.enter_context(
                doing(lambda: f"{self._observer.describe(self._items)}, {frontier.in_flight:,} under way")
            )
            stack.callback(self._run.display.end)
            self._run.display.begin(self._items)
            make_phase = self._phase_maker(frontier, gauges, stack.enter_context(self._run.layout.robots_folder()))
            ended_early = True
            while ended_early and self._may_go_on(control):
                ended_early = self._run_phase(make_phase(selector.plan), selector, frontier, gauges)

    def _moves(self, gauges: Gauges) -> list[int]:
        """What grows as long as the run is alive. For the watch's thread."""
        return [*(int(gauges.get(name)) for name in MOVES), self._kept_waiting]

    def _may_go_on(self, control: Control) -> bool:
        stopped = self._stopping or control.stopped_by is not None
        return not stopped and self._observer.processed < self._items

    def _phase_maker(self, frontier: Frontier, gauges: Gauges, robots_folder: str) -> Callable[[ExecutionPlan], Phase]:
        """What makes a phase in the modes that it is given; all else stays the same from phase to phase."""
        download = stages.make_download(self._config, "127.0.0.1/32" if self._run.origin_pid else "", robots_folder)
        transform = stages.with_gallery(self._transform, self._config, self._run.folder, self._items)
        numbers = itertools.count(1)
        return lambda plan: Phase(
            self._run, plan, download, transform, number=next(numbers), frontier=frontier, gauges=gauges
        )

    def _run_phase(self, phase: Phase, selector: ModeSelector, frontier: Frontier, gauges: Gauges) -> bool:
        """Runs one phase until everything that it let in has come out; whether another is to go on from there."""
        self._phase = phase
        ended_early = False
        measure_now = partial(self._measure_phase, phase, selector, frontier)
        self._observer.begin_phase()
        selector.begin_phase()
        with phase:
            log_line(self._run.log, phase.executors)
            for outcome in phase.outcomes():
                final = self._handle(outcome, frontier)
                if isinstance(final, Failure):
                    gauges.put("failed_total", self._observer.failures.total())
                    selector.fragile = selector.fragile or kind_of(final.code).loses_worker
                gauges.put("waiting", frontier.waiting)
                gauges.put("held_bytes", frontier.held_bytes)
                if selector.on_outcome(self._observer.phase_items, measure_now):
                    ended_early = True
                    phase.end_early()
        selector.end_phase(phase.plan, self._observer.phase_items, phase.seconds)
        return ended_early

    def _measure_phase(self, phase: Phase, selector: ModeSelector, frontier: Frontier) -> RunModel | None:
        """The phase under way in the terms of the model. Kept, for the case that no later phase comes to anything."""
        selector.fragile = selector.fragile or any(times.starts > 1 for one in phase.executors for times in one.times)
        circumstances = describe_circumstances(self._config, frontier.describe_hosts())
        self._run.loop_result.snapshot = snapshot = describe_phase(circumstances, phase.snapshot(), self._observer)
        return measure(snapshot)

    def _remember(self, frontier: Frontier, selector: ModeSelector, concurrency: Concurrency | None) -> None:
        loop_result = self._run.loop_result
        loop_result.retried = frontier.retried
        loop_result.retry_wait_seconds = frontier.waits.retry_seconds
        loop_result.pause_wait_seconds = frontier.waits.pause_seconds
        loop_result.hosts = frontier.describe_hosts()
        self._warn(frontier.describe_trouble())
        loop_result.pauses = {host: time.time() + seconds for host, seconds in frontier.pauses().items()}
        loop_result.auto = selector.describe()
        loop_result.concurrency = concurrency.describe() if concurrency else None

    def _remember_phase(self) -> None:
        self._run.loop_result.phase = self._phase.measurements() if self._phase else None

    def _warn(self, text: str) -> None:
        if text:
            self._run.note(f"warning: {text}")

    def _give_up(self, reason: str) -> None:
        """Ends a run that no longer moves. Called by the watch's thread."""
        self._run.fail(ExecutorError(reason))
        self._run.log.record("run.stalled", "error", reason=reason)
        self._stop_at_once()

    def _stop_at_once(self) -> None:
        """Ends the phase under way, and lets no other begin. From any thread."""
        self._stopping = True
        if self._phase is not None:
            self._phase.stop()

    def _save(self, exit_code: ExitCode) -> None:
        """Commits what was recorded and ends the run's row, before the process leaves by force. From any thread."""
        self._run.log.record("run.left", "error", exit_code=int(exit_code))
        counters = {"processed": self._observer.processed}
        with suppress(BatchprocError):
            self._ledger.break_off_run(ended=datetime.now(UTC), exit_code=exit_code, counters=counters)

    def _handle(self, outcome: Outcome, frontier: Frontier) -> Outcome | None:
        """The loop's body: frontier, observer and ledger hear of an outcome. Returns what is final, if it is."""
        if isinstance(outcome, Failure) and kind_of(outcome.code).stops_run:
            raise DiskError(f"{self._run.layout.output}: {outcome.message}; what is unfinished stays pending")
        final = frontier.on_outcome(outcome)
        self._observer.on_outcome(outcome, final)
        if final is not None:
            self._ledger.record(final)
        if isinstance(final, Failure):
            self._run.log.failed(final)
        self._run.display.advance(self._observer)
        self._wait_for_audience()
        if self._run.options.strict and isinstance(final, Failure) and final.disposition is not Disposition.DEFERRED:
            raise ItemFailedError(
                f"{describe_line(final.source.line)} of the list, {printable(redact_url(final.source.url))}: "
                f"{final.code}: {final.message}; --strict stops at the first failure"
            )
        return final

    def _wait_for_audience(self) -> None:
        audience = self._run.options.audience
        while audience is not None and not audience.keeps_up(AUDIENCE_SECONDS):
            self._kept_waiting += 1

    def _sources(self) -> Iterator[Source]:
        work = self._ledger.work(max_runs=self._config.job.max_runs_per_item, refresh=self._run.options.refresh)
        return itertools.islice(work, self._run.options.limit or None)


def _lost_workers(failures: Mapping[str, int]) -> bool:
    return any(kind_of(code).loses_worker for code in failures)


def stall_limit(config: Config) -> float:
    """Seconds without any progress after which a run is given up.

    By default more than all limits of the stages, and the longest pause that a host may ask for, together.
    """
    if config.job.stall_timeout:
        return config.job.stall_timeout
    pause = max(config.download.max_retry_after, LONGEST_BACKOFF_SECONDS)
    return 2 * (config.download.total_timeout + config.transform.timeout) + pause + SLACK_SECONDS


def _watch(
    config: Config,
    moves: Callable[[], Iterable[int]],
    give_up: Callable[[str], None],
    save: Callable[[ExitCode], None],
    stacks_path: Path,
) -> Watchdog:
    """The watch of a run: `give_up` hears why it is to be stopped, `save` saves it when it cannot be."""
    limit_seconds = stall_limit(config)
    why = f"no item began or ended for {limit_seconds:g} s ([job] stall_timeout)"
    return Watchdog(
        lambda: list(moves()),
        lambda: give_up(f"{why}; {stacks_path} says where every thread stood"),
        lambda: exit_by_force(
            ExitCode.INTERNAL, f"{why}, and the run cannot be stopped: leaving", lambda: save(ExitCode.INTERNAL)
        ),
        stacks_path,
        limit_seconds=limit_seconds,
    )


def _counted(items: Iterable[Outcome], gauges: Gauges, name: str) -> Iterator[Outcome]:
    """Passes items on and counts them; holds none back."""
    for item in items:
        gauges.add(name)
        yield item
