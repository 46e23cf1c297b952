"""Waiting for replies and handing over payloads: what more workers gain, and what a worker's pipe costs."""

from collections.abc import Sequence
from typing import Any

from batchproc.download.stage import Download
from batchproc.lab.batches import Rounds, Size, interleave, plain_items, source
from batchproc.lab.models import crossings, payload_that_eats, waiting_models
from batchproc.lab.stages import Echo, PurePython
from batchproc.lab.table import Crossing, Kind, Series, Table, gained, measured
from batchproc.measure.hardware import usable_cores
from batchproc.model import Fetch, Item, Mode, Original, Reply
from batchproc.origin import EmbeddedOrigin, OriginSettings, demo_paths
from batchproc.protocols import Stage

WORKERS = 8
LONG_SECONDS = 0.1  # from here on fewer rounds and one item per worker: a single worker waits for each reply
VERY_LONG_SECONDS = 0.5  # from here on no more than `WORKERS` items, and no plan that is larger
FEWER_ROUNDS = 6  # the fewest with a 95% interval of the median
MOST_WORKERS = 2000.0  # the axis ends here; whoever has a crossing beyond it is told in words

SWEEP = (0, 155_000, 1_000_000, 8_000_000)
FULL_SWEEP = (0, 1_000, 16_000, 155_000, 500_000, 1_000_000, 2_000_000, 8_000_000)
BATCH_BYTES = 40_000_000  # a batch carries at most so much
MOST_ITEMS, LEAST_ITEMS = 100, 6
WORK_ITEMS = 12
MODES = {"threads": Mode.THREAD, "processes": Mode.PROCESS}


def latency(size: Size) -> Table:
    """The real download stage on a real server: per latency, replies per second by more and more workers."""
    waits = (0.0, 0.02, 0.1, 0.5) if size.full else (0.0, 0.02, 0.1)
    threads = (2, 4, WORKERS, 2 * WORKERS) if size.full else (WORKERS,)
    stage = Download(allow_addresses=("127.0.0.0/8",), honour_robots=False, per_host=max(WORKERS, *threads))
    paths = demo_paths(len(waits))
    settings = OriginSettings(
        images=len(paths), faults=False, jitter=0.0, latencies=dict(zip(paths, waits, strict=True))
    )
    rates: dict[float, Series] = {}
    others: list[Series] = []
    with EmbeddedOrigin(settings) as origin:
        for path, wait in zip(paths, waits, strict=True):
            most = WORKERS if wait >= VERY_LONG_SECONDS else max(threads)
            numbers = [number for number in threads if number <= most]
            count = size.items(most if wait >= LONG_SECONDS else 6 * WORKERS)
            found = _fetch(stage, f"{origin.base_url}{path}", numbers, count, _rounds(size, wait))
            name = f"{1000 * wait:g} ms"
            all_rates = {n: [count / seconds for seconds in found.seconds(str(n))] for n in (1, *numbers)}
            rates[1000 * wait] = measured(name, "replies/s", {float(n): each for n, each in all_rates.items()})
            others += [
                gained(f"gain at {name}", {float(n): (found.seconds(str(n)), found.seconds("1")) for n in numbers}),
                measured(f"{name}, processes", "replies/s", {
                    float(WORKERS): [count / seconds for seconds in found.seconds("processes")]
                }, Kind.FIGURE),
            ]  # fmt: skip
    models, meetings = waiting_models(rates, MOST_WORKERS)
    return Table(x="download threads", x_unit="threads", y="replies per second",
                 series=(*rates.values(), *others, *models), crossings=tuple(meetings))  # fmt: skip


def _rounds(size: Size, wait: float) -> int:
    return min(size.rounds, FEWER_ROUNDS) if wait >= LONG_SECONDS else size.rounds


def _fetch(stage: Download, url: str, threads: Sequence[int], count: int, rounds: int) -> Rounds:
    plans = {"1": (Mode.SERIAL, 1)} | {str(number): (Mode.THREAD, number) for number in threads}
    items: list[Item[Any]] = [Item(source=source(index, url), value=Fetch()) for index in range(count)]
    return interleave(stage, plans | {"processes": (Mode.PROCESS, WORKERS)}, items, rounds=rounds, again=False)


def payload(size: Size) -> Table:
    """Per payload: seconds per hand-over without work, and what processes gain on a step that keeps the GIL."""
    sweep = FULL_SWEEP if size.full else SWEEP
    work, echo = {}, {}
    for content_bytes in sweep:
        one = Original(content=bytes(content_bytes), reply=Reply(status_code=200))
        count = size.items(max(LEAST_ITEMS, min(MOST_ITEMS, BATCH_BYTES // max(1, content_bytes))))
        echo[float(content_bytes)] = _both(Echo(), 1, one, count, size.rounds)
        work[float(content_bytes)] = _both(PurePython(), usable_cores(), one, size.items(WORK_ITEMS), size.rounds)
    series = {(kind, mode): measured(f"{kind}, {mode}", "s/item", {x: each[mode] for x, each in found.items()}, draw)
              for kind, found, draw in (("work", work, Kind.MAIN), ("no work", echo, Kind.CONTROL))
              for mode in MODES}  # fmt: skip
    threads, processes = (series["work", mode].curve for mode in MODES)
    queue, pipe = (series["no work", mode].curve for mode in MODES)
    extra = {x: (pipe[x] - queue[x]) - (pipe[0.0] - queue[0.0]) for x in queue}
    met = Crossing(first="work, threads", second="work, processes", measured=crossings(threads, processes),
                   predicted=payload_that_eats(threads[0.0] - processes[0.0], extra), is_predicted=True)  # fmt: skip
    gains = gained("processes gain", {x: (each["processes"], each["threads"]) for x, each in work.items()})
    return Table(x="payload of an item", x_unit="bytes", y="time per item",
                 series=(*series.values(), gains), crossings=(met,))  # fmt: skip


def _both(stage: Stage[Any, Any], workers: int, one: Original, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per item by threads and by processes, of which there are `workers`."""
    items: list[Item[Any]] = plain_items([one] * count)
    found = interleave(stage, {name: (mode, workers) for name, mode in MODES.items()}, items, rounds=rounds)
    return {name: [seconds / count for seconds in found.seconds(name)] for name in MODES}
