"""What a worker costs: seconds until it is ready, memory, and from how many items on processes repay their start."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from batchproc.bench.experiments.crew import SEED, Crew, executor_of, plain_items
from batchproc.bench.experiments.number import Number, counted, gain, repeated
from batchproc.bench.experiments.size import Size
from batchproc.bench.experiments.stages import Blur, Echo, PurePython
from batchproc.executors.worker import start_context
from batchproc.measure.cores import usable_cores
from batchproc.model import Mode

START_WORKERS = 4
FEW, MANY = 1, 5
JOB_SIZES = (4, 16, 64)
FULL_JOB_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COLD_SECONDS = 30.0


def startup(size: Size) -> Iterator[Number]:
    """Seconds from asking for a worker to its being ready for a stage without work, of four asked for at once."""
    stage = Echo()
    start_context(stage.preload)
    found: dict[Mode, list[float]] = {Mode.THREAD: [], Mode.PROCESS: []}
    for number in range(size.rounds + 1):
        for mode in found:
            seconds = _ready_seconds(mode)
            if number:
                found[mode].append(seconds)
    for mode, values in found.items():
        yield repeated(f"{mode}_seconds", values, "s/worker")
    yield gain("threads_gain", found[Mode.THREAD], found[Mode.PROCESS])
    yield repeated("cold_process_seconds", [_cold_seconds() for _ in range(min(5, size.rounds))], "s")


def memory(size: Size) -> Iterator[Number]:
    """PSS of the whole process tree with one and with five workers that each hold a picture and have filtered it."""
    from batchproc.measure import procfs

    start_context(Blur().preload)
    if procfs.memory(os.getpid()).pss_bytes is None:
        return
    found: dict[Mode, list[float]] = {Mode.THREAD: [], Mode.PROCESS: []}
    for _ in range(size.rounds):
        for mode, values in found.items():
            values.append((_tree_pss(mode, MANY) - _tree_pss(mode, FEW)) / (MANY - FEW))
    for mode, values in found.items():
        yield repeated(f"{mode}_pss_bytes", values, "bytes/worker")


def job_size(size: Size) -> Iterator[Number]:
    """Whole jobs of 1 to 256 items with the workers' start in them, in every mode, on a pure-Python step.

    Every round has all sizes and modes in fresh random order, so that a busy spell spoils no size alone.
    """
    start_context(PurePython().preload)
    sizes = FULL_JOB_SIZES if size.full else JOB_SIZES
    modes = (Mode.SERIAL, Mode.THREAD, Mode.PROCESS)
    jobs = [(items, mode) for items in sizes for mode in modes]
    for mode in modes:
        _job_seconds(mode, 1)  # what only a first job pays, imports above all, is not what is asked for
    took: dict[tuple[int, Mode], list[float]] = {job: [] for job in jobs}
    order = random.Random(SEED)
    for _ in range(size.rounds):
        for items, mode in order.sample(jobs, len(jobs)):
            took[items, mode].append(_job_seconds(mode, items))
    gains: list[tuple[int, float]] = []
    for items in sizes:
        x: dict[str, Any] = {"x": float(items), "x_unit": "items"}
        for mode in modes:
            yield repeated(f"{mode}_seconds", took[items, mode], "s", **x)
        found = gain("processes_gain", took[items, Mode.PROCESS], took[items, Mode.SERIAL], **x)
        gains.append((items, found.value if found.low is None else found.low))
        yield found
    paying = next((items for items, value in gains if value > 1), None)
    if paying is not None:
        yield counted("break_even_items", paying, "items")


def cold_start() -> None:
    """Prints the seconds from nothing to a worker's first outcome, the fork server's start included. Run in a child."""
    sys.stdout.write(repr(_job_seconds(Mode.PROCESS, 1)))


def _cold_seconds() -> float:
    code = "from batchproc.bench.experiments.cost import cold_start; cold_start()"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COLD_SECONDS)
    return float(done.stdout)


def _ready_seconds(mode: Mode) -> float:
    """The median time of four workers from being asked for to being ready, by the executor's own account."""
    stage = Echo()
    with Crew(executor_of(mode, START_WORKERS, stage), stage) as crew:
        crew.batch(plain_items([None] * START_WORKERS))
        executor = crew.executor
    return median(times.startup_seconds for times in executor.times)


def _tree_pss(mode: Mode, workers: int) -> float:
    """Bytes of this process and all below it while `workers` are alive and have worked."""
    from batchproc.measure import procfs

    stage = Blur()
    with Crew(executor_of(mode, workers, stage), stage) as crew:
        crew.batch(plain_items([None] * (4 * workers)))
        pids = (os.getpid(), *procfs.descendants(os.getpid()))
        return float(sum(procfs.memory(pid).pss_bytes or 0 for pid in pids))


def _job_seconds(mode: Mode, items: int) -> float:
    stage = PurePython()
    started = time.perf_counter()
    with Crew(executor_of(mode, usable_cores(), stage), stage) as crew:
        crew.batch(plain_items([None] * items))
    return time.perf_counter() - started
