"""The sampler's own process, whose `main` is told on the command line what to watch, as JSON.

Beside the standard library it loads msgspec (and psutil off Linux), no more. For every byte on its standard input, and
when that ends, be it by order or because the parent is gone, it writes what it saw so far to its standard output: one
JSON document a line. Rates: threads and gauges 8 to 40 times a second, as its budget of CPU allows, and at least 25 in
the first two seconds; rows ten times a second for two seconds, then once; PSS at the start, at the end and at most once
a second between, less often where it takes long.
"""

import mmap
import os
import queue
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from batchproc.measure.processes import ProcessTable
from batchproc.measure.samples import TIME, Samples, Series
from batchproc.measure.waits import GilPlace, GilUnknown, ThreadWaits, WaitTotals, learn

CPU_BUDGET = 0.004  # of one core
READINGS_PER_SECOND = (8.0, 40.0)
EAGER_READINGS_PER_SECOND = 25.0  # whatever they cost: a short run needs its samples
THREADS_PER_READING = 12
EAGER_SECONDS = 2.0
REFRESH_SECONDS = (0.1, 2.0)  # at least and at most; between, a fifth of the run's age: a short run loses little
PSS_BUDGET = 0.0015  # of the time; walking page tables makes the watched process's page faults wait
Place: TypeAlias = GilPlace | GilUnknown
NextRequest: TypeAlias = Callable[[float], "PauseRequest"]


class PauseRequest(Enum):
    """What the parent asked for in the last pause."""

    NOTHING = "nothing"
    SNAPSHOT = "snapshot"
    END = "end"


class Watch(Struct, frozen=True, kw_only=True):
    """What to watch: the root of the process tree, the embedded origin if there is one, the gauges."""

    root: int
    origin: int | None
    gauges_path: str
    gauge_names: tuple[str, ...]


class GaugeMeans:
    """The gauges of another process over time: their means weighted by time, and their peaks."""

    def __init__(self, path: Path, names: Sequence[str], now: float) -> None:
        self._names = tuple(names)
        with path.open("rb") as file:
            self._memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).cast("d")
        self._before = now
        self._seconds = 0.0
        self._row_seconds = 0.0
        self.values = self._read()
        self._sums = [0.0] * len(self.values)
        self._row_sums = [0.0] * len(self.values)
        self._peaks = list(self.values)

    def _read(self) -> tuple[float, ...]:
        return tuple(self._memory[: len(self._names)])

    def add_reading(self, now: float) -> None:
        """Reads every gauge; a value stands for the time since the last reading."""
        seconds, self._before = now - self._before, now
        self.values = self._read()
        self._seconds += seconds
        self._row_seconds += seconds
        for index, value in enumerate(self.values):
            self._sums[index] += value * seconds
            self._row_sums[index] += value * seconds
            self._peaks[index] = max(self._peaks[index], value)

    def row(self) -> dict[str, float | None]:
        """The means since the last row; of counters the last value."""
        span, self._row_seconds = self._row_seconds, 0.0
        sums, self._row_sums = self._row_sums, [0.0] * len(self.values)
        return {
            name: value if name.endswith("_total") or not span else total / span
            for name, value, total in zip(self._names, self.values, sums, strict=True)
        }

    def means(self) -> dict[str, float]:
        """Over the whole time."""
        seconds = self._seconds or 1.0
        return {name: total / seconds for name, total in zip(self._names, self._sums, strict=True)}

    def peaks(self) -> dict[str, float]:
        """The largest values seen."""
        return dict(zip(self._names, self._peaks, strict=True))


class Sampling:
    """One run under observation: `read` often, `add_row` sometimes, with memory rarely, `result` once."""

    def __init__(self, watch: Watch, place: Place) -> None:
        self.started = time.perf_counter()
        self._place = place
        self._processes = ProcessTable(watch.root, watch.origin)
        self._waits: dict[int, ThreadWaits] = {}
        self._totals = WaitTotals()
        self._series = Series()
        self._gauges = GaugeMeans(Path(watch.gauges_path), watch.gauge_names, self.started)
        self._peaks: dict[str, float] = {}
        self._turns = 1
        self.readings = 0
        self.refresh()

    def refresh(self) -> None:
        """Finds new processes and threads, and books the scheduler's clocks."""
        self._processes.refresh()
        if not sys.platform.startswith("linux"):
            return
        measured = self._processes.measured
        for pid in [pid for pid in self._waits if pid not in measured]:
            self._waits.pop(pid).close()
            self._totals.forget(pid)
        for pid, role in measured.items():
            waits = self._waits.setdefault(pid, ThreadWaits(pid, self._place))
            waits.refresh(role)
            self._totals.book(waits, time.perf_counter())
        self._turns = max(1, round(sum(map(len, self._waits.values())) / THREADS_PER_READING))

    def read(self) -> None:
        """What threads are doing, a fair choice of them when there are many, and every gauge."""
        self.readings += 1
        turn = random.randrange(self._turns)
        for waits in self._waits.values():
            self._totals.sample(waits, turn, self._turns)
        self._gauges.add_reading(time.perf_counter())

    def add_row(self, *, memory: bool = False) -> float:
        """Adds a row to the series; returns the seconds that reading the memory took."""
        row: dict[str, float | None] = {TIME: time.perf_counter() - self.started}
        row |= self._processes.read_cpu() | self._gauges.row()
        row["threads"] = float(sum(map(len, self._waits.values())))
        before = time.perf_counter()
        if memory:
            row |= self._processes.read_memory()
        for name, value in row.items():
            if name.endswith("_bytes") and value is not None:
                self._peaks[name] = max(value, self._peaks.get(name, 0.0))
        self._series.add(row)
        return time.perf_counter() - before

    def result(self) -> Samples:
        """Everything seen, after one last reading."""
        self.refresh()
        self.read()
        self._processes.read_outside_memory()
        self.add_row(memory=True)
        return self._samples()

    def snapshot(self) -> Samples:
        """What was seen so far; memory as of the last time that it was read."""
        self.refresh()
        self.read()
        return self._samples()

    def _samples(self) -> Samples:
        unknown = self._gil_reason()
        return Samples(
            started=self.started,
            ended=time.perf_counter(),
            series={name: tuple(column) for name, column in self._series.columns().items()},
            processes=self._processes.usages(),
            waits=self._totals.groups(),
            gauge_means=self._gauges.means(),
            gauge_peaks=self._gauges.peaks(),
            machine=self._processes.machine(),
            peak_pss_bytes=self._peak("pss_bytes"),
            peak_uss_bytes=self._peak("uss_bytes"),
            peak_rss_bytes=self._peak("rss_bytes"),
            gil_method="unknown" if unknown else "sampled",
            gil_reason=unknown,
            sampler_cpu_seconds=time.process_time(),
            looks=self.readings,
        )

    def _gil_reason(self) -> str:
        if isinstance(self._place, GilUnknown):
            return self._place.reason
        groups = self._totals.groups()
        if any(shares.gil_share is not None for shares in groups):
            return ""
        reasons = [shares.gil_reason for shares in groups] + [waits.reason for waits in self._waits.values()]
        return next(filter(None, reasons), "no thread was seen")

    def _peak(self, name: str) -> int | None:
        return int(self._peaks[name]) if name in self._peaks else None


