"""Tiny stages of one known cost, and executors kept open for many batches of them, so that start-up is behind them.

A worker imports this module for its stage; it needs nothing but Pillow for that.

A round in which other programs used more than a quarter of the machine is made again, as often as there are rounds at
most. The rule looks at the machine, never at the times, and how often it was used stands in the experiment's table.
"""

import os
import queue
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, ClassVar, Self

from msgspec import Struct
from PIL import Image, ImageFilter

from batchproc.errors import ExecutorError
from batchproc.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor
from batchproc.executors.worker import start_context
from batchproc.measure.processes import machine_times
from batchproc.model import Failure, Item, Mode, Outcome, Source
from batchproc.protocols import Lap, Stage

PRELOAD = ("batchproc.lab.batches",)
HANG, CRASH = "hang", "crash"
CRASH_EXIT_CODE = 9
BEAT_SECONDS = 0.005

changes: list[int] = []  # what `Remember` did in this process; append is atomic
beats: list[int] = []  # how often `hang` was seen alive in this process


class Small(Struct, frozen=True, kw_only=True):
    """A stage that is its own work and holds nothing."""

    name: ClassVar[str] = "small"
    preload: ClassVar[tuple[str, ...]] = PRELOAD

    def open(self) -> "Small":
        """Itself."""
        return self

    def __call__(self, item: Item[Any], lap: Lap) -> Any:
        """Does nothing and returns nothing: whatever came in stays here."""

    def abort(self) -> None:
        """Nothing to interrupt."""

    def close(self) -> None:
        """Nothing to give back."""


class Filtering(Small, frozen=True, kw_only=True):
    """One filter of an image that the worker holds, again and again. The mode is RGB."""

    image: Image.Image
    applied: ImageFilter.Filter

    def __call__(self, item: Item[Any], lap: Lap) -> None:
        """One filtering."""
        self.image.filter(self.applied)


class TinyBlur(Small, frozen=True, kw_only=True):
    """GaussianBlur of one image held by the worker: Pillow releases the GIL."""

    name: ClassVar[str] = "blur"

    def open(self) -> Filtering:
        """Draws the worker's image."""
        return Filtering(image=noise(384), applied=ImageFilter.GaussianBlur(8))


class TinyMedian(Small, frozen=True, kw_only=True):
    """MedianFilter of one image held by the worker: Pillow keeps the GIL."""

    name: ClassVar[str] = "median"

    def open(self) -> Filtering:
        """Draws the worker's image."""
        return Filtering(image=noise(320), applied=ImageFilter.MedianFilter(3))


class Echo(Small, frozen=True, kw_only=True):
    """No work: what is left is the cost of handing over. The payload goes in, an empty reply comes out."""

    name: ClassVar[str] = "echo"


class PurePython(Small, frozen=True, kw_only=True):
    """A loop of pure Python: holds the GIL all the time but for the interpreter's own switches."""

    name: ClassVar[str] = "python"
    loops: int = 100_000

    def __call__(self, item: Item[Any], lap: Lap) -> None:
        """One loop, a few milliseconds."""
        spin(self.loops)


class Remember(Small, frozen=True, kw_only=True):
    """Changes a list of the process that it runs in, and says how long the list is there."""

    name: ClassVar[str] = "remember"

    def __call__(self, item: Item[Any], lap: Lap) -> int:
        """One change."""
        changes.append(item.source.index)
        return len(changes)


class Fragile(Small, frozen=True, kw_only=True):
    """Hangs or crashes where the item's value says so, else takes a short while."""

    name: ClassVar[str] = "fragile"
    seconds: float = 0.002

    def __call__(self, item: Item[Any], lap: Lap) -> None:
        """One item. `hang` never ends and lets other threads run; `crash` ends the whole process."""
        if item.value == HANG:
            while True:
                beats.append(0)
                time.sleep(BEAT_SECONDS)
        if item.value == CRASH:
            os._exit(CRASH_EXIT_CODE)
        time.sleep(self.seconds)


def spin(loops: int) -> int:
    """Adds and compares in pure Python."""
    total = 0
    for number in range(loops):
        total += number & 7
    return total


def noise(side_px: int) -> Image.Image:
    """An image full of detail, always the same; mode RGB, (side, side) px."""
    grey = Image.radial_gradient("L").resize((side_px, side_px))
    turned = Image.linear_gradient("L").resize((side_px, side_px))
    return Image.merge("RGB", (grey, turned, turned.transpose(Image.Transpose.ROTATE_90)))


SEED = 20
OTHERS_LIMIT = 0.25  # of all cores; what a round of well under a second can tell, as the kernel counts in 10 ms


class Size(Struct, frozen=True, kw_only=True):
    """Rounds that count, the share of the usual items per round, and whether the whole sweep is made.

    Nine rounds: the exact 95% interval of their median then leaves out the slowest and the fastest, so one disturbed
    round cannot decide anything.
    """

    rounds: int = 9
    effort: float = 1.0
    full: bool = False

    def items(self, usual: int) -> int:
        """Items per round, at least 2."""
        return max(2, round(usual * self.effort))


SIZES = {
    "tiny": Size(rounds=1, effort=0.05),  # proves that it works
    "claims": Size(),
    "full": Size(full=True),
}


