"""All experiments by name, with the question and how long each may take; and those on throughput and cost themselves.

Python against C, steps by mode and workers, waiting for replies, what handing over costs; seconds until a worker is
ready, memory, and from how many items on processes repay their start."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from msgspec import Struct, to_builtins

from batchproc.download.fetch import Download
from batchproc.executors.worker import start_context
from batchproc.lab import isolation
from batchproc.lab.batches import (
    SEED,
    SIZES,
    Echo,
    OpenExecutor,
    PurePython,
    Rounds,
    Size,
    TinyBlur,
    TinyMedian,
    executor_of,
    interleave,
    noise,
    plain_items,
    source,
)  # fmt: skip
from batchproc.lab.results import (
    Crossing,
    ResultSeries,
    ResultTable,
    SeriesKind,
    crossings,
    gained,
    gil_models,
    measured,
    payload_that_eats,
    waiting_models,
)
from batchproc.measure.processes import descendants, memory_of, usable_cores
from batchproc.model import Fetch, Item, Mode, Reply, SourceImage
from batchproc.origin import EmbeddedOrigin, OriginSettings, demo_paths
from batchproc.protocols import Stage

BLUR, MEDIAN, LOOP = "GaussianBlur", "MedianFilter", "a loop in Python"
STEPS: dict[str, Stage[Any, Any]] = {BLUR: TinyBlur(), MEDIAN: TinyMedian(), LOOP: PurePython()}
ITEMS = 32
GREY_SIDE_PX = 96


def steps(size: Size) -> ResultTable:
    """Each step serial, in as many threads as cores, and in as many processes."""
    workers, count = usable_cores(), size.items(ITEMS)
    plans = {"serial": (Mode.SERIAL, 1), "threads": (Mode.THREAD, workers), "processes": (Mode.PROCESS, workers)}
    found = {name: interleave(stage, plans, plain_items([None] * count), rounds=size.rounds)
             for name, stage in STEPS.items()}  # fmt: skip

    def pairs(plan: str, against: str) -> dict[str, tuple[list[float], list[float]]]:
        return {name: (rounds.seconds(plan), rounds.seconds(against)) for name, rounds in found.items()}

    def each(of: Callable[[Rounds, str], list[float]], plan: str) -> dict[str, list[float]]:
        return {name: of(rounds, plan) for name, rounds in found.items()}

    against = gained("threads against processes", pairs("threads", "processes"), SeriesKind.MAIN,
                     sides=("processes faster", "threads faster"))  # fmt: skip
    series = [against, measured("serial", "s/item", each(Rounds.seconds, "serial"), SeriesKind.FIGURE, per=count)]
    for plan in ("threads", "processes"):
        series.append(gained(f"{plan} gain", pairs(plan, "serial")))
        series.append(measured(f"{plan}, busy", "cores", each(Rounds.busy_cores, plan), SeriesKind.FIGURE))
    for plan in ("serial", "processes"):
        waited = each(Rounds.waiting_shares, plan)
        series.append(measured(f"{plan}, waiting for a core", "share", waited, SeriesKind.FIGURE))
    again = sum(rounds.made_again for rounds in found.values())
    return ResultTable(x="step", series=(*series, *gil_models(against, workers)),
                 facts={"cores": workers, "rounds_made_again": again})  # fmt: skip


def own_gil(size: Size) -> ResultTable:
    """Two workers spinning in pure Python: as threads of one process they share its GIL, as processes they do not."""
    plans = {"one": (Mode.THREAD, 1), "two threads": (Mode.THREAD, 2), "two processes": (Mode.PROCESS, 2)}
    found = interleave(PurePython(), plans, plain_items([None] * size.items(ITEMS)), rounds=size.rounds)
    both = ("two threads", "two processes")
    return ResultTable(
        x="workers",
        series=(measured("busy", "cores", {name: found.busy_cores(name) for name in both}),
                gained("gain", {name: (found.seconds(name), found.seconds("one")) for name in both})),
        facts={"cores": usable_cores(), "rounds_made_again": found.made_again},
    )  # fmt: skip


def workers(size: Size) -> ResultTable:
    """More and more workers on a step that releases the GIL: the rate stops growing at the cores."""
    counts, items = (1, 2, 4, 8) if size.full else (1, 2), size.items(ITEMS)
    modes = {"threads": Mode.THREAD, "processes": Mode.PROCESS}
    plans = {"serial": (Mode.SERIAL, 1)}
    plans |= {f"{name} {count}": (mode, count) for name, mode in modes.items() for count in counts}
    found = interleave(STEPS[BLUR], plans, plain_items([None] * items), rounds=size.rounds)
    cpu_seconds = median(batch.cpu_seconds / items for batch in found.batches["serial"])
    return ResultTable(
        x="workers", y="images per second",
        series=tuple(measured(name, "images/s", {
            float(count): [items / seconds for seconds in found.seconds(f"{name} {count}")] for count in counts
        }) for name in modes),
        facts={"cores": usable_cores(), "cpu_seconds_per_item": cpu_seconds, "rounds_made_again": found.made_again},
    )  # fmt: skip


def python_alone(size: Size) -> ResultTable:
    """The same grey image made by a loop in Python and by Pillow's C: byte-identical, so only the speed differs."""
    image = noise(GREY_SIDE_PX)
    pixels = image.tobytes()
    by_python, by_pillow = [], []
    for _ in range(size.rounds):
        by_python.append(_typical_seconds(lambda: _grey(pixels), 3))
        by_pillow.append(_typical_seconds(lambda: image.convert("L"), 50))
    if _grey(pixels) != image.convert("L").tobytes():
        raise AssertionError("the loop in Python and Pillow made different grey images")
    return ResultTable(x="who", series=(
        measured("one image", "s", {"Python": by_python, "Pillow": by_pillow}),
        gained("gain", {"Pillow": (by_pillow, by_python)}),
    ))  # fmt: skip


