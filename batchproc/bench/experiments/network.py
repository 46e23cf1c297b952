"""Waiting: the real download stage on a real server, with replies that take 0 to 500 ms, by more and more workers."""

from collections.abc import Iterator, Sequence
from typing import Any

from batchproc.bench.experiments.crew import interleave, source
from batchproc.bench.experiments.number import Number, gain, repeated
from batchproc.bench.experiments.size import Size
from batchproc.download.stage import Download
from batchproc.model import Fetch, Item, Mode
from batchproc.origin import EmbeddedOrigin, OriginSettings, demo_paths

WORKERS = 8
LONG_SECONDS = 0.1  # from here on fewer rounds and one item per worker: a single worker waits for each reply
VERY_LONG_SECONDS = 0.5  # from here on no more than `WORKERS` items, and no crew that is larger
FEWER_ROUNDS = 6  # the fewest with a 95 % interval of the median


def latency(size: Size) -> Iterator[Number]:
    """Per latency: seconds per item of one worker, and what more threads and processes gain on it."""
    waits = (0.0, 0.02, 0.1, 0.5) if size.full else (0.0, 0.02, 0.1)
    threads = (2, 4, WORKERS, 2 * WORKERS) if size.full else (WORKERS,)
    stage = Download(allow_addresses=("127.0.0.0/8",), honour_robots=False, per_host=max(WORKERS, *threads))
    paths = demo_paths(len(waits))
    settings = OriginSettings(
        images=len(paths), faults=False, jitter=0.0, latencies=dict(zip(paths, waits, strict=True))
    )
    with EmbeddedOrigin(settings) as origin:
        for path, wait in zip(paths, waits, strict=True):
            most = WORKERS if wait >= VERY_LONG_SECONDS else max(threads)
            crews = _crews([number for number in threads if number <= most])
            count = size.items(most if wait >= LONG_SECONDS else 6 * WORKERS)
            rounds = min(size.rounds, FEWER_ROUNDS) if wait >= LONG_SECONDS else size.rounds
            found = interleave(stage, crews, _items(f"{origin.base_url}{path}", count), rounds=rounds, again=False)
            one, x = found.seconds("one"), 1000 * wait
            yield repeated("one_worker_seconds", [each / count for each in one], "s/item", x=x, x_unit="ms latency")
            cpu = [batch.cpu_seconds / count for batch in found.batches["one"]]
            yield repeated("one_worker_cpu_seconds", cpu, "s/item", x=x, x_unit="ms latency")
            for name in list(crews)[1:]:
                label = f"processes_{WORKERS}" if name == "process" else f"threads_{name}"
                yield gain(f"{label}_gain", found.seconds(name), one, x=x, x_unit="ms latency")


def _crews(threads: Sequence[int]) -> dict[str, tuple[Mode, int]]:
    crews = {"one": (Mode.SERIAL, 1)} | {str(number): (Mode.THREAD, number) for number in threads}
    return crews | {"process": (Mode.PROCESS, WORKERS)}


def _items(url: str, count: int) -> list[Item[Any]]:
    return [Item(source=source(index, url), value=Fetch()) for index in range(count)]
