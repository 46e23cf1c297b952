"""A leg: a part of the line in one pair of modes, from the opening of its workers until the last of them has ended.

A run with fixed modes is one leg. Where modes are found out, a leg may end early: the frontier pauses, what is in
flight comes to its end, and the next leg goes on from there.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from batchproc.config import Config
from batchproc.download.stage import Download
from batchproc.executors import Executor, keep_freed_memory
from batchproc.frontier import Frontier
from batchproc.measure.gauges import Gauges
from batchproc.measure.sampler import Sampler
from batchproc.measure.samples import Samples
from batchproc.model import Outcome
from batchproc.pipeline.evidence import counted
from batchproc.pipeline.leg_facts import LegEvidence
from batchproc.pipeline.refresh import settle_unchanged
from batchproc.pipeline.stages import for_crew, make_executors
from batchproc.record.explanation import Variant
from batchproc.transform.stage import Transform

NOT_SAMPLED = "[report] sampling is off"


class Leg:
    """One leg. Made and run in the main thread; `executors` may be stopped from any."""

    def __init__(
        self,
        config: Config,
        crew: Variant,
        download: Download,
        transform: Transform,
        *,
        number: int,
        frontier: Frontier,
        gauges: Gauges,
        log_folder: Path,
        origin_pid: int | None,
    ) -> None:
        self.crew = crew
        self.number = number
        self.executors: tuple[Executor, Executor] = make_executors(config, crew, log_folder)
        self.started = time.perf_counter()
        self._download = for_crew(download, crew)
        self._transform = transform
        self._frontier = frontier
        self._gauges = gauges
        self._sampler = Sampler(gauges, origin_pid=origin_pid) if config.report.sampling else None
        self._waits_before = replace(frontier.waits)
        self._ended = 0.0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Opens the executors, then what watches them. Raises `ExecutorError`."""
        if self.crew.transform != "process":
            keep_freed_memory()  # as the workers do, so that modes differ in nothing else
        with ExitStack() as stack:
            stack.callback(self._note_end)
            for executor in self.executors:
                stack.enter_context(executor)
            if self._sampler is not None:
                stack.enter_context(self._sampler)  # inside, so that its last look still finds the workers
            self._frontier.resume(workers=self.executors[0].workers)
            stack.callback(self._frontier.pause)  # whatever ends the leg: nobody may wait for an item any more
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
        downloading, transforming = self.executors
        settled = map(settle_unchanged, downloading.run(self._download, self._admitted()))
        downloaded = (outcome for outcome in map(self._frontier.downloaded, settled) if outcome is not None)
        originals = counted(downloaded, self._gauges, "download_out_total")
        return counted(transforming.run(self._transform, originals), self._gauges, "transform_out_total")

    def _admitted(self) -> Iterator[Outcome]:
        for item in self._frontier:
            self._gauges.put("download_in_total", self._frontier.admitted)
            yield item

    def end_early(self) -> None:
        """Lets nothing more in; what is inside comes out. Nobody will ask what was seen of this leg."""
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

    def glance(self) -> LegEvidence:
        """What was measured so far, while the leg goes on."""
        return self._evidence(self._sampler.snapshot() if self._sampler else None, time.perf_counter())

    def evidence(self) -> LegEvidence:
        """What was measured of the leg, which has ended."""
        return self._evidence(self._sampler.result() if self._sampler else None, self._ended)

    def _note_end(self) -> None:
        self._ended = time.perf_counter()

    def _evidence(self, samples: Samples | None, ended: float) -> LegEvidence:
        return LegEvidence(
            number=self.number,
            executors=self.executors,
            started=self.started,
            ended=ended,
            waits=self._frontier.waits.since(self._waits_before),
            samples=samples,
            sampler_failure=self._sampler.failure if self._sampler else NOT_SAMPLED,
        )