def _grey(pixels: bytes) -> bytes:
    """ITU-R 601 luma in Pillow's own integer arithmetic (Convert.c, macro L24)."""
    made = bytearray(len(pixels) // 3)
    for index in range(len(made)):
        red, green, blue = pixels[3 * index], pixels[3 * index + 1], pixels[3 * index + 2]
        made[index] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return bytes(made)


def _typical_seconds(call: Callable[[], object], times: int) -> float:
    """The median time of a call."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return median(took)


DOWNLOAD_WORKERS = 8
LONG_SECONDS = 0.1  # from here on fewer rounds and one item per worker: a single worker waits for each reply
VERY_LONG_SECONDS = 0.5  # from here on no more than `DOWNLOAD_WORKERS` items, and no plan that is larger
FEWER_ROUNDS = 6  # the fewest with a 95% interval of the median
MOST_WORKERS = 2000.0  # the axis ends here; whoever has a crossing beyond it is told in words

SWEEP = (0, 155_000, 1_000_000, 8_000_000)
FULL_SWEEP = (0, 1_000, 16_000, 155_000, 500_000, 1_000_000, 2_000_000, 8_000_000)
BATCH_BYTES = 40_000_000  # a batch carries at most so much
MOST_ITEMS, LEAST_ITEMS = 100, 6
WORK_ITEMS = 12
MODES = {"threads": Mode.THREAD, "processes": Mode.PROCESS}


def latency(size: Size) -> ResultTable:
    """The real download stage on a real server: per latency, replies per second by more and more workers."""
    waits = (0.0, 0.02, 0.1, 0.5) if size.full else (0.0, 0.02, 0.1)
    threads = (2, 4, DOWNLOAD_WORKERS, 2 * DOWNLOAD_WORKERS) if size.full else (DOWNLOAD_WORKERS,)
    stage = Download(allow_addresses=("127.0.0.0/8",), honour_robots=False, per_host=max(DOWNLOAD_WORKERS, *threads))
    paths = demo_paths(len(waits))
    settings = OriginSettings(
        images=len(paths), faults=False, jitter=0.0, latencies=dict(zip(paths, waits, strict=True))
    )
    rates: dict[float, ResultSeries] = {}
    others: list[ResultSeries] = []
    with EmbeddedOrigin(settings) as origin:
        for path, wait in zip(paths, waits, strict=True):
            most = DOWNLOAD_WORKERS if wait >= VERY_LONG_SECONDS else max(threads)
            numbers = [number for number in threads if number <= most]
            count = size.items(most if wait >= LONG_SECONDS else 6 * DOWNLOAD_WORKERS)
            found = _fetch(stage, f"{origin.base_url}{path}", numbers, count, _rounds_of(size, wait))
            name = f"{1000 * wait:g} ms"
            all_rates = {n: [count / seconds for seconds in found.seconds(str(n))] for n in (1, *numbers)}
            rates[1000 * wait] = measured(name, "replies/s", {float(n): each for n, each in all_rates.items()})
            others += [
                gained(f"gain at {name}", {float(n): (found.seconds(str(n)), found.seconds("1")) for n in numbers}),
                measured(f"{name}, processes", "replies/s", {
                    float(DOWNLOAD_WORKERS): [count / seconds for seconds in found.seconds("processes")]
                }, SeriesKind.FIGURE),
            ]  # fmt: skip
    models, meetings = waiting_models(rates, MOST_WORKERS)
    return ResultTable(x="download threads", x_unit="threads", y="replies per second",
                 series=(*rates.values(), *others, *models), crossings=tuple(meetings))  # fmt: skip


def _rounds_of(size: Size, wait: float) -> int:
    return min(size.rounds, FEWER_ROUNDS) if wait >= LONG_SECONDS else size.rounds


def _fetch(stage: Download, url: str, threads: Sequence[int], count: int, rounds: int) -> Rounds:
    plans = {"1": (Mode.SERIAL, 1)} | {str(number): (Mode.THREAD, number) for number in threads}
    items: list[Item[Any]] = [Item(source=source(index, url), value=Fetch()) for index in range(count)]
    return interleave(stage, plans | {"processes": (Mode.PROCESS, DOWNLOAD_WORKERS)}, items, rounds=rounds, again=False)


def payload(size: Size) -> ResultTable:
    """Per payload: seconds per hand-over without work, and what processes gain on a step that keeps the GIL."""
    sweep = FULL_SWEEP if size.full else SWEEP
    work, echo = {}, {}
    for content_bytes in sweep:
        one = SourceImage(content=bytes(content_bytes), reply=Reply(status_code=200))
        count = size.items(max(LEAST_ITEMS, min(MOST_ITEMS, BATCH_BYTES // max(1, content_bytes))))
        echo[float(content_bytes)] = _both(Echo(), 1, one, count, size.rounds)
        work[float(content_bytes)] = _both(PurePython(), usable_cores(), one, size.items(WORK_ITEMS), size.rounds)
    series = {(kind, mode): measured(f"{kind}, {mode}", "s/item", {x: each[mode] for x, each in found.items()}, draw)
              for kind, found, draw in (("work", work, SeriesKind.MAIN), ("no work", echo, SeriesKind.CONTROL))
              for mode in MODES}  # fmt: skip
    threads, processes = (series["work", mode].curve for mode in MODES)
    queue, pipe = (series["no work", mode].curve for mode in MODES)
    extra = {x: (pipe[x] - queue[x]) - (pipe[0.0] - queue[0.0]) for x in queue}
    met = Crossing(first="work, threads", second="work, processes", measured=crossings(threads, processes),
                   predicted=payload_that_eats(threads[0.0] - processes[0.0], extra), is_predicted=True)  # fmt: skip
    gains = gained("processes gain", {x: (each["processes"], each["threads"]) for x, each in work.items()})
    return ResultTable(x="payload of an item", x_unit="bytes", y="time per item",
                 series=(*series.values(), gains), crossings=(met,))  # fmt: skip


def _both(stage: Stage[Any, Any], workers: int, one: SourceImage, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per item by threads and by processes, of which there are `workers`."""
    items: list[Item[Any]] = plain_items([one] * count)
    found = interleave(stage, {name: (mode, workers) for name, mode in MODES.items()}, items, rounds=rounds)
    return {name: [seconds / count for seconds in found.seconds(name)] for name in MODES}


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
    code = "from batchproc.lab.experiments import cold_start; cold_start()"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COLD_SECONDS)
    return float(done.stdout)


