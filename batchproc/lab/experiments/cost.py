"""What a worker costs: seconds until it is ready, memory, and from how many items on processes repay their start."""

import os
import random
import subprocess
import sys
import time
from statistics import median

from batchproc.executors.worker import start_context
from batchproc.lab.batches import SEED, OpenExecutor, Size, executor_of, plain_items
from batchproc.lab.models import crossings
from batchproc.lab.results import Crossing, ResultTable, SeriesKind, gained, measured
from batchproc.lab.tiny_stages import Echo, PurePython, TinyBlur
from batchproc.measure.hardware import usable_cores
from batchproc.measure.processes import descendants, memory_of
from batchproc.model import Mode

START_WORKERS = 4
FEW, MANY = 1, 5
JOB_SIZES = (4, 16, 64)
FULL_JOB_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COLD_SECONDS = 30.0
ONE = {Mode.THREAD: "a thread", Mode.PROCESS: "a process"}


def startup(size: Size) -> ResultTable:
    """Seconds from asking for a worker to its being ready for a stage without work, of four asked for at once."""
    start_context(Echo().preload)
    found: dict[Mode, list[float]] = {mode: [] for mode in ONE}
    for number in range(size.rounds + 1):
        for mode, values in found.items():
            seconds = _ready_seconds(mode)
            if number:
                values.append(seconds)
    cold = [_cold_seconds() for _ in range(min(5, size.rounds))]
    ready = {ONE[mode]: values for mode, values in found.items()}
    return ResultTable(x="worker", series=(
        measured("ready after", "s", ready | {"the first process": cold}),
        gained("threads gain", {ONE[Mode.THREAD]: (found[Mode.THREAD], found[Mode.PROCESS])}),
    ))  # fmt: skip


def memory(size: Size) -> ResultTable:
    """PSS of the whole process tree with one and with five workers that each hold an image and have filtered it."""
    start_context(TinyBlur().preload)
    found: dict[Mode, list[float]] = {mode: [] for mode in ONE}
    if memory_of(os.getpid()).pss_bytes is not None:
        for _ in range(size.rounds):
            for mode, values in found.items():
                values.append((_tree_pss(mode, MANY) - _tree_pss(mode, FEW)) / (MANY - FEW))
    weights = measured("one more weighs (PSS)", "bytes", {ONE[mode]: values for mode, values in found.items()})
    return ResultTable(x="worker", series=(weights,))


def job_size(size: Size) -> ResultTable:
    """Whole jobs of 1 to 256 items with the workers' start in them, in every mode, on a pure-Python step.

    Every round has all sizes and modes in fresh random order, so that a busy spell spoils no size alone.
    """
    start_context(PurePython().preload)
    modes = {"threads": Mode.THREAD, "processes": Mode.PROCESS, "serial": Mode.SERIAL}
    sizes = [float(items) for items in (FULL_JOB_SIZES if size.full else JOB_SIZES)]
    for mode in modes.values():
        _job_seconds(mode, 1)  # what only a first job pays, imports above all, is not what is asked for
    took: dict[str, dict[float, list[float]]] = {name: {items: [] for items in sizes} for name in modes}
    jobs = [(name, items) for name in modes for items in sizes]
    order = random.Random(SEED)
    for _ in range(size.rounds):
        for name, items in order.sample(jobs, len(jobs)):
            took[name][items].append(_job_seconds(modes[name], int(items)))
    threads, processes, serial = (
        measured(name, "s", each, SeriesKind.CONTROL if name == "serial" else SeriesKind.MAIN)
        for name, each in took.items()
    )
    gains = gained("processes gain", {items: (took["processes"][items], took["serial"][items]) for items in sizes})
    met = Crossing(first="threads", second="processes", measured=crossings(threads.curve, processes.curve))
    return ResultTable(x="items in the job (a loop in Python)", x_unit="items", y="time of the whole job",
                 series=(threads, processes, serial, gains), crossings=(met,))  # fmt: skip


def cold_start() -> None:
    """Prints the seconds from nothing to a worker's first outcome, the fork server's start included. Run in a child."""
    sys.stdout.write(repr(_job_seconds(Mode.PROCESS, 1)))


def _cold_seconds() -> float:
    code = "from batchproc.lab.experiments.cost import cold_start; cold_start()"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COLD_SECONDS)
    return float(done.stdout)


def _ready_seconds(mode: Mode) -> float:
    """The median time of four workers from being asked for to being ready, by the executor's own account."""
    stage = Echo()
    with OpenExecutor(executor_of(mode, START_WORKERS, stage), stage) as opened:
        opened.batch(plain_items([None] * START_WORKERS))
        executor = opened.executor
    return median(times.startup_seconds for times in executor.times)


def _tree_pss(mode: Mode, workers: int) -> float:
    """Bytes of this process and all below it while `workers` are alive and have worked."""
    stage = TinyBlur()
    with OpenExecutor(executor_of(mode, workers, stage), stage) as opened:
        opened.batch(plain_items([None] * (4 * workers)))
        pids = (os.getpid(), *descendants(os.getpid()))
        return float(sum(memory_of(pid).pss_bytes or 0 for pid in pids))


def _job_seconds(mode: Mode, items: int) -> float:
    stage = PurePython()
    started = time.perf_counter()
    with OpenExecutor(executor_of(mode, usable_cores(), stage), stage) as opened:
        opened.batch(plain_items([None] * items))
    return time.perf_counter() - started
