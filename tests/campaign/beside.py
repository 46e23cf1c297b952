"""Does a call let go of the GIL, and what does it cost? `python -m tests.campaign.beside`, for every built-in step.

A thread that only counts runs beside each call. Printed is how much CPU it got for each second of CPU of the call:
about 1 where both run all the time, about 0.2 where the call keeps the GIL (what is left is the time that handing it
over takes; the last row shows it). Clocks of threads, so that other programs on the machine slow down both alike. The
cost is the least CPU of the step alone, per pixel of an RGB photograph; the overhead is what the stage spends on it for
an image of 16 x 16 px, which is the Python around the pixels. A step without a cost per pixel is Python alone, which
shares the GIL with the counting thread: it holds it. Ends with 1 where the class of a step says something else
(`BuiltIn.work`). Needs two cores.
"""

import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image
from PIL.Image import Resampling

from batchproc.record.run_parts import Cost
from batchproc.transform import resampler
from batchproc.transform.plan import BUILT_IN, Transform, build_steps, built_in
from batchproc.transform.steps.checks import Unique
from batchproc.transform.steps.step import FormatCheck, SizeCheck, StepCost
from tests.transform.drawing import encoded, item

SIZE, TARGET = (1500, 1000), (256, 171)
TINY = (16, 16)
CALLS, TINY_CALLS = 11, 300
LEAST_SECONDS = 0.05  # of CPU in each round of calls, so that handing over the GIL does not count
SWITCH_SECONDS = 1e-4  # how long the counting thread may keep the GIL when the call wants it back
HELD_BELOW = 0.6  # a share beside that lies half-way between the two
# A class of cost begins at so many ns per pixel. On another machine overhead and cost may be off by these factors.
COST_FROM_NS = ((12.0, Cost.HIGH), (3.0, Cost.MEDIUM), (0.01, Cost.LOW), (0.0, Cost.NONE))
FACTOR, BORDER = 2.5, 1.5

Call = Callable[[], object]


