"""Handing over: the same payload to a thread and through a worker's pipe, with an echo as control and with work."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from batchproc.bench.experiments.crew import interleave, plain_items
from batchproc.bench.experiments.number import Number, counted, gain, repeated
from batchproc.bench.experiments.size import Size
from batchproc.bench.experiments.stages import Echo, PurePython
from batchproc.measure.cores import usable_cores
from batchproc.model import Item, Mode, Original, Reply
from batchproc.protocols import Stage

SWEEP = (0, 155_000, 1_000_000, 8_000_000)
FULL_SWEEP = (0, 1_000, 16_000, 155_000, 500_000, 1_000_000, 2_000_000, 8_000_000)
BATCH_BYTES = 40_000_000  # a batch carries at most so much
MOST_ITEMS, LEAST_ITEMS = 100, 6
WORK_ITEMS = 12


def payload(size: Size) -> Iterator[Number]:
    """Per payload: seconds per hand-over without work, and what processes gain on a step that keeps the GIL."""
    gains: list[tuple[int, float]] = []
    for content_bytes in FULL_SWEEP if size.full else SWEEP:
        x: dict[str, Any] = {"x": float(content_bytes), "x_unit": "bytes"}
        count = size.items(max(LEAST_ITEMS, min(MOST_ITEMS, BATCH_BYTES // max(1, content_bytes))))
        echo = _both(Echo(), 1, content_bytes, count, size.rounds)
        for name, seconds in echo.items():
            yield repeated(f"echo_{name}_seconds", [each / count for each in seconds], "s/item", **x)
        count = size.items(WORK_ITEMS)
        work = _both(PurePython(), usable_cores(), content_bytes, count, size.rounds)
        found = gain("work_processes_gain", work["processes"], work["threads"], **x)
        gains.append((content_bytes, found.value))
        yield found
        for name, seconds in work.items():
            yield repeated(f"work_{name}_seconds", [each / count for each in seconds], "s/item", **x)
    crossing = break_even(gains)
    if crossing is not None:
        yield counted("break_even_payload", crossing, "bytes")
    yield counted("largest_payload", gains[-1][0], "bytes")


def break_even(gains: Sequence[tuple[int, float]]) -> float | None:
    """The payload from which processes are no faster than threads, between two points by a straight line.

    None when they still are at the largest, or never were.
    """
    for (low, above), (high, below) in pairwise(gains):
        if above > 1 >= below:
            return low + (high - low) * (above - 1) / (above - below)
    return None


def _both(stage: Stage[Any, Any], workers: int, content_bytes: int, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per batch by threads and by processes, of which there are `workers`."""
    crews = {"threads": (Mode.THREAD, workers), "processes": (Mode.PROCESS, workers)}
    one = Original(content=bytes(content_bytes), reply=Reply(status_code=200))
    items: list[Item[Any]] = plain_items([one] * count)
    found = interleave(stage, crews, items, rounds=rounds)
    return {name: found.seconds(name) for name in crews}
