"""Computing: Python against C, and one step that releases the GIL beside two that keep it, by mode and workers."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from batchproc.lab.batches import Rounds, Size, interleave, plain_items
from batchproc.lab.models import gil_models
from batchproc.lab.stages import Blur, Median, PurePython, noise
from batchproc.lab.table import Kind, Table, gained, measured
from batchproc.measure.hardware import usable_cores
from batchproc.model import Mode
from batchproc.protocols import Stage

BLUR, MEDIAN, LOOP = "GaussianBlur", "MedianFilter", "a loop in Python"
STEPS: dict[str, Stage[Any, Any]] = {BLUR: Blur(), MEDIAN: Median(), LOOP: PurePython()}
ITEMS = 32
GREY_SIDE_PX = 96


def steps(size: Size) -> Table:
    """Each step serial, in as many threads as cores, and in as many processes."""
    workers, count = usable_cores(), size.items(ITEMS)
    plans = {"serial": (Mode.SERIAL, 1), "threads": (Mode.THREAD, workers), "processes": (Mode.PROCESS, workers)}
    found = {name: interleave(stage, plans, plain_items([None] * count), rounds=size.rounds)
             for name, stage in STEPS.items()}  # fmt: skip

    def pairs(plan: str, against: str) -> dict[str, tuple[list[float], list[float]]]:
        return {name: (rounds.seconds(plan), rounds.seconds(against)) for name, rounds in found.items()}

    def each(of: Callable[[Rounds, str], list[float]], plan: str) -> dict[str, list[float]]:
        return {name: of(rounds, plan) for name, rounds in found.items()}

    against = gained("threads against processes", pairs("threads", "processes"), Kind.MAIN,
                     sides=("processes faster", "threads faster"))  # fmt: skip
    series = [against, measured("serial", "s/item", each(Rounds.seconds, "serial"), Kind.FIGURE, per=count)]
    for plan in ("threads", "processes"):
        series.append(gained(f"{plan} gain", pairs(plan, "serial")))
        series.append(measured(f"{plan}, busy", "cores", each(Rounds.busy_cores, plan), Kind.FIGURE))
    for plan in ("serial", "processes"):
        waited = each(Rounds.waiting_shares, plan)
        series.append(measured(f"{plan}, waiting for a core", "share", waited, Kind.FIGURE))
    again = sum(rounds.made_again for rounds in found.values())
    return Table(x="step", series=(*series, *gil_models(against, workers)),
                 facts={"cores": workers, "rounds_made_again": again})  # fmt: skip


def own_gil(size: Size) -> Table:
    """Two workers spinning in pure Python: as threads of one process they share its GIL, as processes they do not."""
    plans = {"one": (Mode.THREAD, 1), "two threads": (Mode.THREAD, 2), "two processes": (Mode.PROCESS, 2)}
    found = interleave(PurePython(), plans, plain_items([None] * size.items(ITEMS)), rounds=size.rounds)
    both = ("two threads", "two processes")
    return Table(
        x="workers",
        series=(measured("busy", "cores", {name: found.busy_cores(name) for name in both}),
                gained("gain", {name: (found.seconds(name), found.seconds("one")) for name in both})),
        facts={"cores": usable_cores(), "rounds_made_again": found.made_again},
    )  # fmt: skip


def workers(size: Size) -> Table:
    """More and more workers on a step that releases the GIL: the rate stops growing at the cores."""
    counts, items = (1, 2, 4, 8) if size.full else (1, 2), size.items(ITEMS)
    modes = {"threads": Mode.THREAD, "processes": Mode.PROCESS}
    plans = {"serial": (Mode.SERIAL, 1)}
    plans |= {f"{name} {count}": (mode, count) for name, mode in modes.items() for count in counts}
    found = interleave(STEPS[BLUR], plans, plain_items([None] * items), rounds=size.rounds)
    cpu_seconds = median(batch.cpu_seconds / items for batch in found.batches["serial"])
    return Table(
        x="workers", y="pictures per second",
        series=tuple(measured(name, "pictures/s", {
            float(count): [items / seconds for seconds in found.seconds(f"{name} {count}")] for count in counts
        }) for name in modes),
        facts={"cores": usable_cores(), "cpu_seconds_per_item": cpu_seconds, "rounds_made_again": found.made_again},
    )  # fmt: skip


def python_alone(size: Size) -> Table:
    """The same grey picture made by a loop in Python and by Pillow's C: byte-identical, so only the speed differs."""
    image = noise(GREY_SIDE_PX)
    pixels = image.tobytes()
    by_python, by_pillow = [], []
    for _ in range(size.rounds):
        by_python.append(_typical_seconds(lambda: _grey(pixels), 3))
        by_pillow.append(_typical_seconds(lambda: image.convert("L"), 50))
    if _grey(pixels) != image.convert("L").tobytes():
        raise AssertionError("the loop in Python and Pillow made different grey pictures")
    return Table(x="who", series=(
        measured("one picture", "s", {"Python": by_python, "Pillow": by_pillow}),
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