def observe(sampling: Sampling, next_request: NextRequest, report: Callable[[Samples], None]) -> None:
    """Watches until `next_request(seconds)`, which waits that long at most, is for the end; reports when it is to."""
    pace = SamplingPace(sampling.started)
    sampling.add_row(memory=True)
    while (request := next_request(pace.pause())) is not PauseRequest.END:
        if request is PauseRequest.SNAPSHOT:
            report(sampling.snapshot())
        now = time.perf_counter()
        sampling.read()
        if pace.due("refresh", now):
            sampling.refresh()
        if pace.due("row", now):
            pace.memory_took(now, sampling.add_row(memory=pace.due("memory", now)))
    report(sampling.result())


class SamplingPace:
    """When to do what: eager at the start, then as often as the CPU budget allows."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._due = {"refresh": started + REFRESH_SECONDS[0], "row": started + 0.1, "memory": started + 1.0}
        self._rate = READINGS_PER_SECOND[1]
        self._checked = (started, time.process_time())

    def pause(self) -> float:
        """Seconds until the next reading; uneven, lest it keep step with the GIL's switch interval of 5 ms."""
        return random.uniform(0.5, 1.5) / self._rate

    def due(self, what: str, now: float) -> bool:
        """Whether it is time, and if so when next."""
        if now < self._due[what]:
            return False
        self._due[what] = now + self._interval(what, now - self._started)
        if what == "refresh":
            self._adapt(now)
        return True

    def _interval(self, what: str, age: float) -> float:
        if what == "row" and age < EAGER_SECONDS:
            return 0.1
        if what == "refresh":
            return min(max(age / 5.0, REFRESH_SECONDS[0]), REFRESH_SECONDS[1])
        return 1.0

    def memory_took(self, now: float, seconds: float) -> None:
        """Reads memory less often where that takes long."""
        self._due["memory"] = max(self._due["memory"], min(now + seconds / PSS_BUDGET, now + 30.0))

    def _adapt(self, now: float) -> None:
        before, cpu_before = self._checked
        self._checked = now, time.process_time()
        share = (self._checked[1] - cpu_before) / max(now - before, 1e-3)
        slowest, fastest = READINGS_PER_SECOND
        if now - self._started < EAGER_SECONDS:
            slowest = EAGER_READINGS_PER_SECOND
        wanted = self._rate * CPU_BUDGET / max(share, CPU_BUDGET / 4)
        self._rate = min(fastest, max(slowest, wanted))


def listen(descriptor: int) -> NextRequest:
    """How to wait for the parent's request; the end of the stream is its order, or its death.

    `select` wakes up at a third of the cost of `Event.wait`; on Windows it does not know pipes.
    """
    if sys.platform != "win32":
        return lambda seconds: (
            _request(os.read(descriptor, 1))
            if select.select([descriptor], [], [], seconds)[0]
            else PauseRequest.NOTHING
        )
    requests: queue.SimpleQueue[PauseRequest] = queue.SimpleQueue()

    def read() -> None:
        while requests.put(request := _request(os.read(descriptor, 1))) or request is PauseRequest.SNAPSHOT:
            pass

    def wait(seconds: float) -> PauseRequest:
        try:
            return requests.get(timeout=seconds)
        except queue.Empty:
            return PauseRequest.NOTHING

    threading.Thread(target=read, daemon=True).start()
    return wait


def _request(read: bytes) -> PauseRequest:
    return PauseRequest.SNAPSHOT if read else PauseRequest.END


def main() -> None:
    """Watches what the command line names, and writes what it saw."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a run that is told to end is still to be watched
        signal.signal(number, signal.SIG_IGN)
    watch = msgspec.json.decode(sys.argv[1], type=Watch)
    _soft_limit_of_files()
    with suppress(BrokenPipeError):  # the parent is gone
        observe(Sampling(watch, learn()), listen(sys.stdin.fileno()), _report)
    os._exit(0)  # nothing is left to be tidied up


def _report(samples: Samples) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(samples) + b"\n")
    sys.stdout.flush()


def _soft_limit_of_files() -> None:
    """Two descriptors per watched thread: take what the hard limit gives."""
    if sys.platform == "win32":
        return
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