def _ready_seconds(mode: Mode) -> float:
    """The median time of four workers from being asked for to being ready, by the executor's own account.

    The first that is ready may do all the work there is: there is more until the last one is.
    """
    stage, deadline = Echo(), time.monotonic() + COLD_SECONDS
    with OpenExecutor(executor_of(mode, START_WORKERS, stage), stage) as opened:
        ready: list[float] = []
        while len(ready) < START_WORKERS and time.monotonic() < deadline:
            opened.batch(plain_items([None] * START_WORKERS))
            ready = [times.startup_seconds for times in opened.executor.times if times.startup_seconds]
    return median(ready)


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


class Experiment(Struct, frozen=True, kw_only=True):
    """One controlled experiment. Killed after `limit_seconds`: then it is not measured."""

    name: str
    question: str
    run: Callable[[Size], ResultTable]
    limit_seconds: float = 60.0
    claims: bool = True

    def command(self, size: str) -> list[str]:
        """The command line of its process, at one of `SIZES`. Not `-m`: the workers would import our main module."""
        code = "from batchproc.lab.experiments import main; main()"
        return [sys.executable, "-P", "-c", code, self.name, size]


def _experiment(
    run: Callable[[Size], ResultTable], question: str, limit_seconds: float = 60.0, *, claims: bool = True
) -> Experiment:
    return Experiment(name=run.__name__, question=question, run=run, limit_seconds=limit_seconds, claims=claims)


