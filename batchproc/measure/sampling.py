"""The sampler's own process: `python -m batchproc.measure.sampling '<what to watch, as JSON>'`.

Standard library only (psutil off Linux). For every byte on its standard input, and when that ends, be it by order or
because the parent is gone, it writes what it saw so far to its standard output: one JSON document a line. Rates:
threads and gauges 8 to 40 times a second, as its budget of CPU allows, and at least 25 in the first two seconds; rows
ten times a second for two seconds, then once; PSS at the start, at the end and at most once a second between, less
often where it takes long.
"""

import json
import os
import queue
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from batchproc.measure.census import Census
from batchproc.measure.gil import GilPlace, GilUnknown, learn
from batchproc.measure.levels import GaugeReader, Levels
from batchproc.measure.samples import Samples
from batchproc.measure.series import TIME, Series
from batchproc.measure.tally import WaitTally
from batchproc.measure.waits import Waits

CPU_BUDGET = 0.004  # of one core
LOOKS_PER_SECOND = (8.0, 40.0)
EAGER_LOOKS_PER_SECOND = 25.0  # whatever they cost: a short run needs its samples
THREADS_PER_LOOK = 12
EAGER_SECONDS = 2.0
REFRESH_SECONDS = (0.1, 2.0)  # at least and at most; between, a fifth of the run's age: a short run loses little
PSS_BUDGET = 0.0015  # of the time; walking page tables makes the watched process's page faults wait
Place: TypeAlias = GilPlace | GilUnknown
Told: TypeAlias = Callable[[float], "Word"]


class Word(Enum):
    """What the parent said in the last pause."""

    NOTHING = "nothing"
    TELL = "tell"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to watch: the root of the process tree, the embedded origin if there is one, the gauges."""

    root: int
    origin: int | None
    gauges_path: str
    gauge_names: tuple[str, ...]

    @classmethod
    def from_json(cls, text: str) -> "Watch":
        """What the parent passed on the command line."""
        facts = json.loads(text)
        return cls(**{**facts, "gauge_names": tuple(facts["gauge_names"])})


class Sampling:
    """One run under observation: `look` often, `row` sometimes, `weigh` rarely, `result` once."""

    def __init__(self, watch: Watch, reader: GaugeReader, place: Place) -> None:
        self.started = time.perf_counter()
        self._place = place
        self._census = Census(watch.root, watch.origin)
        self._waits: dict[int, Waits] = {}
        self._tally = WaitTally()
        self._series = Series()
        self._levels = Levels(reader, self.started)
        self._peaks: dict[str, float] = {}
        self._turns = 1
        self.looks = 0
        self.refresh()

    def refresh(self) -> None:
        """Looks for new processes and threads, and books the scheduler's clocks."""
        self._census.refresh()
        if not sys.platform.startswith("linux"):
            return
        measured = self._census.measured
        for pid in [pid for pid in self._waits if pid not in measured]:
            self._waits.pop(pid).close()
            self._tally.forget(pid)
        for pid, role in measured.items():
            waits = self._waits.setdefault(pid, Waits(pid, self._place))
            waits.refresh(role)
            self._tally.book(waits, time.perf_counter())
        self._turns = max(1, round(sum(map(len, self._waits.values())) / THREADS_PER_LOOK))

    def look(self) -> None:
        """What threads are doing, a fair choice of them when there are many, and every gauge."""
        self.looks += 1
        turn = random.randrange(self._turns)
        for waits in self._waits.values():
            self._tally.sample(waits, turn, self._turns)
        self._levels.look(time.perf_counter())

    def row(self, *, weigh: bool = False) -> float:
        """Adds a row to the series; returns the seconds that weighing took."""
        row: dict[str, float | None] = {TIME: time.perf_counter() - self.started}
        row |= self._census.count() | self._levels.row()
        row["threads"] = float(sum(map(len, self._waits.values())))
        before = time.perf_counter()
        if weigh:
            row |= self._census.weigh()
        for name, value in row.items():
            if name.endswith("_bytes") and value is not None:
                self._peaks[name] = max(value, self._peaks.get(name, 0.0))
        self._series.add(row)
        return time.perf_counter() - before

    def result(self) -> Samples:
        """Everything seen, after one last look."""
        self.refresh()
        self.look()
        self._census.weigh_outside()
        self.row(weigh=True)
        return self._samples()

    def glance(self) -> Samples:
        """What was seen so far; memory as of the last time that it was weighed."""
        self.refresh()
        self.look()
        return self._samples()

    def _samples(self) -> Samples:
        unknown = self._gil_reason()
        return Samples(
            started=self.started,
            ended=time.perf_counter(),
            series={name: tuple(column) for name, column in self._series.columns().items()},
            processes=self._census.usages(),
            waits=self._tally.groups(),
            gauge_means=self._levels.means(),
            gauge_peaks=self._levels.peaks(),
            machine=self._census.machine(),
            peak_pss_bytes=self._peak("pss_bytes"),
            peak_uss_bytes=self._peak("uss_bytes"),
            peak_rss_bytes=self._peak("rss_bytes"),
            gil_method="unknown" if unknown else "sampled",
            gil_reason=unknown,
            sampler_cpu_seconds=time.process_time(),
            looks=self.looks,
        )

    def _gil_reason(self) -> str:
        if isinstance(self._place, GilUnknown):
            return self._place.reason
        groups = self._tally.groups()
        if any(shares.gil_share is not None for shares in groups):
            return ""
        reasons = [shares.gil_reason for shares in groups] + [waits.reason for waits in self._waits.values()]
        return next(filter(None, reasons), "no thread was seen")

    def _peak(self, name: str) -> int | None:
        return int(self._peaks[name]) if name in self._peaks else None


