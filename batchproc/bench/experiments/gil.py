"""Who holds the GIL: one step that releases it, two that keep it, in one thread, in threads and in processes."""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from batchproc.bench.experiments.crew import Batch, interleave, plain_items
from batchproc.bench.experiments.number import Number, counted, gain, repeated
from batchproc.bench.experiments.size import Size
from batchproc.bench.experiments.stages import Blur, Median, PurePython, noise
from batchproc.measure.cores import usable_cores
from batchproc.model import Mode
from batchproc.protocols import Stage

STEPS: tuple[Stage[Any, Any], ...] = (Blur(), Median(), PurePython())
ITEMS = 32
GREY_SIDE_PX = 96


def steps(size: Size) -> Iterator[Number]:
    """Each step serial, in as many threads as cores, and in as many processes."""
    workers = usable_cores()
    yield counted("cores", workers, "cores")
    for stage in STEPS:
        crews = {"serial": (Mode.SERIAL, 1), "threads": (Mode.THREAD, workers), "processes": (Mode.PROCESS, workers)}
        count = size.items(ITEMS)
        found = interleave(stage, crews, plain_items([None] * count), rounds=size.rounds)
        serial = found.seconds("serial")
        yield repeated(f"{stage.name}.serial_seconds", [each / count for each in serial], "s/item")
        for name in ("threads", "processes"):
            yield gain(f"{stage.name}.{name}_gain", found.seconds(name), serial)
            yield repeated(f"{stage.name}.{name}_cores", [_cores(batch) for batch in found.batches[name]], "cores")
        yield gain(f"{stage.name}.threads_against_processes", found.seconds("threads"), found.seconds("processes"))
        for name in ("serial", "processes"):
            yield from _run_queue(f"{stage.name}.{name}_run_queue", found.batches[name])
        yield counted(f"{stage.name}.rounds_made_again", found.made_again, "rounds")


def own_gil(size: Size) -> Iterator[Number]:
    """Two workers spinning in pure Python: as threads of one process they share its GIL, as processes they do not."""
    yield counted("cores", usable_cores(), "cores")
    crews = {"one": (Mode.THREAD, 1), "threads": (Mode.THREAD, 2), "processes": (Mode.PROCESS, 2)}
    count = size.items(ITEMS)
    found = interleave(PurePython(), crews, plain_items([None] * count), rounds=size.rounds)
    for name in ("threads", "processes"):
        yield gain(f"two_{name}_gain", found.seconds(name), found.seconds("one"))
        yield repeated(f"two_{name}_cores", [_cores(batch) for batch in found.batches[name]], "cores")
    yield counted("rounds_made_again", found.made_again, "rounds")


def workers(size: Size) -> Iterator[Number]:
    """More and more workers on a step that releases the GIL: the rate stops growing at the cores."""
    counts = (1, 2, 4, 8) if size.full else (1, 2)
    crews = {"serial": (Mode.SERIAL, 1)}
    crews |= {f"thread {count}": (Mode.THREAD, count) for count in counts}
    crews |= {f"process {count}": (Mode.PROCESS, count) for count in counts}
    items = size.items(ITEMS)
    found = interleave(Blur(), crews, plain_items([None] * items), rounds=size.rounds)
    yield counted("cores", usable_cores(), "cores")
    yield repeated("serial_cpu_seconds", [batch.cpu_seconds / items for batch in found.batches["serial"]], "s/item")
    for mode in (Mode.THREAD, Mode.PROCESS):
        for count in counts:
            rates = [items / seconds for seconds in found.seconds(f"{mode} {count}")]
            yield repeated(f"{mode}.rate", rates, "items/s", x=count, x_unit="workers")


def python_alone(size: Size) -> Iterator[Number]:
    """The same grey picture made by a loop in Python and by Pillow's C: byte-identical, so only the speed differs."""
    image = noise(GREY_SIDE_PX)
    pixels = image.tobytes()
    by_python, by_pillow = [], []
    for _ in range(size.rounds):
        by_python.append(_typical(lambda: _grey(pixels), 3))
        by_pillow.append(_typical(lambda: image.convert("L"), 50))
    if _grey(pixels) != image.convert("L").tobytes():
        raise AssertionError("the loop in Python and Pillow made different grey pictures")
    yield repeated("python_seconds", by_python, "s")
    yield repeated("pillow_seconds", by_pillow, "s")
    yield gain("pillow_gain", by_pillow, by_python)


def _grey(pixels: bytes) -> bytes:
    """ITU-R 601 luma in Pillow's own integer arithmetic (Convert.c, macro L24)."""
    made = bytearray(len(pixels) // 3)
    for index in range(len(made)):
        red, green, blue = pixels[3 * index], pixels[3 * index + 1], pixels[3 * index + 2]
        made[index] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return bytes(made)


def _typical(call: Any, times: int) -> float:
    """The median time of a call, in seconds."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return median(took)


def _cores(batch: Batch) -> float:
    """How many cores the workers kept busy on average."""
    return batch.cpu_seconds / batch.seconds


def _run_queue(name: str, batches: Sequence[Batch]) -> Iterator[Number]:
    """The share of their time that workers were ready and found no free core; nothing where the system is silent."""
    shares = [
        batch.runqueue_seconds / (batch.runqueue_seconds + batch.cpu_seconds)
        for batch in batches
        if batch.runqueue_seconds is not None
    ]
    if shares:
        yield repeated(name, shares, "share")