EXPERIMENTS = {one.name: one for one in (
    _experiment(python_alone, "How slow is Python alone, against C on the same pixels?"),
    _experiment(steps, "Which steps release the GIL, so that threads run them side by side?"),
    _experiment(own_gil, "Do two processes spin in Python side by side, and two threads not?"),
    _experiment(workers, "Up to how many workers does the rate grow?", 120.0, claims=False),
    _experiment(latency, "What do more workers gain, the longer the replies take?", 240.0),
    _experiment(payload, "What does handing over cost, and up to which payload do processes pay?", 120.0),
    _experiment(startup, "How long until a thread, and a process, is ready?"),
    _experiment(memory, "What does a further thread, or process, weigh?"),
    _experiment(job_size, "From how many items on do processes repay their start?", 120.0, claims=False),
    _experiment(isolation.own_memory, "Does the parent see what a worker changes in memory?"),
    _experiment(isolation.lost_updates, "Do threads lose each other's updates without a lock?"),
    _experiment(isolation.through_queue, "Does each item leave the thread executor once, with no lock in its stage?"),
    _experiment(isolation.hang, "Who recovers from an item that never ends, and when?"),
    _experiment(isolation.crash, "What does a crash take with it?"),
)}  # fmt: skip


def main() -> None:
    """Makes the experiment that the command line names, in a process of its own, and prints its table as JSON.

    What hangs, crashes or leaks there concerns no other, and no bench.
    """
    name, size = sys.argv[1:3]
    json.dump(to_builtins(EXPERIMENTS[name].run(SIZES[size])), sys.stdout)
