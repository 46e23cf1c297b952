"""How a worker lets itself be measured: the clocks around each item, and the name by which the sampler finds it.

Light: imported by workers. Linux keeps a name of 15 bytes per thread; elsewhere the calls for it do nothing.
"""

import math
import os
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from batchproc.model import GilAsks, Span

NANOSECONDS = 1e-9
NAME_BYTES = 15  # TASK_COMM_LEN less the closing zero
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_PR_SET_PTRACER = 0x59616D61  # prctl(2)


class RunQueueClock:
    """Seconds the calling thread was ready to run while no core was free.

    Reads field 2 of `/proc/thread-self/schedstat` (Linux, Documentation/scheduler/sched-stats). Belongs to the thread
    that opened it. `seconds()` is None where the kernel does not tell: no such file, or "0 0 0" (no CONFIG_SCHED_INFO).
    """

    def __init__(self) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        if os.pread(self._descriptor, 64, 0).split() == [b"0", b"0", b"0"]:
            self.close()

    def seconds(self) -> float | None:
        """The delay so far, since the thread began."""
        if self._descriptor < 0:
            return None
        return int(os.pread(self._descriptor, 64, 0).split(b" ", 2)[1]) * NANOSECONDS

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


GAP_SECONDS, MORE_SECONDS = 0.5e-3, 1.5e-3  # between two asks: at least, and on average beyond that
GOLDEN = 0.618034  # its multiples spread evenly over 0 to 1, however many
MOST_ASKS, MOST_WAKES = 50, 1000  # of one worker; 50 took 15 ms of CPU on a busy machine
LEAST_AT_WORK = 0.1  # of the time before an ask: a worker that was less at it says nothing of its CPU


class _Part(NamedTuple):
    """A part of the work on the clock and on its worker's CPU clock, in seconds."""

    name: str = ""
    began: float = math.inf
    began_cpu: float = 0.0
    ended: float = math.inf
    ended_cpu: float = math.inf


class GilProbe:
    """Asks for the GIL while a part of the work runs of which nobody says whether it holds it.

    For a process with one worker thread: that one makes the probe and calls `begin`, `end` and `take`. The first
    `begin` starts another, which wakes at random moments. If it gets the GIL at once, it left the core once, to sleep;
    if it has to wait, it left it again: the kernel's count tells, on a loaded machine too. Random moments see what a
    part does most of its time (Poisson arrivals see time averages). Each stands for the mean time between two, as far
    as the worker was on a core meanwhile, and for what it did there while it kept the GIL. The thread ends by itself,
    so that a run pays a few milliseconds in all.
    """

    def __init__(self) -> None:
        self._now = self._last = _Part()
        self._answers: deque[tuple[str, GilAsks]] = deque()
        self._worker = threading.get_ident()
        self._is_started = False

    def begin(self, name: str) -> None:
        """The part begins."""
        if not self._is_started:
            self._is_started = True
            if hasattr(resource, "RUSAGE_THREAD") and hasattr(time, "pthread_getcpuclockid"):
                threading.Thread(target=self._ask, name="gil-probe", daemon=True).start()
        self._now = _Part(name, time.perf_counter(), time.thread_time())

    def end(self) -> None:
        """The part under way has ended, if there was one."""
        if self._now.name:
            self._last = self._now._replace(ended=time.perf_counter(), ended_cpu=time.thread_time())
            self._now = _Part()

    def take(self) -> dict[str, GilAsks]:
        """What was answered since the last call, by part."""
        found: dict[str, GilAsks] = {}
        while self._answers:
            name, answer = self._answers.popleft()
            found[name] = found.get(name, GilAsks()) + answer
        return found

    def _ask(self) -> None:
        name_thread("gil-probe")
        clock, asks = time.pthread_getcpuclockid(self._worker), 0
        with closing(RunQueueClock()) as run_queue:
            for number in range(MOST_WAKES):
                before, before_cpu, queued = time.perf_counter(), time.clock_gettime(clock), run_queue.seconds() or 0.0
                due, switches = before + _gap(number), _switches()
                time.sleep(max(0.0, due - time.perf_counter()))
                now, now_cpu, switches = time.perf_counter(), time.clock_gettime(clock), _switches() - switches
                came = due + (run_queue.seconds() or 0.0) - queued if switches > 1 else now  # to ask
                part = next((one for one in (self._now, self._last) if one.began <= due and came <= one.ended), None)
                if part is None or not switches:
                    continue
                ended, began = min(now, part.ended), max(before, part.began)
                cpu = min(now_cpu, part.ended_cpu) - max(before_cpu, part.began_cpu)
                at_work = min(1.0, cpu / max(ended - began, 1e-6))
                if at_work >= LEAST_AT_WORK:
                    seconds = at_work * (GAP_SECONDS + MORE_SECONDS + max(0.0, ended - came))
                    answer = GilAsks(asks=1, seconds=seconds, held_seconds=seconds if switches > 1 else 0.0)
                    self._answers.append((part.name, answer))
                    asks += 1
                if asks == MOST_ASKS:
                    return


def _gap(number: int) -> float:
    """Seconds to the next ask: exponential, so that no rhythm of the work falls in with it."""
    return GAP_SECONDS - MORE_SECONDS * math.log(1.0 - GOLDEN * number % 1.0)


