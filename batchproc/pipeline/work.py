"""The items that are due, on their way through both stages: leg by leg, until the last one has come out.

Imported where there is work: a run that finds everything done needs none of it.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from batchproc.config import Config
from batchproc.errors import BatchprocError, DiskError, ExecutorError, ExitCode, ItemFailedError
from batchproc.explain.measured import Measured, measure
from batchproc.frontier import Concurrency, Frontier
from batchproc.kinds import kind_of
from batchproc.ledger import Ledger
from batchproc.measure.gauges import Gauges
from batchproc.model import Disposition, Failure, Outcome, Source, describe_line
from batchproc.pipeline import stages
from batchproc.pipeline.control import Brakes, Control
from batchproc.pipeline.evidence import GAUGES, MOVES
from batchproc.pipeline.facts import Passage, describe_circumstances
from batchproc.pipeline.journal import log_line
from batchproc.pipeline.leg import Leg
from batchproc.pipeline.leg_facts import describe_leg
from batchproc.pipeline.observer import Observer
from batchproc.pipeline.pilot import Pilot
from batchproc.pipeline.stall import watch
from batchproc.pipeline.terms import Display, RunOptions
from batchproc.record.explanation import Variant
from batchproc.redact import printable, redact_url
from batchproc.runlog import RunLog
from batchproc.signals import doing
from batchproc.sink import Layout
from batchproc.transform.stage import Transform

AUDIENCE_SECONDS = 0.5  # between two looks at whether it has taken what it has


class Work:
    """What a run has to do. Made and run in the main thread alone; `passage` is what became of it, to its last breath.

    `give_up` is told, from any thread, why the work cannot go on; `pauses` are those that earlier runs knew of.
    """

    def __init__(
        self,
        config: Config,
        options: RunOptions,
        transform: Transform,
        *,
        items: int,
        ledger: Ledger,
        layout: Layout,
        folder: Path,
        origin_pid: int | None,
        pauses: Mapping[str, float],
        observer: Observer,
        display: Display,
        log: RunLog,
        note: Callable[[str], None],
        give_up: Callable[[BatchprocError], None],
    ) -> None:
        self.passage = Passage()
        self._config = config
        self._options = options
        self._transform = transform
        self._items = items
        self._ledger = ledger
        self._layout = layout
        self._folder = folder
        self._origin_pid = origin_pid
        self._known_pauses = pauses
        self._observer = observer
        self._display = display
        self._log = log
        self._note = note
        self._report_error = give_up
        self._leg: Leg | None = None  # under way, or the last one
        self._stopping = False
        self._kept_waiting = 0  # how often the audience was not ready: the run has not stalled

    def run(self, control: Control) -> None:
        """Runs what is due, leg by leg, to its end. Raises `DiskError`, `ExecutorError` and `ItemFailedError`."""
        concurrency = stages.make_concurrency(self._config)
        frontier = stages.make_frontier(
            self._config, self._sources(), reread=self._ledger.reread, concurrency=concurrency
        )
        now = time.time()
        frontier.leave_alone({host: until - now for host, until in self._known_pauses.items()})
        pilot = Pilot(self._config, self._items, fragile=_lost_workers(self._ledger.failures_by_code()))
        self._warn(stages.why_fewer_workers(self._config, pilot.crew))
        control.take(Brakes(admit_no_more=frontier.close, stop_at_once=self._stop_at_once, save=self._save))
        with ExitStack() as stack:
            stack.callback(self._remember_leg)
            gauges = stack.enter_context(Gauges(GAUGES, self._layout.temporary_folder))
            stack.callback(self._remember, frontier, pilot, concurrency)
            moves, stacks = partial(self._moves, gauges), self._folder / "stacks.txt"
            stack.enter_context(watch(self._config, moves, self._give_up, self._save, stacks))
            stack.enter_context(
                doing(lambda: f"{self._observer.describe(self._items)}, {frontier.in_flight:,} under way")
            )
            stack.callback(self._display.end)
            self._display.begin(self._items)
            make_leg = self._leg_maker(frontier, gauges, stack.enter_context(self._layout.robots_folder()))
            ended_early = True
            while ended_early and self._may_go_on(control):
                ended_early = self._run_leg(make_leg(pilot.crew), pilot, frontier, gauges)

    def _moves(self, gauges: Gauges) -> list[int]:
        """What grows as long as the run is alive. For the watch's thread."""
        return [*(int(gauges.get(name)) for name in MOVES), self._kept_waiting]

    def _may_go_on(self, control: Control) -> bool:
        stopped = self._stopping or control.stopped_by is not None
        return not stopped and self._observer.processed < self._items

    def _leg_maker(self, frontier: Frontier, gauges: Gauges, robots_folder: str) -> Callable[[Variant], Leg]:
        """What makes a leg in the modes that it is given; all else stays the same from leg to leg."""
        download = stages.make_download(self._config, "127.0.0.1/32" if self._origin_pid else "", robots_folder)
        transform = stages.with_gallery(self._transform, self._config, self._folder, self._items)
        numbers = itertools.count(1)
        return lambda crew: Leg(
            self._config,
            crew,
            download,
            transform,
            number=next(numbers),
            frontier=frontier,
            gauges=gauges,
            log_folder=self._folder,
            origin_pid=self._origin_pid,
        )

    def _run_leg(self, leg: Leg, pilot: Pilot, frontier: Frontier, gauges: Gauges) -> bool:
        """Runs one leg until everything that it let in has come out; whether another is to go on from there."""
        self._leg = leg
        ended_early = False
        self._observer.begin_leg()
        pilot.begin_leg()
        with leg:
            log_line(self._log, leg.executors)
            for outcome in leg.outcomes():
                self._hear(outcome, frontier)
                gauges.put("failed_total", self._observer.failures.total())
                gauges.put("waiting", frontier.waiting)
                gauges.put("held_bytes", frontier.held_bytes)
                pilot.fragile = pilot.fragile or _lost_workers(self._observer.failures)
                if pilot.heard(self._observer.leg_items, lambda: self._look_at(leg, pilot, frontier)):
                    ended_early = True
                    leg.end_early()
        pilot.end_leg(leg.crew, self._observer.leg_items, leg.seconds)
        return ended_early

    def _look_at(self, leg: Leg, pilot: Pilot, frontier: Frontier) -> Measured | None:
        """The leg under way in the terms of the model. Kept, for the case that no later leg comes to anything."""
        pilot.fragile = pilot.fragile or any(times.starts > 1 for one in leg.executors for times in one.times)
        circumstances = describe_circumstances(self._config, frontier.describe_hosts())
        self.passage.glimpse = glimpse = describe_leg(circumstances, leg.glance(), self._observer)
        return measure(glimpse)

    def _remember(self, frontier: Frontier, pilot: Pilot, concurrency: Concurrency | None) -> None:
        passage = self.passage
        passage.retried = frontier.retried
        passage.retry_wait_seconds = frontier.waits.retry_seconds
        passage.pause_wait_seconds = frontier.waits.pause_seconds
        passage.hosts = frontier.describe_hosts()
        self._warn(frontier.describe_trouble())
        passage.pauses = {host: time.time() + seconds for host, seconds in frontier.pauses().items()}
        passage.auto = pilot.describe()
        passage.concurrency = concurrency.describe() if concurrency else None

    def _remember_leg(self) -> None:
        self.passage.leg = self._leg.evidence() if self._leg else None

    def _warn(self, text: str) -> None:
        if text:
            self._note(f"warning: {text}")

    def _give_up(self, reason: str) -> None:
        """Ends a run that no longer moves. Called by the watch's thread."""
        self._report_error(ExecutorError(reason))
        self._log.record("run.stalled", "error", reason=reason)
        self._stop_at_once()

    def _stop_at_once(self) -> None:
        """Ends the leg under way, and lets no other begin. From any thread."""
        self._stopping = True
        if self._leg is not None:
            self._leg.stop()

    def _save(self, exit_code: ExitCode) -> None:
        """Commits what was recorded and ends the run's row, before the process leaves by force. From any thread."""
        self._log.record("run.left", "error", exit_code=int(exit_code))
        counters = {"processed": self._observer.processed}
        with suppress(BatchprocError):
            self._ledger.break_off_run(ended=datetime.now(UTC), exit_code=exit_code, counters=counters)

    def _hear(self, outcome: Outcome, frontier: Frontier) -> None:
        """The loop's body: frontier, observer and ledger hear of an outcome."""
        if isinstance(outcome, Failure) and kind_of(outcome.code).stops_run:
            raise DiskError(f"{self._layout.output}: {outcome.message}; what is unfinished stays pending")
        final = frontier.heard(outcome)
        self._observer.heard(outcome, final)
        if final is not None:
            self._ledger.record(final)
        if isinstance(final, Failure):
            self._log.failed(final)
        self._display.advance(self._observer)
        self._wait_for_audience()
        if self._options.strict and isinstance(final, Failure) and final.disposition is not Disposition.DEFERRED:
            raise ItemFailedError(
                f"{describe_line(final.source.line)} of the list, {printable(redact_url(final.source.url))}: "
                f"{final.code}: {final.message}; --strict stops at the first failure"
            )

    def _wait_for_audience(self) -> None:
        audience = self._options.audience
        while audience is not None and not audience.keeps_up(AUDIENCE_SECONDS):
            self._kept_waiting += 1

    def _sources(self) -> Iterator[Source]:
        work = self._ledger.work(max_runs=self._config.job.max_runs_per_item, refresh=self._options.refresh)
        return itertools.islice(work, self._options.limit or None)


def _lost_workers(failures: Mapping[str, int]) -> bool:
    return any(kind_of(code).loses_worker for code in failures)