def observe(sampling: Sampling, told: Told, tell: Callable[[Samples], None]) -> None:
    """Watches until `told(seconds)`, which waits that long at most, says that this is the end; tells when it is to."""
    pace = Pace(sampling.started)
    sampling.row(weigh=True)
    while (word := told(pace.pause())) is not Word.END:
        if word is Word.TELL:
            tell(sampling.glance())
        now = time.perf_counter()
        sampling.look()
        if pace.due("refresh", now):
            sampling.refresh()
        if pace.due("row", now):
            pace.weighed(now, sampling.row(weigh=pace.due("weigh", now)))
    tell(sampling.result())


class Pace:
    """When to do what: eager at the start, then as often as the CPU budget allows."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._due = {"refresh": started + REFRESH_SECONDS[0], "row": started + 0.1, "weigh": started + 1.0}
        self._rate = LOOKS_PER_SECOND[1]
        self._checked = (started, time.process_time())

    def pause(self) -> float:
        """Seconds until the next look; uneven, lest it keep step with the GIL's switch interval of 5 ms."""
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

    def weighed(self, now: float, seconds: float) -> None:
        """Weighs less often where it takes long."""
        self._due["weigh"] = max(self._due["weigh"], min(now + seconds / PSS_BUDGET, now + 30.0))

    def _adapt(self, now: float) -> None:
        before, cpu_before = self._checked
        self._checked = now, time.process_time()
        share = (self._checked[1] - cpu_before) / max(now - before, 1e-3)
        slowest, fastest = LOOKS_PER_SECOND
        if now - self._started < EAGER_SECONDS:
            slowest = EAGER_LOOKS_PER_SECOND
        wanted = self._rate * CPU_BUDGET / max(share, CPU_BUDGET / 4)
        self._rate = min(fastest, max(slowest, wanted))


def listen(descriptor: int) -> Told:
    """How to wait for the parent's word; the end of the stream is its order, or its death.

    `select` wakes up at a third of the cost of `Event.wait`; on Windows it does not know pipes.
    """
    if sys.platform != "win32":
        return lambda seconds: (
            _word(os.read(descriptor, 1)) if select.select([descriptor], [], [], seconds)[0] else Word.NOTHING
        )
    words: queue.SimpleQueue[Word] = queue.SimpleQueue()

    def read() -> None:
        while words.put(word := _word(os.read(descriptor, 1))) or word is Word.TELL:
            pass

    def wait(seconds: float) -> Word:
        try:
            return words.get(timeout=seconds)
        except queue.Empty:
            return Word.NOTHING

    threading.Thread(target=read, daemon=True).start()
    return wait


def _word(read: bytes) -> Word:
    return Word.TELL if read else Word.END


def main() -> None:
    """Watches what the command line names, and writes what it saw."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a run that is told to end is still to be watched
        signal.signal(number, signal.SIG_IGN)
    watch = Watch.from_json(sys.argv[1])
    _soft_limit_of_files()
    reader = GaugeReader(Path(watch.gauges_path), watch.gauge_names)
    try:
        observe(Sampling(watch, reader, learn()), listen(sys.stdin.fileno()), _tell)
    except BrokenPipeError:
        os._exit(0)  # the parent is gone


def _tell(samples: Samples) -> None:
    json.dump(samples.to_json(), sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")
    sys.stdout.flush()


def _soft_limit_of_files() -> None:
    """Two descriptors per watched thread: take what the hard limit gives."""
    if sys.platform == "win32":
        return
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