class TimedBatch(Struct, frozen=True, kw_only=True):
    """One batch: its wall time, its workers' CPU time and time without a free core (None: unknown), what came out."""

    seconds: float
    cpu_seconds: float
    runqueue_seconds: float | None
    outcomes: tuple[Outcome, ...]


class OpenExecutor:
    """One executor that runs one stage for the length of a `with` block. Used by one thread."""

    def __init__(self, executor: Executor, stage: Stage[Any, Any]) -> None:
        self.executor = executor
        self._stage = stage
        self._asked: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._outcomes: Iterator[Outcome] = iter(())

    def __enter__(self) -> Self:
        self.executor.__enter__()
        self._outcomes = self.executor.run(self._stage, self._feed())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asked.put(None)
        try:
            if kind is None:
                list(self._outcomes)
        finally:
            self.executor.__exit__(kind, error, trace)

    def batch(self, items: Sequence[Item[Any]]) -> TimedBatch:
        """Hands all items in and takes as many outcomes. Raises `ExecutorError` when an item fails."""
        started = time.perf_counter()
        for item in items:
            self._asked.put(item)
        outcomes = tuple(next(self._outcomes) for _ in items)
        seconds = time.perf_counter() - started
        failed = [one for one in outcomes if isinstance(one, Failure)]
        if failed:
            raise ExecutorError(f"an experiment's item failed: {failed[0].code}: {failed[0].message}")
        spans = [one.spans[-1] for one in outcomes]
        delays = [span.runqueue_seconds for span in spans]
        known = [delay for delay in delays if delay is not None]
        return TimedBatch(
            seconds=seconds,
            cpu_seconds=sum(span.cpu_seconds for span in spans),
            runqueue_seconds=sum(known) if len(known) == len(delays) else None,
            outcomes=outcomes,
        )

    def _feed(self) -> Iterator[Outcome]:
        while (item := self._asked.get()) is not None:
            yield item


def executor_of(mode: Mode, workers: int, stage: Stage[Any, Any]) -> Executor:
    """The real executor of a mode."""
    if mode is Mode.SERIAL:
        return SerialExecutor()
    if mode is Mode.THREAD:
        return ThreadExecutor(workers=workers)
    return ProcessExecutor(workers=workers, preload=stage.preload)


class Rounds(Struct, kw_only=True):
    """The rounds of one comparison: its batches by plan, and how many rounds were disturbed and made again."""

    batches: dict[str, list[TimedBatch]]
    made_again: int = 0

    def seconds(self, name: str) -> list[float]:
        """The wall times of a plan, a round each."""
        return [batch.seconds for batch in self.batches[name]]

    def busy_cores(self, name: str) -> list[float]:
        """How many cores its workers kept busy on average, a round each."""
        return [batch.cpu_seconds / batch.seconds for batch in self.batches[name]]

    def waiting_shares(self, name: str) -> list[float]:
        """The share of their time that workers were ready and found no free core; empty where nothing is known."""
        return [batch.runqueue_seconds / (batch.runqueue_seconds + batch.cpu_seconds)
                for batch in self.batches[name] if batch.runqueue_seconds is not None]  # fmt: skip


def interleave(
    stage: Stage[Any, Any],
    plans: Mapping[str, tuple[Mode, int]],
    items: Sequence[Item[Any]],
    *,
    rounds: int,
    again: bool = True,
) -> Rounds:
    """The same items by every plan (mode and workers) in every round, in random order; the first is thrown away.

    `again` False takes disturbed rounds as they are, for stages that wait and hardly compute. The fork server is
    started before the first thread, whatever the order of the plans.
    """
    start_context(stage.preload)
    order = random.Random(SEED)
    found = Rounds(batches={name: [] for name in plans})
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(OpenExecutor(executor_of(mode, workers, stage), stage))
            for name, (mode, workers) in plans.items()
        }
        names = list(opened)
        _one_round(opened, order.sample(names, len(names)), items)
        done = 0
        while done < rounds:
            made, disturbed = _one_round(opened, order.sample(names, len(names)), items)
            if again and disturbed and found.made_again < rounds:
                found.made_again += 1
                continue
            done += 1
            for name, batch in made.items():
                found.batches[name].append(batch)
    return found


def _one_round(
    opened: Mapping[str, OpenExecutor], order: Sequence[str], items: Sequence[Item[Any]]
) -> tuple[dict[str, TimedBatch], bool]:
    """A batch of each plan, and whether others kept the machine busy meanwhile."""
    started, own, before = time.perf_counter(), time.process_time(), machine_times()
    made = {name: opened[name].batch(items) for name in order}
    workers = sum(made[name].cpu_seconds for name in order if opened[name].executor.mode == Mode.PROCESS)
    busy = machine_times().busy_seconds - before.busy_seconds
    others = busy - (time.process_time() - own) - workers
    return made, others > OTHERS_LIMIT * before.cores * (time.perf_counter() - started)


def plain_items(values: Sequence[Any]) -> list[Item[Any]]:
    """One item per value."""
    return [Item(source=source(index), value=value) for index, value in enumerate(values)]


def source(index: int, url: str = "http://experiment.invalid/") -> Source:
    """A source that nobody looks up."""
    return Source(index=index, line=index + 1, url=url, key=index.to_bytes(16, "big"))