def _switches() -> int:
    """How often the calling thread left the core of itself: to sleep, or to wait for a lock as the GIL is one."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class Stopwatch:
    """Times one item after the other for one worker. Belongs to the thread that made it.

    `probe`: of a worker whose thread works alone in its process; else the GIL is anybody's.
    """

    def __init__(self, stage: str, worker: str, probe: GilProbe | None = None) -> None:
        self.stage = stage
        self.worker = worker
        self._probe = probe
        self.on_long_wait: Callable[[str], None] | None = None
        self.on_long_wait_over: Callable[[str], None] | None = None
        self.waited_long = False  # the present item, some time
        self._waited_for = ""  # by the present item, now
        self._runqueue = RunQueueClock()
        self._parts: dict[str, tuple[float, float]] = {}
        self._counts: dict[str, int] = {}
        self._started = self._lap_wall = 0.0
        self._started_cpu = self._lap_cpu = 0
        self._started_runqueue: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runqueue.close()

    def start(self) -> None:
        """Begins an item."""
        self._parts, self._counts = {}, {}
        self.waited_long = False
        self._started_runqueue = self._runqueue.seconds()
        self._started_cpu = self._lap_cpu = time.thread_time_ns()
        self._started = self._lap_wall = time.perf_counter()

    def __call__(self, part: str) -> None:
        """Books the time since the last lap under `part`; the same name adds up."""
        wall, cpu = time.perf_counter(), time.thread_time_ns()
        if self._probe is not None:
            self._probe.end()
        before = self._parts.get(part, (0.0, 0.0))
        self._parts[part] = (
            before[0] + wall - self._lap_wall,
            before[1] + (cpu - self._lap_cpu) * NANOSECONDS,
        )
        self._lap_wall, self._lap_cpu = wall, cpu

    def watch_gil(self, part: str) -> None:
        """Says that nobody knows of the part that begins now whether it holds the GIL."""
        if self._probe is not None:
            self._probe.begin(part)

    def count(self, what: str) -> None:
        """Counts something that happened in the work."""
        self._counts[what] = self._counts.get(what, 0) + 1

    def long_wait(self, whom: str) -> None:
        """Says, once per item, that it waits for somebody for longer than usual."""
        if self.on_long_wait is not None and not self.waited_long:
            self.waited_long = True
            self._waited_for = whom
            self.on_long_wait(whom)

    def long_wait_over(self) -> None:
        """Says that the wait has ended, if there was one; the end of the item is its end, too."""
        if self._waited_for and self.on_long_wait_over is not None:
            self.on_long_wait_over(self._waited_for)
            self._waited_for = ""

    def span(self, enqueued: float) -> Span:
        """Ends the item that `start` began."""
        self.long_wait_over()
        ended = time.perf_counter()
        cpu_seconds = (time.thread_time_ns() - self._started_cpu) * NANOSECONDS
        delay, delay_before = self._runqueue.seconds(), self._started_runqueue
        if self._probe is not None:
            self._probe.end()
        return Span(
            stage=self.stage,
            worker=self.worker,
            enqueued=enqueued,
            started=self._started,
            ended=ended,
            cpu_seconds=cpu_seconds,
            runqueue_seconds=None if delay is None or delay_before is None else delay - delay_before,
            parts=self._parts,
            counts=self._counts,
            gil=self._probe.take() if self._probe is not None else {},
        )


def process_started() -> float | None:
    """The perf_counter time at which the calling process was forked, to 10 ms; None where the system does not tell.

    Linux: field 22 of `/proc/self/stat` counts ticks since boot, and perf_counter stands still in suspend as the clock
    since boot does not, so both are read now and subtracted. A process forked by a fork server began at its own fork.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        descriptor = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter() - age


def name_thread(role: str) -> None:
    """Gives the calling thread its role, as `transform-3`: stage, dash, number; by this the sampler groups threads.

    To be called once, first thing in the thread, or in the main thread of a worker process. About 20 µs.
    """
    if not sys.platform.startswith("linux"):
        return
    comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    try:
        comm.write_bytes(shortened(role).encode()[:NAME_BYTES])
    except OSError:
        return  # /proc is not mounted, or read-only: the sampler then reports the thread as unnamed


def shortened(role: str) -> str:
    """`role` in 15 bytes, with its number kept whole."""
    stem, dash, number = role.rpartition("-")
    if not number.isdigit() or not dash:
        return role[:NAME_BYTES]
    return stem[: NAME_BYTES - 1 - len(number)] + dash + number


def allow_reader(pid: int) -> bool:
    """Lets process `pid` read what this process's threads wait for, where Yama restricts that to ancestors.

    True when nothing stands in the way afterwards, as far as Yama goes. Scope 1 is opened with `PR_SET_PTRACER` for
    that one process; scopes 2 and 3 cannot be.
    """
    try:
        scope = int(_YAMA.read_text())
    except (OSError, ValueError):
        return True  # no Yama
    if scope != 1:
        return scope == 0
    import ctypes

    zero = ctypes.c_ulong(0)
    return int(ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), zero, zero, zero)) == 0