def cost_of(pixel_ns: float) -> Cost:
    """The class of a cost."""
    return next(cost for least, cost in COST_FROM_NS if pixel_ns >= least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of one step, in its example's settings."""

    op: str
    beside: float
    beside_alpha: float
    pixel_ns: float
    overhead_us: float

    def disagreements(self, work: StepCost) -> Iterator[str]:
        """What the class says otherwise. Near a border either class of cost is right."""
        if work.holds_gil != (self.beside < HELD_BELOW or cost_of(self.pixel_ns) == Cost.NONE):
            yield f"holds_gil = {work.holds_gil}"
        if work.cost not in {cost_of(self.pixel_ns * nearby) for nearby in (1 / BORDER, 1, BORDER)}:
            yield f"cost = {work.cost.value}"
        if not 1 / FACTOR < self.overhead_us / work.overhead_us < FACTOR:
            yield f"overhead_us = {work.overhead_us:g}"


def photograph(size: tuple[int, int]) -> Image.Image:
    """Something with edges and noise, in colour."""
    grain = Image.effect_noise(size, 40).convert("RGB")
    return Image.blend(grain, Image.radial_gradient("L").resize(size).convert("RGB"), 0.7)


def with_alpha(image: Image.Image) -> Image.Image:
    """The same, fading to its corners."""
    faded = image.copy()
    faded.putalpha(Image.radial_gradient("L").resize(image.size))
    return faded


def call_of(op: str, image: Image.Image) -> Call:
    """The work of a built-in step on an image: a check of the size gets the size, `unique` makes the hash."""
    step = built_in(op)(**{**built_in(op).example, **SETTINGS.get(op, {})})
    if isinstance(step, Unique):
        return lambda: Unique.hash_of(image)
    if isinstance(step, FormatCheck):
        return lambda: step.check_format("jpeg")
    if isinstance(step, SizeCheck):
        return lambda: step.check_size((100, 100))
    return lambda: step(image)


# Where the example would hardly do anything, or drop a tiny image.
SETTINGS: dict[str, dict[str, object]] = {
    "crop": {"size": [1000, 800]},
    "min_size": {"width": 8, "height": 8},
    "sharpness": {"min": 0.01},
}


def cpu_seconds(call: Call, rounds: int) -> float:
    """The least CPU of one call."""
    best = float("inf")
    for _ in range(rounds):
        own = time.thread_time()
        call()
        best = min(best, time.thread_time() - own)
    return best


def share_beside(call: Call) -> float:
    """CPU of a thread that counts, for each second of CPU of the call."""
    stop, times = threading.Event(), max(1, round(LEAST_SECONDS / max(cpu_seconds(call, 3), 1e-7)))

    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    counting = threading.Thread(target=count)
    counting.start()
    clock = time.pthread_getcpuclockid(counting.ident or 0)
    shares = []
    try:
        for _ in range(CALLS):
            own, other = time.thread_time(), time.clock_gettime(clock)
            for _ in range(times):
                call()
            own, other = time.thread_time() - own, time.clock_gettime(clock) - other
            shares.append(other / own)
    finally:
        stop.set()
        counting.join()
    return statistics.median(shares)


def overhead_seconds(op: str) -> float:
    """CPU of the step's part of the stage's work on a tiny image; the median, as caches are seldom warm in a run."""
    if hasattr(built_in(op), "check_format"):  # on the header: it has no part of the time
        return cpu_seconds(call_of(op, photograph(TINY)), TINY_CALLS)
    laps: list[tuple[str, float]] = []

    class Lap:
        def __call__(self, part: str) -> None:
            laps.append((part, time.thread_time()))

        def count(self, what: str) -> None:
            """Nothing is counted here."""

    not_at_the_head = {"op": "blur", "radius": 0} if op != "blur" else {"op": "grayscale"}  # where a check has no lap
    steps = build_steps([not_at_the_head, {"op": op, **built_in(op).example, **SETTINGS.get(op, {})}])
    found, picture = [], item(encoded(photograph(TINY), "PNG"))
    with tempfile.TemporaryDirectory() as folder:
        work = Transform(steps=steps, output_format="png", temporary_folder=folder).open()
        for _ in range(TINY_CALLS):
            laps.clear()
            work(picture, Lap())
            names = [part for part, _ in laps]
            at = names.index(f"steps.{op}")
            found.append(laps[at][1] - laps[at - 1][1])
    return statistics.median(found)


def measure_step(op: str, image: Image.Image, faded: Image.Image) -> Row:
    """One row of the table."""
    whole, tiny = (cpu_seconds(call_of(op, each), CALLS) for each in (image, photograph(TINY)))
    return Row(
        op=op,
        beside=share_beside(call_of(op, image)),
        beside_alpha=share_beside(call_of(op, faded)),
        pixel_ns=max(0.0, whole - tiny) / (SIZE[0] * SIZE[1]) * 1e9,
        overhead_us=overhead_seconds(op) * 1e6,
    )


def other_calls() -> dict[str, Call]:
    """What else is of interest, by name; the last one is known to hold the GIL."""
    picture = photograph(SIZE)
    floats, numbers = picture.convert("L").convert("F"), [random.random() for _ in range(200_000)]
    box = (0, 0, *SIZE)

    def resized(image: Image.Image, *, rows_first: bool = False) -> Call:
        return lambda: resampler.resize(
            image, TARGET, Resampling.LANCZOS, box=box, rows_first=rows_first, note=sys.exit
        )

    return {
        f"{resampler.engine()}, RGB, rows first": resized(picture, rows_first=True),
        f"{resampler.engine()}, F": resized(floats),
        "Pillow's resize, RGB": lambda: picture.resize(TARGET, Resampling.LANCZOS),
        "sorting numbers": lambda: sorted(numbers),
    }


def main() -> int:
    """Prints the table; 1 where a class says otherwise."""
    sys.setswitchinterval(SWITCH_SECONDS)
    image = photograph(SIZE)
    faded, found = with_alpha(image), 0
    print("beside  with alpha  ns/pixel  overhead, µs  step")
    for op in sys.argv[1:] or BUILT_IN:
        row = measure_step(op, image, faded)
        wrong = ", ".join(row.disagreements(built_in(op).work))
        found += bool(wrong)
        note = f"   BUT ITS CLASS SAYS {wrong}" if wrong else ""
        print(f"{row.beside:6.2f} {row.beside_alpha:11.2f} {row.pixel_ns:9.2f} {row.overhead_us:13.1f}  {op}{note}")
    if not sys.argv[1:]:
        for name, call in other_calls().items():
            print(f"{share_beside(call):6.2f} {'':35} {name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
